//! Keeping the agent alive and quick when memory is short: its pages locked, its guard thread ahead of others, and the
//! kernel's OOM killer told to look elsewhere. Each step says what failed; none of them is needed to work.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::{Errno, Result};
use rustix::mm::{MlockAllFlags, mlockall};

use crate::file;

/// Locks what is mapped now and later, each page once it is first touched, so that the agent's own code is never read
/// back from a slow disk (`mlock2(2)`). Needs `CAP_IPC_LOCK` or a high `RLIMIT_MEMLOCK`.
pub fn lock_memory() -> Result<()> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}

/// Gives the calling thread, and those it starts from now on, the highest ordinary priority (nice −20). Needs
/// `CAP_SYS_NICE`.
pub(crate) fn raise_priority() -> Result<()> {
    // On Linux the nice value belongs to the thread, whatever POSIX says (`setpriority(2)`).
    rustix::process::setpriority_process(None, NICE_MIN)
}

/// The same for the first thread of this process, whoever calls. Needs `CAP_SYS_NICE`.
pub fn raise_first_thread() -> Result<()> {
    // The first thread's number is that of the process.
    rustix::process::setpriority_process(Some(rustix::process::getpid()), NICE_MIN)
}

/// Gives the first thread of this process the nice value it had before.
pub fn lower_first_thread(nice: i32) -> Result<()> {
    rustix::process::setpriority_process(Some(rustix::process::getpid()), nice)
}

const NICE_MIN: i32 = -20;

/// What became of the wish to be spared by the OOM killer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shielded {
    /// The `oom_score_adj` now.
    pub oom_score_adj: i32,
    /// What it was before.
    pub before: i32,
    /// Why it is not the one that was asked for: usually `EACCES`, which `CAP_SYS_RESOURCE` would lift.
    pub errno: Option<Errno>,
}

/// Lowers this process' `oom_score_adj` to −999: nearly last, but not exempt, because an agent that leaks must end too.
/// `proc_root`: where proc is mounted.
pub fn shield_from_oom_killer(proc_root: &Path) -> Result<Shielded> {
    lower_oom_score_adj(&proc_root.join("self"), -999)
}

/// Gives this process back the `oom_score_adj` it had before; raising it is always allowed.
pub fn unshield_from_oom_killer(proc_root: &Path, before: i32) -> Result<()> {
    let directory = open_own(&proc_root.join("self"))?;
    write_score(&directory, before)
}

fn open_own(own: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    rustix::fs::open(own, flags, Mode::empty())
}

fn write_score(own: &OwnedFd, score: i32) -> Result<()> {
    let number = rustix::path::DecInt::new(score);
    let file = file::open_write(own, c"oom_score_adj")?;
    file::write_once(&file, number.as_bytes())
}

fn lower_oom_score_adj(own: &Path, wanted: i32) -> Result<Shielded> {
    let directory = open_own(own)?;
    let mut buffer = [0; 32];
    let text = file::read_into(&directory, c"oom_score_adj", &mut buffer)?;
    let current = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let current: i32 = current.ok_or(Errno::INVAL)?;
    if current <= wanted {
        return Ok(Shielded {
            oom_score_adj: current,
            before: current,
            errno: None,
        });
    }
    let refused = write_score(&directory, wanted).err();
    Ok(Shielded {
        oom_score_adj: if refused.is_none() { wanted } else { current },
        before: current,
        errno: refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_score_is_lowered_and_never_raised() {
        let own = tempfile::tempdir().expect("a directory");
        let score = own.path().join("oom_score_adj");
        // Values of one length, because a plain file keeps what a shorter write leaves over.
        for (before, after) in [("0000", "-999"), ("-1000", "-1000"), ("-999", "-999")] {
            fs::write(&score, before).expect("a file");
            let shielded = lower_oom_score_adj(own.path(), -999).expect("a readable score");
            assert_eq!(fs::read_to_string(&score).expect("the score"), after);
            assert_eq!(
                shielded,
                Shielded {
                    oom_score_adj: after.parse().expect("a number"),
                    before: before.parse().expect("a number"),
                    errno: None
                }
            );
        }
    }

    #[test]
    fn the_score_of_before_comes_back() {
        let proc_root = tempfile::tempdir().expect("a directory");
        let own = proc_root.path().join("self");
        fs::create_dir(&own).expect("a directory");
        fs::write(own.join("oom_score_adj"), "0500").expect("a file");
        let shielded = shield_from_oom_killer(proc_root.path()).expect("a readable score");
        assert_eq!(
            fs::read_to_string(own.join("oom_score_adj")).expect("the score"),
            "-999"
        );
        assert_eq!(
            unshield_from_oom_killer(proc_root.path(), shielded.before),
            Ok(())
        );
        // A plain file keeps what a shorter write leaves over.
        assert_eq!(
            fs::read_to_string(own.join("oom_score_adj")).expect("the score"),
            "5009"
        );
    }

    #[test]
    fn a_missing_file_is_an_error_and_not_a_shield() {
        let own = tempfile::tempdir().expect("a directory");
        assert_eq!(lower_oom_score_adj(own.path(), -999), Err(Errno::NOENT));
    }
}
