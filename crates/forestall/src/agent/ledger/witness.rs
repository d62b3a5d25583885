//! Where a process lived whose kill line stands alone: the kernel limits how many reports it tells in full, and then says the number alone.
//!
//! The kernel tells of a kill while its victim is ending, so that `/proc` still shows its cgroup for some milliseconds. What it shows is
//! believed only of a process of the same name, and is kept as what it is: not the kernel's word.

use std::path::{Path, PathBuf};

use forestall_decide::{Moment, Span};
use forestall_kernel::oom::{CgroupPath, Victim};
use forestall_kernel::parse::memory_path;

use crate::input::read_system;

/// So many are remembered until their reports are over, and for so long: in a burst others are over first.
const SEEN_MAX: usize = 256;
const SEEN_AGO: Span = Span::secs(5);
/// Both tell of one kill within this.
const SAME_WITHIN: Span = Span::secs(1);

/// One that was seen.
#[derive(Debug)]
struct Seen {
    pid: u32,
    comm: Vec<u8>,
    path: Box<[u8]>,
    at: Moment,
}

/// What was seen of those whose reports are not over.
#[derive(Debug)]
pub(super) struct Witness {
    proc_root: PathBuf,
    seen: Vec<Seen>,
}

impl Witness {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            proc_root: root.join("proc"),
            seen: Vec::new(),
        }
    }

    /// Looks where this process lives, now. Tracing and the log tell of the same one, and it is looked at once.
    pub(super) fn look(&mut self, pid: u32, now: Moment) {
        let is_new = |seen: &Seen| now.since(seen.at) < SAME_WITHIN;
        let is_known = self.seen.iter().any(|seen| seen.pid == pid && is_new(seen));
        if is_known || self.seen.len() >= SEEN_MAX {
            return;
        }
        let own = self.proc_root.join(pid.to_string());
        let read = |name: &str| read_system(&own.join(name)).ok();
        let Some((comm, cgroup)) = read("comm").zip(read("cgroup")) else {
            return;
        };
        // On v1 who is ending stands at the root, wherever it was; outside of our namespace nothing can be said.
        let path = memory_path(&cgroup).filter(|path| *path != b"/" && !path.starts_with(b"/.."));
        if let Some(path) = path {
            self.seen.push(Seen {
                pid,
                comm: comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec(),
                path: path.into(),
                at: now,
            });
        }
    }

    /// Where a victim lived, if it was seen there. It is asked once.
    pub(super) fn cgroup_of(&mut self, victim: &Victim) -> Option<CgroupPath> {
        let is_same = |seen: &Seen| seen.pid == victim.pid && *seen.comm == *victim.comm;
        let place = self.seen.iter().rposition(is_same)?;
        Some(CgroupPath {
            path: self.seen.swap_remove(place).path,
            is_cut: false,
        })
    }

    /// Forgets those of whom nothing more was told.
    pub(super) fn forget(&mut self, now: Moment) {
        self.seen.retain(|seen| now.since(seen.at) < SEEN_AGO);
        self.seen.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn whoever_is_told_of_twice_takes_one_place() {
        let root = TempDir::new().expect("a directory");
        let pids = || 1..=u32::try_from(SEEN_MAX).expect("a few");
        for pid in pids() {
            let own = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&own).expect("directories");
            std::fs::write(own.join("comm"), "java\n").expect("a file");
            std::fs::write(own.join("cgroup"), format!("0::/pod{pid}\n")).expect("a file");
        }
        let mut witness = Witness::new(root.path());
        for pid in pids() {
            witness.look(pid, Moment(0));
            witness.look(pid, Moment(900_000));
        }
        for pid in pids() {
            let victim = Victim {
                pid,
                comm: (*b"java").into(),
                ..Victim::default()
            };
            let path = witness.cgroup_of(&victim).expect("it was seen");
            assert_eq!(*path.path, *format!("/pod{pid}").into_bytes());
        }
    }
}
