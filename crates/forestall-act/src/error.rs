//! What can go wrong at the start. Once the threads run, everything that fails is an `Outcome`.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::limit::{limit_behind, thread_limit};
use crate::tracing::tracing_remedy;

/// Why the act threads could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The proc file system cannot be opened.
    #[error(
        "cannot open {path}: {errno}; {remedy}",
        path = path.display(),
        remedy = limit_behind(*errno).unwrap_or("mount proc there or set the proc root")
    )]
    ProcRoot {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// No eventfd could be made.
    #[error(
        "cannot make an eventfd: {0}; {remedy}",
        remedy = limit_behind(*.0).unwrap_or("the kernel has to offer eventfd(2), and a seccomp filter to let it pass")
    )]
    Eventfd(Errno),
    /// A thread could not be started.
    #[error("cannot start the thread {name}: {source}; {remedy}", remedy = thread_limit(source))]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// No instance of the kernel's tracing could be made or set up.
    #[error(
        "cannot trace kills at {path}: {errno}; {remedy}",
        path = path.display(),
        remedy = limit_behind(*errno).unwrap_or_else(|| tracing_remedy(*errno))
    )]
    Tracing {
        /// What could not be made, opened or written.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The journal of dips cannot be read or kept.
    #[error(
        "cannot use the journal {path}: {source}; {remedy}",
        path = path.display(),
        remedy = Errno::from_io_error(source)
            .and_then(limit_behind)
            .unwrap_or("make the state directory writable")
    )]
    Journal {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
