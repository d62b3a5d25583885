//! Whoever writes past a limit on file sizes (`RLIMIT_FSIZE`) is sent SIGXFSZ, which ends it. Where the signal is ignored the write
//! fails with `EFBIG` instead (`setrlimit(2)`), which is told like a full disk, and the guard goes on.

use rustix::io::{Errno, Result};

/// Ignores SIGXFSZ in the whole process, from now on. To be done before anything is written.
pub fn ignore_file_size_signal() -> Result<()> {
    // SAFETY: SIG_IGN is no function of ours that could run in the midst of another, so nothing can be broken by it; the call takes no
    // pointer to memory.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        return Err(std::io::Error::last_os_error()
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error));
    }
    Ok(())
}
