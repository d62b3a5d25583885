//! The one seat on this machine: of all agents only the one that holds it may act. Two that act see the same shortage and
//! kill twice for it.
//!
//! It is a lock (flock(2)) on a file in the agent's own directory, which the kernel releases however its holder ends. Agents
//! that do not share that directory, such as containers with file systems of their own, find each other in `/proc/locks`:
//! whoever is called `forestall` and holds a lock by fcntl(2) enforces. The file bears both, since every agent that records holds one
//! by flock(2) as well.
//!
//! Names and locks are free to all, and in a container uid 0 is anybody. So only who lives in the PID namespace that this proc shows
//! (the node's, for a pod with `hostPID`) is believed there. A process cannot leave its PID namespace upwards (setns(2)), so that no container
//! can pretend to it, unlike a cgroup's name, which a cgroup namespace hides, or a program's file, which everybody may run in a pod of his
//! own. Who lives there with our user or root's could end this agent by a signal: to be believed gives him nothing more. An agent
//! without `hostPID` is not found so, cannot kill either, and still meets the others at the file where they share the directory.
//!
//! What it refuses to do: wait.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forestall_kernel::parse::ProcStatus;
use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags, fcntl_lock, flock};
use rustix::io::Errno;

use crate::input;

/// The lock's file in the agent's own directory.
const LOCK_FILE: &str = "enforce.lock";
/// What an agent's first thread is called.
const COMM: &[u8] = b"forestall";

/// Who has the seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its PID as it or proc gives it; `None` while it is not told.
    pub(crate) pid: Option<u32>,
}

/// The seat, held or not.
#[derive(Debug)]
pub(crate) struct Seat {
    state_dir: PathBuf,
    proc_root: PathBuf,
    held: Option<File>,
}

impl Seat {
    /// Of the machine whose agents keep their things in `state_dir` and whose processes `proc_root` shows. Takes nothing yet.
    pub(crate) fn new(state_dir: PathBuf, proc_root: PathBuf) -> Self {
        Self {
            state_dir,
            proc_root,
            held: None,
        }
    }

    /// Takes it if it is free; without waiting.
    pub(crate) fn take(&mut self) -> Result<(), Holder> {
        if self.held.is_some() {
            return Ok(());
        }
        // Looked at first, so that one that only waits does not show as one that acts.
        self.find_other()?;
        let mut file = match self.lock_file() {
            Ok(file) => file,
            Err(Errno::WOULDBLOCK) => return Err(self.read_holder()),
            // No directory, a read-only file system, one that knows no locks: a lock that proc shows is all there is.
            Err(_) => match lock_nothing() {
                Ok(file) => file,
                // Without a descriptor nothing can be locked, and nothing else works either.
                Err(_) => return Err(Holder { pid: None }),
            },
        };
        // Of two that came at the same moment both give way, and do not come back at the same one.
        self.find_other()?;
        // For people and for the other's message only; without it the message lacks a number.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", own_pid(&self.proc_root)));
        self.held = Some(file);
        Ok(())
    }

    /// Leaves it to others.
    pub(crate) fn leave(&mut self) {
        // The lock goes with its descriptor.
        self.held = None;
    }

    fn lock_file(&self) -> Result<File, Errno> {
        // Nobody else may open it: whoever can lock it keeps the guard from acting.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        if let Err(error) = std::fs::create_dir_all(&self.state_dir) {
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        let file = rustix::fs::open(self.state_dir.join(LOCK_FILE), flags, Mode::RUSR | Mode::WUSR)?;
        lock(file)
    }

    fn read_holder(&self) -> Holder {
        let read = input::read_system(&self.state_dir.join(LOCK_FILE));
        let text = read.ok().and_then(|text| String::from_utf8(text).ok());
        Holder {
            pid: text.and_then(|text| text.trim().parse().ok()),
        }
    }

    /// Another agent that holds such a lock, wherever its file is.
    fn find_other(&self) -> Result<(), Holder> {
        let own = own_pid(&self.proc_root);
        // Without the file, agents that share the directory still find each other.
        let locks = input::read_system(&self.proc_root.join("locks")).unwrap_or_default();
        let is_agent = |pid: u32| {
            let place = self.proc_root.join(pid.to_string());
            let owner = std::fs::metadata(&place).map(|place| place.uid());
            let read = |file: &str| input::read_system(&place.join(file));
            owner.is_ok_and(may_disarm)
                && read("comm").is_ok_and(|comm| comm.trim_ascii_end() == COMM)
                && read("status").is_ok_and(|status| !ProcStatus::parse(&status).is_nested)
        };
        match lockers(&locks).find(|pid| *pid != own && is_agent(*pid)) {
            Some(pid) => Err(Holder { pid: Some(pid) }),
            None => Ok(()),
        }
    }
}

