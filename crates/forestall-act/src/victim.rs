//! The hands of a kill: checks who the victim is and who lives in it, sends the signals, and looks at what is left.
//! Before every signal the whole victim is checked again; one protected process among many, and nothing is sent.

mod member;

use std::os::fd::{AsFd, OwnedFd};

use forestall_decide::{Bytes, GroupKind, ProcessId};
use rustix::io::Errno;
use rustix::process::Signal;

use self::member::{Members, Whereabouts, cgroup_of, find_process};
use crate::group;
use crate::inspect::{Refusal, check, check_marks, check_marks_below, check_residents, lost, own_line};
use crate::kill::Seen;
use crate::order::{CgroupPlace, Note, Place};
use crate::process::{self, ProcessDir};

/// How many of the largest victims are helped along with `process_mrelease`.
const RELEASED_MAX: usize = 4;

/// Processes for which room is made at the start, so that an ordinary container is listed without allocating.
pub(crate) const PROCESSES_PREPARED: usize = 4096;

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
        self.living.clear();
        check_residents(self.proc_root.as_fd(), place, &self.pids, &mut |facts| {
            self.living.push((facts.id, facts.resident_pages));
        })?;
        // Last, so that the least time passes between this look and the signal.
        check_marks(place)?;
        if has_children {
            check_marks_below(place)?;
        }
        Ok(())
    }

    /// Identity, home, and whether it or its home may be touched.
    fn check_process(&mut self, id: ProcessId, home: Option<&CgroupPlace>) -> Result<(), Refusal> {
        let own = own_line(self.proc_root.as_fd())?;
        match check(self.proc_root.as_fd(), id.pid, &own, true)? {
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
