//! What can go wrong at the start. Once the threads run, everything that fails is an `Outcome`.

use std::path::PathBuf;

use rustix::io::Errno;

/// Why the act threads could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The proc file system cannot be opened.
    #[error("cannot open {path}: {errno}; mount proc there or set the proc root", path = path.display())]
    ProcRoot {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// No eventfd could be made.
    #[error("cannot make an eventfd: {0}; raise the limit of open files (RLIMIT_NOFILE)")]
    Eventfd(Errno),
    /// A thread could not be started.
    #[error("cannot start the thread {name}: {source}; raise the limits of processes and memory")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal of dips cannot be read or kept.
    #[error("cannot use the journal {path}: {source}; make the state directory writable", path = path.display())]
    Journal {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
