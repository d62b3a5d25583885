//! `process_mrelease(2)`: takes the memory of a process that was killed and has not ended yet, without waiting for it.
//!
//! The call came with Linux 5.15. Where it is missing a victim returns its memory by itself, only later. A seccomp
//! filter may answer it with SIGSYS, which ends the caller, so under a filter it is made only when asked for.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

use crate::{file, process};

/// Whether the call may be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// Where no seccomp filter is on this process.
    #[default]
    Unfiltered,
    /// Always: the filter is known to let it pass.
    Always,
    /// Never.
    Never,
}

impl Release {
    /// Whether to make the call in this process (`Seccomp:` of `/proc/self/status`; 0 means no filter).
    pub(crate) fn is_allowed(self, proc_root: BorrowedFd<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Unfiltered => is_unfiltered(proc_root),
        }
    }
}

fn is_unfiltered(proc_root: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; file::BUFFER_BYTES];
    let Ok(text) = process::shown_pid(proc_root)
        .and_then(|own| file::open_dir(proc_root, rustix::path::DecInt::new(own).as_c_str()))
        .and_then(|own| file::read_into(&own, c"status", &mut buffer))
    else {
        return false;
    };
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"Seccomp:"))
        .any(|mode| file::parse_number(mode) == Some(0))
}

/// Takes the memory of a process that SIGKILL was sent to. May block on the victim's locks.
///
/// `EINVAL`: it was not killed; `ESRCH`: it has ended; `ENOSYS`: before Linux 5.15; `EAGAIN`: try again.
pub(crate) fn release_memory(pidfd: impl AsFd) -> Result<()> {
    let pidfd = libc::c_long::from(pidfd.as_fd().as_raw_fd());
    let no_flags: libc::c_long = 0;
    // SAFETY: process_mrelease takes a file descriptor, which the borrow keeps open for the length of the call, and a
    // word of flags. It takes no pointer, so it cannot touch memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd, no_flags) };
    if result == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_living_process_keeps_its_memory() {
        let proc_root = std::fs::File::open("/proc").expect("/proc");
        if !Release::Unfiltered.is_allowed(proc_root.as_fd()) {
            return;
        }
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let id = process::ProcessDir::open(proc_root.as_fd(), child.id())
            .and_then(|dir| dir.facts())
            .expect("the child")
            .id;
        let pidfd = process::open_pidfd(proc_root.as_fd(), id).expect("its pidfd");
        // process_mrelease(2): EINVAL where the process is not being killed, ENOSYS before 5.15.
        let refused = release_memory(&pidfd).expect_err("it is alive");
        assert!(
            matches!(refused, Errno::INVAL | Errno::NOSYS | Errno::PERM),
            "{refused}"
        );
        assert_eq!(process::has_ended(&pidfd), Ok(false));
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert_eq!(process::has_ended(&pidfd), Ok(true));
        let ended = release_memory(&pidfd).expect_err("it has ended");
        assert!(
            matches!(ended, Errno::SRCH | Errno::NOSYS | Errno::PERM),
            "{ended}"
        );
    }
}
