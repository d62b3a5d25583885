//! One thing that happened, on its way from the guard to the log: an inline value, so that sending it allocates nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use forestall_act::Note;
use forestall_decide::{
    Action, ActionId, AlarmEvent, Ignored, Mode, Moment, NodeSample, Outcome, Refusal, Rung, Target,
    WallKind, WhyNot,
};
use rustix::event::{EventfdFlags, eventfd};

/// The longest name that travels with an event. A container's path in systemd's layout has about 200 bytes.
const NAME_BYTES_MAX: usize = 240;

/// As much of a pod's path as says which pod it is: in systemd's layout the last part has 64 bytes.
const TAIL_BYTES_MAX: usize = 80;

/// A name from outside.
pub(crate) type Name = Tail<NAME_BYTES_MAX>;

/// A name from outside, as bytes. Of one that is too long the end is kept: that is where a cgroup path says who it is.
#[derive(Clone, Copy)]
pub(crate) struct Tail<const MAX: usize> {
    bytes: [u8; MAX],
    len: u8,
}

impl<const MAX: usize> Tail<MAX> {
    /// No name: the machine's, or nobody's.
    pub(crate) const NONE: Self = Self {
        bytes: [0; MAX],
        len: 0,
    };

    /// Copies a name.
    pub(crate) fn new(name: &[u8]) -> Self {
        let tail = &name[name.len().saturating_sub(MAX)..];
        let mut kept = Self::NONE;
        for (to, from) in kept.bytes.iter_mut().zip(tail) {
            *to = *from;
        }
        kept.len = u8::try_from(tail.len()).unwrap_or(u8::MAX);
        kept
    }

    /// The bytes, unescaped.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl<const MAX: usize> std::fmt::Debug for Tail<MAX> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&crate::log::escape::bytes(self.as_bytes()))
    }
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// When, on the guard's clock.
    pub(crate) at: Moment,
    /// The mode it happened in.
    pub(crate) mode: Mode,
    /// What.
    pub(crate) kind: EventKind,
    /// The path of the cgroup whose wall it is about; empty for the machine.
    pub(crate) scope: Name,
    /// Whom it is aimed at, or who explains the growth: a cgroup's path or a process's name. Empty for nobody. Of a trouble the
    /// file's path.
    pub(crate) target: Name,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the guard sends it, and a box would have to be allocated"
)]
pub(crate) enum EventKind {
    /// An alarm was raised or resolved.
    Alarm(AlarmEvent),
    /// One that is up, with somebody else who explains the growth now.
    Named(AlarmEvent),
    /// An action was decided; in `enforce` it was ordered as well.
    Action(Action),
    /// Nothing was done where something might have been expected; repeated ones are sent once a minute.
    Refusal(Refusal),
    /// Who was passed over, and why; the same list is sent once.
    PassedOver(Passed),
    /// What of the inputs was not believed; the same set is sent once.
    Ignored(Unbelieved),
    /// What became of an action, and why where its kind does not tell.
    Outcome(Outcome, Note),
    /// The kernel's OOM killer has killed this many processes since the last look.
    KernelKills(u64),
    /// One poll under the preset `war-story-a`, which logs every one of them.
    Poll(NodeSample),
    /// The guard goes on under a new policy.
    PolicyTaken,
    /// Something did not work; the guard goes on.
    Trouble(Trouble),
    /// What this trouble was about works again.
    Mended(&'static str),
}

/// What did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What was tried (`read`, `order`, `lock memory`), for people and for counting.
    pub(crate) what: &'static str,
    /// The system's own word for why; 0 where it has none.
    pub(crate) errno: i32,
}

impl Trouble {
    /// What was tried where the kernel can no longer tell of cgroups.
    pub(crate) const WATCH: &'static str = "watch for new cgroups";
}

/// Somebody who was passed over, with a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassedPod {
    /// Who.
    pub(crate) target: Target,
    /// Why not.
    pub(crate) why: WhyNot,
    /// The end of the path.
    pub(crate) name: Tail<TAIL_BYTES_MAX>,
}

/// A part of a list of those who were passed over for one rung at one wall. The event's scope is that wall's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// At which wall.
    pub(crate) wall: WallKind,
    /// For which rung.
    pub(crate) rung: Rung,
    /// The action that was decided instead; `None` where there was none.
    pub(crate) action: Option<ActionId>,
    /// How long the whole list is.
    pub(crate) count: u32,
    /// The place in it of the first of these.
    pub(crate) first: u32,
    /// These.
    pub(crate) pods: [Option<PassedPod>; Self::PART],
}

impl Passed {
    /// How many travel with one event.
    pub(crate) const PART: usize = 4;
}

/// Inputs of one kind that were not believed. The event's target is the first one's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbelieved {
    /// The first of them.
    pub(crate) what: Ignored,
    /// How many of this kind there were at this step.
    pub(crate) count: u32,
}

/// Wakes a thread that polls.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Never blocks. It can only fail when the counter is full, and then the other side is awake already.
    pub(super) fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it silent again.
    pub(super) fn hush(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The talk thread's end of the events.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: Receiver<Event>,
    bell: Arc<Bell>,
}

impl Inbox {
    pub(super) fn new(receiver: Receiver<Event>, bell: Arc<Bell>) -> Self {
        Self { receiver, bell }
    }

    /// The next event, if there is one.
    pub(crate) fn take(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// An eventfd that is readable when events came: read it, and then [`Inbox::take`] until there are none.
    pub(crate) fn bell(&self) -> io::Result<OwnedFd> {
        self.bell.fd().try_clone_to_owned()
    }
}
