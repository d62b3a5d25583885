//! The last look at whom an order concerns, right before something is done to them: whoever may not be touched is found here,
//! whatever the engine said. It looks at the processes, cgroups and marks as they are now, and knows no policy: who is a critical
//! pod by its priority, a DaemonSet's or nobody's is written in no file of this machine, and is for the engine to know.

use std::os::fd::BorrowedFd;

use forestall_decide::{GroupKind, OutcomeKind, Protection};
use rustix::io::Errno;

use crate::group;
use crate::order::{CgroupPlace, Note, ProcessName};
use crate::process::{self, Facts, ProcessDir};
use crate::veto::{OwnLine, is_node_agent, protection_of};

/// A pause process holds some hundred KiB.
const PAUSE_BYTES_MAX: u64 = 16 << 20;

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is gone, or somebody else has its number.
    Gone,
    /// This process lives in another cgroup than the one it was chosen from.
    Moved(u32),
    /// It may not be touched.
    Vetoed(Note),
    /// It makes no sense.
    Misplaced,
    /// The proc file system does not know us by our own number, so that it cannot be said who anybody is.
    ForeignProc,
    /// The kernel refused.
    Failed(Errno),
}

impl Refusal {
    /// How an order ends by it.
    pub(crate) fn outcome(self) -> (OutcomeKind, Note) {
        let failed = |errno: Errno| OutcomeKind::Failed(errno.raw_os_error());
        match self {
            Self::Gone => (OutcomeKind::Gone, Note::None),
            // The one that was meant is not there any more, whoever it is now.
            Self::Moved(pid) => (OutcomeKind::Gone, Note::Moved { pid }),
            Self::Vetoed(note) => (OutcomeKind::Vetoed, note),
            Self::Misplaced => (failed(Errno::INVAL), Note::Misplaced),
            Self::ForeignProc => (failed(Errno::XDEV), Note::ForeignProc),
            Self::Failed(error) => (failed(error), Note::None),
        }
    }
}

/// Checks one process. `node_agents`: spare those by name and user too. `None`: it is gone or a zombie, so there is nothing to
/// signal.
pub(crate) fn check(
    proc_root: BorrowedFd<'_>,
    pid: u32,
    own: &OwnLine,
    node_agents: bool,
) -> Result<Option<Facts>, Refusal> {
    if pid == 0 {
        // It lives in a PID namespace that is not ours, so that nobody can say who it is.
        return Err(protected(pid, ProcessName::default(), Protection::Essential));
    }
    let look = || {
        ProcessDir::open(proc_root, pid)
            .and_then(|directory| {
                let facts = directory.facts()?;
                let is_agent = node_agents && is_node_agent(&directory, &facts)?;
                Ok((facts, directory.oom_score_adj()?, is_agent))
            })
            .map_err(process::gone)
    };
    let mut seen = look();
    if seen == Err(Errno::SRCH) && process::exists(pid) {
        // Looked at once more: the number may have been given to somebody else in between.
        seen = look();
        if seen == Err(Errno::SRCH) && process::exists(pid) {
            return Err(Refusal::Vetoed(Note::Hidden { pid }));
        }
    }
    match seen {
        Ok((facts, oom_score_adj, is_agent)) => match protection_of(&facts, oom_score_adj, own, is_agent) {
            Some(protection) => Err(protected(pid, facts.name, protection)),
            None if facts.zombie => Ok(None),
            None => Ok(Some(facts)),
        },
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(Refusal::Failed(error)),
    }
}

/// Whether somebody has marked the cgroup so that nobody in it may be touched.
pub(crate) fn check_marks(place: &CgroupPlace) -> Result<(), Refusal> {
    match group::mark_of(place).map_err(lost)? {
        Some(protection) => Err(Refusal::Vetoed(Note::ProtectedGroup { protection })),
        None => Ok(()),
    }
}

/// Whether somebody has opted out a cgroup below this one.
pub(crate) fn check_marks_below(place: &CgroupPlace) -> Result<(), Refusal> {
    if !group::has_opted_out_below(place).map_err(lost)? {
        return Ok(());
    }
    let protection = Protection::OptedOut;
    Err(Refusal::Vetoed(Note::ProtectedGroup { protection }))
}

/// Checks everybody who lives in the cgroup: one protected process among many, and nobody is touched. Hands those who can be
/// signalled to `living`.
pub(crate) fn check_residents(
    proc_root: BorrowedFd<'_>,
    place: &CgroupPlace,
    pids: &[u32],
    living: &mut dyn FnMut(&Facts),
) -> Result<(), Refusal> {
    let own = own_line(proc_root)?;
    for pid in pids {
        let Some(facts) = check(proc_root, *pid, &own, place.kind == GroupKind::Host)? else {
            continue;
        };
        if pids.len() == 1 && is_pause(&facts, place) {
            return Err(protected(*pid, facts.name, Protection::Pause));
        }
        living(&facts);
    }
    Ok(())
}

/// This process and its ancestors.
pub(crate) fn own_line(proc_root: BorrowedFd<'_>) -> Result<OwnLine, Refusal> {
    OwnLine::read(proc_root).map_err(|_| Refusal::ForeignProc)
}

fn protected(pid: u32, name: ProcessName, protection: Protection) -> Refusal {
    Refusal::Vetoed(Note::Protected {
        pid,
        name,
        protection,
    })
}

/// Whether this, alone in its cgroup, is what holds a pod's namespaces open. A name is the process's own choice, so one that
/// has grown is somebody who took it.
fn is_pause(facts: &Facts, place: &CgroupPlace) -> bool {
    facts.name.as_bytes() == b"pause"
        && group::current_bytes(place).is_none_or(|bytes| bytes <= PAUSE_BYTES_MAX)
}

pub(crate) fn lost(error: Errno) -> Refusal {
    match error {
        Errno::SRCH | Errno::NOENT | Errno::NODEV => Refusal::Gone,
        error => Refusal::Failed(error),
    }
}