/// Whether an agent of this user counts. Anybody can call a process `forestall` and lock a file of his own; one that could not
/// act for us must not keep us from acting.
fn may_disarm(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// A lock on a file that nobody else can open.
fn lock_nothing() -> Result<File, Errno> {
    let file: OwnedFd = rustix::fs::memfd_create("forestall-enforces", MemfdFlags::CLOEXEC)?;
    lock(file)
}

/// Both locks. The one by fcntl(2) goes when this process closes any descriptor of the file: whoever holds the seat opens it no more.
fn lock(file: OwnedFd) -> Result<File, Errno> {
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(File::from(file))
}

/// Our number as this proc file system shows it, else as we know it.
fn own_pid(proc_root: &Path) -> u32 {
    std::fs::read_link(proc_root.join("self"))
        .ok()
        .and_then(|pid| pid.to_str()?.parse().ok())
        .unwrap_or_else(std::process::id)
}

/// Who holds a lock by fcntl(2) alone, as `/proc/locks` shows it (proc_locks(5)); a line of a waiter has `->` in front.
fn lockers(locks: &[u8]) -> impl Iterator<Item = u32> {
    locks.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let kind = [words.nth(1)?, words.next()?, words.next()?];
        let pid = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        (kind == [b"POSIX".as_slice(), b"ADVISORY", b"WRITE"]).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_same_user_can_keep_an_agent_from_acting() {
        let own = rustix::process::geteuid().as_raw();
        assert!(may_disarm(0) && may_disarm(own));
        assert!(!may_disarm(own + 1));
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().expect("a directory"));
            std::fs::create_dir(place.0.path().join("proc")).expect("a directory");
            place
        }
        fn seat(&self) -> Seat {
            Seat::new(self.0.path().join("state"), self.0.path().join("proc"))
        }
        /// `in_namespaces`: its numbers from proc's namespace down to its own (proc_pid_status(5)).
        fn process(&self, pid: u32, comm: &str, in_namespaces: &str) {
            let dir = self.0.path().join("proc").join(pid.to_string());
            std::fs::create_dir_all(&dir).expect("a directory");
            std::fs::write(dir.join("comm"), format!("{comm}\n")).expect("a file");
            let status = format!("Name:\t{comm}\nNSpid:\t{in_namespaces}\n");
            std::fs::write(dir.join("status"), status).expect("a file");
        }
        fn locks(&self, text: &str) {
            std::fs::write(self.0.path().join("proc/locks"), text).expect("a file");
        }
    }

    #[test]
    fn one_of_two_has_it_until_it_leaves() {
        let place = Place::new();
        let (mut first, mut second) = (place.seat(), place.seat());
        assert_eq!((first.take(), first.take()), (Ok(()), Ok(())));
        let pid = Some(std::process::id());
        assert_eq!(second.take(), Err(Holder { pid }));
        first.leave();
        assert_eq!(second.take(), Ok(()));
        assert_eq!(first.take(), Err(Holder { pid }));
        drop(second);
        assert_eq!(first.take(), Ok(()));
        // Another machine's seat is another one.
        assert_eq!(Place::new().seat().take(), Ok(()));
    }

    /// Lines as a running system shows them; 4711 holds it in a file system of its own.
    #[test]
    fn an_agent_with_a_file_system_of_its_own_is_found() {
        let place = Place::new();
        place.process(4711, "forestall", "4711");
        place.process(4712, "cron", "4712");
        let mut seat = place.seat();
        place.locks(
            "1: FLOCK  ADVISORY  WRITE 4711 00:1b:45678 0 EOF\n\
             2: POSIX  ADVISORY  WRITE 4712 00:19:1053 0 EOF\n\
             2: -> POSIX  ADVISORY  WRITE 4711 00:19:1053 0 EOF\n\
             3: POSIX  ADVISORY  READ  4711 00:19:1054 0 EOF\n\
             4: POSIX  ADVISORY  WRITE 4713 00:19:1055 0 EOF\n",
        );
        assert_eq!(seat.take(), Ok(()));
        seat.leave();
        place.locks("1: POSIX  ADVISORY  WRITE 4711 00:1b:45678 0 EOF\n");
        assert_eq!(seat.take(), Err(Holder { pid: Some(4711) }));
        // It ends, and its number goes to somebody else.
        place.process(4711, "bash", "4711");
        assert_eq!(seat.take(), Ok(()));
    }

    /// A container's own process is of uid 0 unless somebody asked for another, and calls itself what it likes (`PR_SET_NAME`).
    #[test]
    fn nobody_in_a_container_keeps_an_agent_from_acting() {
        let place = Place::new();
        place.locks("1: POSIX  ADVISORY  WRITE 4711 00:1b:45678 0 EOF\n");
        let mut seat = place.seat();
        // The second has the same number in both namespaces, which takes no more than trying.
        for in_namespaces in ["4711\t1", "4711\t4711", "4711\t17\t1"] {
            place.process(4711, "forestall", in_namespaces);
            assert_eq!(seat.take(), Ok(()), "{in_namespaces}");
            seat.leave();
        }
        place.process(4711, "forestall", "4711");
        assert_eq!(seat.take(), Err(Holder { pid: Some(4711) }));
    }

    /// By the kernel's own `/proc/locks`.
    #[test]
    fn who_has_the_seat_is_shown_and_who_only_records_is_not() {
        let place = Place::new();
        let recording = File::create(place.0.path().join("lock")).expect("a file");
        flock(&recording, FlockOperation::NonBlockingLockExclusive).expect("nobody else's");
        let mut seat = place.seat();
        assert_eq!(seat.take(), Ok(()));
        let shown = |file: &File| {
            let inode = format!(":{} 0 EOF", file.metadata().expect("its inode").ino());
            let locks = std::fs::read_to_string("/proc/locks").expect("Linux shows its locks");
            let lines = locks.lines().filter(|line| line.ends_with(&inode));
            lines.flat_map(|line| lockers(line.as_bytes())).count()
        };
        let held = seat.held.as_ref().expect("the seat");
        assert_eq!((shown(held), shown(&recording)), (1, 0));
    }

    #[test]
    fn without_a_directory_it_is_taken_all_the_same() {
        let place = Place::new();
        std::fs::write(place.0.path().join("state"), "no directory").expect("a file");
        assert_eq!(place.seat().take(), Ok(()));
    }
}
