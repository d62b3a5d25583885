//! What the actor is told and what it answers. An order carries an open handle to its target: names can be taken over
//! by somebody else between the decision and the act, an open directory cannot.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use forestall_decide::{Action, Bytes, GroupId, GroupKind, Outcome, ProcessId, Protection, Span};

/// Which cgroup hierarchy a directory belongs to; the names of the files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// The memory controller's own hierarchy (`Documentation/admin-guide/cgroup-v1/memory.rst`).
    V1,
    /// The unified hierarchy (`Documentation/admin-guide/cgroup-v2.rst`).
    V2,
}

/// An open cgroup directory and what it is supposed to be.
#[derive(Clone, Debug)]
pub struct CgroupPlace {
    /// The directory, opened when the cgroup was first seen. On v1 that of the memory controller.
    pub dir: Arc<OwnedFd>,
    /// The cgroup's number, which is the directory's inode. An order whose handle shows another one is not carried out.
    pub id: GroupId,
    /// What it is. Only a container below `kubepods` is ever killed as a whole, or a pod without containers.
    pub kind: GroupKind,
    /// Where it was opened, for messages and for the journal.
    pub path: Arc<Path>,
    /// Its hierarchy.
    pub version: CgroupVersion,
}

/// Where an action is carried out.
#[derive(Clone, Debug)]
pub enum Place {
    /// A cgroup and everything below it.
    Cgroup(CgroupPlace),
    /// One process outside `kubepods`.
    Process {
        /// Who.
        id: ProcessId,
        /// The cgroup it lived in when it was chosen, if that is followed. One that has moved out of it since is not touched,
        /// nor is one whose cgroup was marked since.
        home: Option<CgroupPlace>,
    },
    /// The machine (`sysrq`).
    Node,
}

/// An action and the handle to carry it out on.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the engine decided.
    pub action: Action,
    /// On what.
    pub place: Place,
}

/// Why an order was not taken. The caller answers its engine with `Failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full: more orders are in flight than the actor takes.
    #[error("the act threads have too many orders in flight: wait for their outcomes")]
    Busy,
    /// The act threads have ended.
    #[error("the act threads have ended: restart the agent")]
    Stopped,
    /// This crate cannot do what the rung asks for.
    #[error("the act threads know no such rung: switch it off")]
    NoHand,
}

/// The name of a process (`comm`), at most 16 bytes of its own choosing: to be escaped before it is shown. Held inline, so that
/// telling it allocates nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessName {
    bytes: [u8; 16],
    length: usize,
}

impl ProcessName {
    /// As much of `name` as there is room for.
    pub fn new(name: &[u8]) -> Self {
        let mut kept = Self::default();
        for (to, from) in kept.bytes.iter_mut().zip(name) {
            *to = *from;
            kept.length += 1;
        }
        kept
    }

    /// The bytes, unescaped; none where the name is not known.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Debug for ProcessName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Why an outcome is what it is, where its kind alone does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Note {
    /// Nothing to add.
    #[default]
    None,
    /// The last check found a protected process among the target's.
    Protected {
        /// Its process ID; 0 is one of another PID namespace, which cannot be checked.
        pid: u32,
        /// What it calls itself.
        name: ProcessName,
        /// Why it may not be touched.
        protection: Protection,
    },
    /// The last check found that the target cgroup itself, or the one that a target process lives in, may not be touched,
    /// whoever is in it: somebody has marked it since.
    ProtectedGroup {
        /// Why it may not be touched.
        protection: Protection,
    },
    /// The target process lives in another cgroup than the one it was chosen from.
    Moved {
        /// Its process ID.
        pid: u32,
    },
    /// The target process lives outside of our cgroup namespace, and its home is not known: it may be a pod's.
    OutOfSight {
        /// Its process ID.
        pid: u32,
    },
    /// Proc hides this process of the target's (`hidepid=`, `proc(5)`), so that nobody can say who it is.
    Hidden {
        /// Its process ID.
        pid: u32,
    },
    /// The target is a cgroup that is never killed as a whole.
    NotAContainer,
    /// The action does not fit its place, such as a reclaim from a process.
    Misplaced,
    /// The proc file system belongs to another PID namespace than ours (no hostPID), or cannot be asked: nobody can be named.
    ForeignProc,
    /// TERM was refused with this errno (usually `EPERM`: no `CAP_KILL`), so that KILL came without a grace.
    TermRefused(i32),
    /// There was no way to begin with a reclaim.
    ReclaimEnded(ReclaimEnd),
    /// A reclaim is over. What it gained is the outcome's `freed`.
    Reclaimed(Price),
    /// A brake is on.
    Braking {
        /// `memory.high` now.
        high: Bytes,
        /// It is lifted after so long at the latest.
        lasts: Span,
    },
    /// A brake was not put on.
    NotBraked(NoBrake),
    /// A brake was lifted.
    Braked(Braked),
    /// A brake could not be lifted. It is tried again until the agent ends, and at its next start.
    NotLifted,
}

/// Why a brake was not put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBrake {
    /// Swap is on and the cgroup may use it: it would grow there instead.
    WouldSwap,
    /// Everything it holds is guaranteed to it (`memory.min`, `memory.low`).
    Guaranteed,
    /// Its `memory.high` is as low as that already.
    LowAlready,
    /// The disk took too long to keep the journal: by now it is not waited for.
    TooLate,
    /// What was written did not stay.
    NotKept,
}

/// What a brake came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Braked {
    /// Why it ended before its time, if it did.
    pub ended: Option<BrakeEnd>,
    /// How long it was on.
    pub lasted: Span,
    /// What the cgroup grew by all the same.
    pub grew: Bytes,
    /// What it would have grown by beyond that, at the pace for which it was braked.
    pub held_back: Bytes,
    /// Meanwhile some task of it waited for memory so long (PSI `some`); `None` where that is not counted.
    pub stalled: Option<Span>,
}

/// Why a brake ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrakeEnd {
    /// Acting was called off, or the agent ends.
    Stopped,
    /// Something harsher was ordered for it.
    Harsher,
    /// Somebody has marked the cgroup since: it may not be touched.
    Marked,
    /// Somebody else has set its `memory.high` since, and has the last word.
    Changed,
}

/// What a reclaim cost the cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Why it ended early, if it did.
    pub ended: Option<ReclaimEnd>,
    /// What left memory. Less than what was gained, where the kernel deactivated pages and kept them.
    pub taken: Bytes,
    /// So much of what our reclaims took was read again since the cgroup's reclaim before, or since this one began.
    pub came_back: Bytes,
    /// Asked again before this has passed, the cgroup is left alone.
    pub rest: Span,
}

/// Why a reclaim ended before it had got all it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimEnd {
    /// It was told to stop, or a kill was ordered.
    Stopped,
    /// The cgroup's tasks waited for memory for more of the time than it is worth: a tenth, or half before an eviction.
    Stall,
    /// More than half of what was freed was read again; the cgroup is left alone for a while.
    Refaults,
    /// Nothing more could be reclaimed.
    Exhausted,
    /// Its deadline passed.
    Deadline,
    /// This kernel cannot reclaim here without swapping.
    WouldSwap,
    /// This kernel offers no way to reclaim here.
    Unsupported,
}

/// An outcome with its explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the engine is told.
    pub outcome: Outcome,
    /// What the log is told.
    pub note: Note,
}
