//! The hands of a kill: checks who the victim is and who lives in it, sends the signals, and looks at what is left.
//! Before every signal the whole victim is checked again; one protected process among many, and nothing is sent.

mod member;

use std::os::fd::{AsFd, OwnedFd};

use forestall_decide::{Bytes, GroupKind, ProcessId, Protection};
use rustix::io::Errno;
use rustix::process::Signal;

use self::member::{Members, Whereabouts, cgroup_of, find_process};
use crate::group;
use crate::kill::Seen;
use crate::order::{CgroupPlace, Note, Place, ProcessName};
use crate::process::{self, Facts, ProcessDir};
use crate::veto::{OwnLine, protection_of};

/// How many of the largest victims are helped along with `process_mrelease`.
const RELEASED_MAX: usize = 4;

/// Processes for which room is made at the start, so that an ordinary container is listed without allocating.
const PROCESSES_PREPARED: usize = 4096;

/// A pause process holds some hundred KiB.
const PAUSE_BYTES_MAX: u64 = 16 << 20;

/// Whom a kill is aimed at.
#[derive(Debug)]
pub(crate) enum Victim {
    /// A container with everybody in it.
    Group(CgroupPlace),
    /// One process.
    Process {
        /// Who.
        id: ProcessId,
        /// Its handle.
        pidfd: OwnedFd,
        /// Where it lived when it was chosen.
        home: Option<CgroupPlace>,
    },
}

/// Why nothing was sent.
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

/// Buffers of the kill thread, made once.
#[derive(Debug)]
pub(crate) struct Hands {
    proc_root: OwnedFd,
    pids: Vec<u32>,
    /// Those of the last check that can still be signalled, with their resident pages.
    living: Vec<(ProcessId, u64)>,
    /// Room for a second list.
    members: Vec<u32>,
}

impl Hands {
    pub(crate) fn new(proc_root: OwnedFd) -> Self {
        Self {
            proc_root,
            pids: Vec::with_capacity(PROCESSES_PREPARED),
            living: Vec::with_capacity(PROCESSES_PREPARED),
            members: Vec::with_capacity(PROCESSES_PREPARED),
        }
    }

    /// Walks the path of a kill once, up to the veto that ends it here, so that its code and buffers are in memory (and
    /// locked there, where locking is on) before memory is short.
    pub(crate) fn warm_up(&mut self) {
        self.pids.resize(PROCESSES_PREPARED, 0);
        self.living.resize(PROCESSES_PREPARED, (ProcessId::default(), 0));
        self.members.resize(PROCESSES_PREPARED, 0);
        let own = process::own_pid(self.proc_root.as_fd())
            .and_then(|own| ProcessDir::open(self.proc_root.as_fd(), own)?.facts());
        if let Ok(own) = own {
            // Our own process is always refused.
            let _ = self.seize(&Place::Process {
                id: own.id,
                home: None,
            });
        }
        self.pids.clear();
        self.living.clear();
        self.members.clear();
    }

    /// The proc file system.
    pub(crate) fn proc_root(&self) -> &OwnedFd {
        &self.proc_root
    }

    /// Takes hold of the victim if it is the one that was meant and may be touched. Returns what it holds and what of
    /// that may outlive it.
    pub(crate) fn seize(&mut self, place: &Place) -> Result<(Victim, Seen, Bytes), Refusal> {
        // A pidfd is opened by the number in our own PID namespace: in another one's proc nobody can be named.
        if process::own_pid(self.proc_root.as_fd()).is_err() && !matches!(place, Place::Node) {
            return Err(Refusal::ForeignProc);
        }
        match place {
            Place::Node => Err(Refusal::Misplaced),
            Place::Cgroup(place) => {
                self.check_group(place)?;
                if self.pids.is_empty() {
                    return Err(Refusal::Gone);
                }
                let current = group::current_bytes(place).map(Bytes);
                let lasting = Bytes(group::shmem_bytes(place));
                Ok((
                    Victim::Group(place.clone()),
                    Seen {
                        populated: true,
                        current,
                    },
                    lasting,
                ))
            }
            Place::Process { id, home } => {
                let pidfd = process::open_pidfd(self.proc_root.as_fd(), *id).map_err(lost)?;
                self.check_process(*id, home.as_ref())?;
                let victim = Victim::Process {
                    id: *id,
                    pidfd,
                    home: home.clone(),
                };
                let current = self.own_bytes(*id);
                Ok((
                    victim,
                    Seen {
                        populated: true,
                        current,
                    },
                    Bytes::ZERO,
                ))
            }
        }
    }

