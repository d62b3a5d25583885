//! The last check before a signal: who is never touched, whatever the engine said. It looks at the processes as they
//! are now, because the engine's knowledge may be a sample old, and it cannot be switched off.

use std::os::fd::BorrowedFd;

use forestall_decide::{Claim, OOM_SCORE_ADJ_SPARED, Protection};
use rustix::io::Result;

use crate::file;
use crate::process::{self, Facts, ProcessDir};

/// No process tree is deeper than this between the agent and PID 1; a loop in a fake tree ends here.
const ANCESTORS_MAX: usize = 64;

/// This process and its ancestors, from its own PID up to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnLine {
    pids: [u32; ANCESTORS_MAX],
}

impl OwnLine {
    /// Reads the chain of parents. Read anew for every order: an ancestor that ends hands us to another one. An error where
    /// this proc file system does not know us by our own number: nobody could be told from us there.
    pub(crate) fn read(proc_root: BorrowedFd<'_>) -> Result<Self> {
        let mut pids = [0; ANCESTORS_MAX];
        let mut pid = process::own_pid(proc_root)?;
        for slot in &mut pids {
            *slot = pid;
            let Ok(facts) = ProcessDir::open(proc_root, pid).and_then(|dir| dir.facts()) else {
                break;
            };
            if facts.parent == 0 {
                break;
            }
            pid = facts.parent;
        }
        Ok(Self { pids })
    }

    fn holds(&self, pid: u32) -> bool {
        self.pids.iter().any(|own| *own == pid && pid != 0)
    }
}

/// Why this process may not be touched, if so. `is_agent`: it is what it calls itself, something a node cannot do without.
pub(crate) fn protection_of(
    facts: &Facts,
    oom_score_adj: i32,
    own: &OwnLine,
    is_agent: bool,
) -> Option<Protection> {
    if facts.id.pid <= 1 || facts.kernel_thread || own.holds(facts.id.pid) {
        return Some(Protection::Essential);
    }
    if oom_score_adj <= OOM_SCORE_ADJ_SPARED {
        return Some(Protection::OomScoreAdj);
    }
    if is_agent {
        return Some(Protection::NodeAgent);
    }
    None
}

/// Whether the process is what it calls itself, something a node cannot do without. An error where it is gone or cannot be read.
pub(crate) fn is_node_agent(directory: &ProcessDir, facts: &Facts) -> Result<bool> {
    let Some(claim) = Claim::of(facts.name.as_bytes(), facts.parent) else {
        return Ok(false);
    };
    let uid = directory.uid()?;
    let mut buffer = [0; file::BUFFER_BYTES];
    Ok(claim.is_true_of(uid, || directory.cgroup(&mut buffer).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::parse_stat;
    use rustix::io::Errno;
    use std::os::fd::AsFd;

    fn facts(pid: u32, comm: &str, flags: u32) -> Facts {
        let line = format!("{pid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n");
        parse_stat(line.as_bytes()).expect("a well-formed line")
    }

    fn own() -> OwnLine {
        OwnLine::read(std::fs::File::open("/proc").expect("/proc").as_fd()).expect("our own line")
    }

    /// A proc file system that knows this process as `shown`, with this line of its status.
    fn proc_of_files(shown: u32, status: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join(shown.to_string());
        std::fs::create_dir(&dir).expect("a directory");
        std::os::unix::fs::symlink(shown.to_string(), root.path().join("self")).expect("a link");
        std::fs::write(dir.join("status"), status).expect("a file");
        let stat = format!("{shown} (me) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n");
        std::fs::write(dir.join("stat"), stat).expect("a file");
        root
    }

    #[test]
    fn a_proc_file_system_of_another_pid_namespace_proves_nothing() {
        let read = |root: &tempfile::TempDir| {
            let dir = std::fs::File::open(root.path()).expect("a directory");
            OwnLine::read(dir.as_fd()).map(|line| line.pids[0])
        };
        let own = std::process::id();
        assert_eq!(
            read(&proc_of_files(own, &format!("Pid:\t{own}\nNSpid:\t{own}\n"))),
            Ok(own)
        );
        // The host's proc in a container without hostPID: it knows us by another number …
        let other = proc_of_files(own + 1, &format!("NSpid:\t{}\t{own}\n", own + 1));
        assert_eq!(read(&other), Err(Errno::XDEV));
        // … or by the same one by chance …
        let chance = proc_of_files(own, &format!("NSpid:\t{own}\t{own}\n"));
        assert_eq!(read(&chance), Err(Errno::XDEV));
        // … or not at all, although somebody of our number lives there.
        std::fs::remove_file(chance.path().join("self")).expect("the link");
        assert_eq!(read(&chance), Err(Errno::NOENT));
    }

    #[test]
    fn the_essential_are_spared_everywhere() {
        let own = own();
        let essential = Some(Protection::Essential);
        assert_eq!(protection_of(&facts(1, "init", 0), 0, &own, false), essential);
        assert_eq!(protection_of(&facts(0, "", 0), 0, &own, false), essential);
        assert_eq!(
            protection_of(&facts(9, "kworker/0:1", 0x0020_0000), 0, &own, false),
            essential
        );
        assert_eq!(
            protection_of(&facts(std::process::id(), "me", 0), 1000, &own, false),
            essential
        );
        let parent = std::os::unix::process::parent_id();
        assert_eq!(
            protection_of(&facts(parent, "cargo", 0), 1000, &own, false),
            essential
        );
    }

    #[test]
    fn the_spared_score_is_a_closed_bound() {
        let own = own();
        let leak = facts(u32::MAX, "leak", 0);
        assert_eq!(
            protection_of(&leak, -900, &own, false),
            Some(Protection::OomScoreAdj)
        );
        assert_eq!(protection_of(&leak, -899, &own, false), None);
    }

    #[test]
    fn who_is_spared_for_more_than_one_reason_is_told_the_one_nobody_can_lift() {
        let (own, agent) = (own(), facts(u32::MAX, "sshd", 0));
        let spared = Some(Protection::OomScoreAdj);
        assert_eq!(protection_of(&agent, -1000, &own, true), spared);
        assert_eq!(protection_of(&agent, 0, &own, true), Some(Protection::NodeAgent));
        assert_eq!(protection_of(&agent, 0, &own, false), None);
    }

    #[test]
    fn the_real_user_counts_and_not_the_one_put_on_for_a_moment() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("77");
        std::fs::create_dir(&dir).expect("a directory");
        let stat = "77 (sshd) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n";
        std::fs::write(dir.join("stat"), stat).expect("a file");
        let proc_root = std::fs::File::open(root.path()).expect("a directory");
        let is_agent = |users: &str| {
            std::fs::write(
                dir.join("status"),
                format!("Name:\tsshd\n{users}Gid:\t0\t0\t0\t0\n"),
            )
            .expect("a file");
            let directory = ProcessDir::open(proc_root.as_fd(), 77).expect("a directory");
            is_node_agent(&directory, &directory.facts().expect("a well-formed line"))
        };
        assert_eq!(is_agent("Uid:\t0\t1000\t0\t1000\n"), Ok(true));
        assert_eq!(is_agent("Uid:\t1000\t0\t0\t0\n"), Ok(false));
        // Where the file does not say, the name is believed.
        assert_eq!(is_agent(""), Ok(true));
    }
}
