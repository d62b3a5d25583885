//! One thing that happened, on its way from the guard to the log: an inline value, so that sending it allocates nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use forestall_decide::{Action, AlarmEvent, Mode, Moment, NodeSample, Outcome, Refusal};
use rustix::event::{EventfdFlags, eventfd};

/// The longest name that travels with an event. A container's path in systemd's layout has about 200 bytes.
const NAME_BYTES_MAX: usize = 240;

/// A name from outside, as bytes. Of one that is too long the end is kept: that is where a cgroup path says who it is.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl Name {
    /// No name: the machine's, or nobody's.
    pub(crate) const NONE: Self = Self {
        bytes: [0; NAME_BYTES_MAX],
        len: 0,
    };

    /// Copies a name.
    pub(crate) fn new(name: &[u8]) -> Self {
        let tail = &name[name.len().saturating_sub(NAME_BYTES_MAX)..];
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

impl std::fmt::Debug for Name {
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
    /// Whom it is aimed at, or who explains the growth: a cgroup's path or a process's name. Empty for nobody.
    pub(crate) target: Name,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EventKind {
    /// An alarm was raised or resolved.
    Alarm(AlarmEvent),
    /// An action was decided; in `enforce` it was ordered as well.
    Action(Action),
    /// Nothing was done where something might have been expected; repeated ones are sent once a minute.
    Refusal(Refusal),
    /// What became of an action.
    Outcome(Outcome),
    /// The kernel's OOM killer has killed this many processes since the last look.
    KernelKills(u64),
    /// One poll under the preset `war-story-a`, which logs every one of them.
    Poll(NodeSample),
    /// The guard goes on under a new policy.
    PolicyTaken,
    /// Something did not work; the guard goes on.
    Trouble(Trouble),
}

/// What did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What was tried (`read`, `order`, `lock memory`), for people and for counting.
    pub(crate) what: &'static str,
    /// The system's own word for why; 0 where it has none.
    pub(crate) errno: i32,
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