    /// Looks at what is left of the victim.
    pub(crate) fn look(&mut self, victim: &Victim) -> Seen {
        match victim {
            Victim::Group(place) => {
                // Where it cannot be told, somebody lives: the deadline ends it.
                let populated = group::is_populated(place, &mut self.pids).unwrap_or(true);
                Seen {
                    populated,
                    current: group::current_bytes(place).map(Bytes),
                }
            }
            Victim::Process { id, pidfd, .. } => {
                let populated = !process::has_ended(pidfd).unwrap_or(false);
                Seen {
                    populated,
                    current: if populated { self.own_bytes(*id) } else { None },
                }
            }
        }
    }

    /// Sends TERM to everybody in it.
    pub(crate) fn term(&mut self, victim: &Victim) -> Result<(), Refusal> {
        match victim {
            Victim::Group(place) => {
                self.check_group(place)?;
                self.signal_all(place, Signal::TERM)
            }
            Victim::Process { id, pidfd, home } => {
                self.check_process(*id, home.as_ref())?;
                send(pidfd, Signal::TERM).map_err(lost)
            }
        }
    }

    /// Sends KILL to everybody in it and hands the largest to `release`. Returns whether it has to be repeated because
    /// somebody may have forked away.
    pub(crate) fn kill(
        &mut self,
        victim: &Victim,
        release: &mut dyn FnMut(OwnedFd),
    ) -> Result<bool, Refusal> {
        let place = match victim {
            Victim::Group(place) => place,
            Victim::Process { id, pidfd, home } => {
                self.check_process(*id, home.as_ref())?;
                send(pidfd, Signal::KILL).map_err(lost)?;
                if let Ok(pidfd) = pidfd.try_clone() {
                    release(pidfd);
                }
                return Ok(false);
            }
        };
        self.check_group(place)?;
        // The largest first, so that their pidfds are opened while they are certainly there.
        self.living
            .sort_unstable_by_key(|(_, pages)| std::cmp::Reverse(*pages));
        let mut largest = [const { None }; RELEASED_MAX];
        for (slot, (id, _)) in largest.iter_mut().zip(&self.living) {
            *slot = process::open_pidfd(self.proc_root.as_fd(), *id).ok();
        }
        let repeat = match group::kill_all(place) {
            Ok(()) => false,
            // Removed in between: nobody is left, and the next look says so.
            Err(Errno::NODEV) => return Ok(false),
            // Not there (before 5.14, v1), or not writable: one after the other.
            Err(_) => {
                self.signal_all(place, Signal::KILL)?;
                true
            }
        };
        largest.into_iter().flatten().for_each(release);
        Ok(repeat)
    }

    /// Identity, kind, and every process of a cgroup; fills `living`.
    fn check_group(&mut self, place: &CgroupPlace) -> Result<(), Refusal> {
        if !group::is_the_ordered_one(place) {
            return Err(Refusal::Gone);
        }
        let has_children = group::list_processes(place, &mut self.pids).map_err(lost)?;
        match place.kind {
            GroupKind::Container(_) => {}
            GroupKind::Pod(_) if !has_children => {}
            _ => return Err(Refusal::Vetoed(Note::NotAContainer)),
        }
        let own = self.own_line()?;
        self.living.clear();
        for pid in &self.pids {
            let Some(facts) = check(&self.proc_root, *pid, &own, false)? else {
                continue;
            };
            if self.pids.len() == 1 && is_pause(&facts, place) {
                return Err(Refusal::Vetoed(Note::Protected {
                    pid: *pid,
                    name: facts.name,
                    protection: Protection::Pause,
                }));
            }
            self.living.push((facts.id, facts.resident_pages));
        }
        // Last, so that the least time passes between this look and the signal.
        check_marks(place)?;
        if has_children && group::has_opted_out_below(place).map_err(lost)? {
            let protection = Protection::OptedOut;
            return Err(Refusal::Vetoed(Note::ProtectedGroup { protection }));
        }
        Ok(())
    }

    fn own_line(&self) -> Result<OwnLine, Refusal> {
        OwnLine::read(self.proc_root.as_fd()).map_err(|_| Refusal::ForeignProc)
    }

    /// Identity, home, and whether it or its home may be touched.
    fn check_process(&mut self, id: ProcessId, home: Option<&CgroupPlace>) -> Result<(), Refusal> {
        let own = self.own_line()?;
        match check(&self.proc_root, id.pid, &own, true)? {
            Some(found) if found.id == id => {}
            _ => return Err(Refusal::Gone),
        }
        let directory =
            ProcessDir::open(self.proc_root.as_fd(), id.pid).map_err(|error| lost(process::gone(error)))?;
        if let Some(home) = home {
            check_marks(cgroup_of(&directory, home).as_ref().unwrap_or(home))?;
        }
        // Last, so that the least time passes between this look and the signal.
        match find_process(&directory, id, home, &mut self.members) {
            Ok(Whereabouts::AtHome) => Ok(()),
            Ok(Whereabouts::Moved) => Err(Refusal::Moved(id.pid)),
            Ok(Whereabouts::OutOfSight) => Err(Refusal::Vetoed(Note::OutOfSight { pid: id.pid })),
            Err(error) => Err(lost(error)),
        }
    }

