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