    /// Sends a signal to everybody the last check found who still lives there, each by a pidfd that is confirmed to be theirs.
    fn signal_all(&mut self, place: &CgroupPlace, signal: Signal) -> Result<(), Refusal> {
        let (mut reached, mut refused) = (0_usize, None);
        let mut members = Members::of(place, &mut self.members);
        for (id, _) in &self.living {
            let result = process::hold(self.proc_root.as_fd(), *id).and_then(|(directory, pidfd)| {
                if members.hold(&directory, id.pid)? {
                    send(&pidfd, signal)
                } else {
                    Err(Errno::SRCH)
                }
            });
            match result {
                Ok(()) => reached += 1,
                Err(Errno::SRCH) => {}
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if reached == 0 => Err(Refusal::Failed(error)),
            _ => Ok(()),
        }
    }

    fn own_bytes(&self, id: ProcessId) -> Option<Bytes> {
        let directory = ProcessDir::open(self.proc_root.as_fd(), id.pid).ok()?;
        directory.own_bytes().ok().map(Bytes)
    }
}

/// Checks one process. `None`: it is gone or a zombie, so there is nothing to signal.
fn check(proc_root: &OwnedFd, pid: u32, own: &OwnLine, node_agents: bool) -> Result<Option<Facts>, Refusal> {
    let protected = |name, protection| {
        Refusal::Vetoed(Note::Protected {
            pid,
            name,
            protection,
        })
    };
    if pid == 0 {
        // It lives in a PID namespace that is not ours, so that nobody can say who it is.
        return Err(protected(ProcessName::default(), Protection::Essential));
    }
    let look = || {
        ProcessDir::open(proc_root.as_fd(), pid)
            .and_then(|directory| Ok((directory.facts()?, directory.oom_score_adj()?)))
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
        Ok((facts, oom_score_adj)) => match protection_of(&facts, oom_score_adj, own, node_agents) {
            Some(protection) => Err(protected(facts.name, protection)),
            None if facts.zombie => Ok(None),
            None => Ok(Some(facts)),
        },
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(Refusal::Failed(error)),
    }
}

/// Whether somebody has marked the cgroup so that nobody in it may be touched.
fn check_marks(place: &CgroupPlace) -> Result<(), Refusal> {
    match group::mark_of(place).map_err(lost)? {
        Some(protection) => Err(Refusal::Vetoed(Note::ProtectedGroup { protection })),
        None => Ok(()),
    }
}

/// Whether this, alone in its cgroup, is what holds a pod's namespaces open. A name is the process's own choice, so one that
/// has grown is somebody who took it.
fn is_pause(facts: &Facts, place: &CgroupPlace) -> bool {
    facts.name.as_bytes() == b"pause"
        && group::current_bytes(place).is_none_or(|bytes| bytes <= PAUSE_BYTES_MAX)
}

fn lost(error: Errno) -> Refusal {
    match error {
        Errno::SRCH | Errno::NOENT | Errno::NODEV => Refusal::Gone,
        error => Refusal::Failed(error),
    }
}

/// The one place from which forestall signals anybody.
#[allow(
    clippy::disallowed_methods,
    reason = "everywhere else a signal is banned so that it has to come through here"
)]
fn send(pidfd: impl AsFd, signal: Signal) -> Result<(), Errno> {
    rustix::process::pidfd_send_signal(pidfd, signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::CgroupVersion;
    use forestall_decide::{GroupId, Qos};
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};
    use std::sync::Arc;

    fn child() -> Child {
        Command::new("sleep").arg("60").spawn().expect("a child")
    }

    #[test]
    fn who_leaves_between_the_check_and_the_signal_gets_none() {
        let (mut stays, mut leaves) = (child(), child());
        let root = tempfile::tempdir().expect("a directory");
        let list = root.path().join("cgroup.procs");
        fs::write(&list, format!("{}\n{}\n", stays.id(), leaves.id())).expect("a file");
        let dir = fs::File::open(root.path()).expect("a directory");
        let place = CgroupPlace {
            id: GroupId(dir.metadata().expect("its inode").ino()),
            dir: Arc::new(dir.into()),
            kind: GroupKind::Container(Qos::Burstable),
            path: root.path().into(),
            version: CgroupVersion::V2,
        };
        let mut hands = Hands::new(fs::File::open("/proc").expect("/proc").into());
        assert_eq!(hands.check_group(&place), Ok(()));
        assert_eq!(hands.living.len(), 2);
        fs::write(&list, format!("{}\n", stays.id())).expect("a file");
        assert_eq!(hands.signal_all(&place, Signal::KILL), Ok(()));
        assert_eq!(stays.wait().expect("our own child").signal(), Some(9));
        assert_eq!(leaves.try_wait().expect("our own child"), None, "it lives");
        leaves.kill().expect("our own child");
        leaves.wait().expect("our own child");
    }
}
