//! What can go wrong when a file of the kernel is read, told apart by what the caller does about it.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

/// A failed read, with the file it concerns. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file, its cgroup or its process does not exist, or no longer does (`ENOENT`, `ENODEV`, `ESRCH`). Normal for
    /// what is short-lived, and for files that this kernel does not have.
    #[error("{}: gone, or not offered by this kernel", path.display())]
    Gone {
        /// The file.
        path: Arc<Path>,
    },
    /// A right is missing (`EACCES`, `EPERM`).
    #[error("{}: permission denied; the file needs another user, a capability or a mount that allows it", path.display())]
    Denied {
        /// The file.
        path: Arc<Path>,
    },
    /// The kernel has the file but the feature behind it is switched off (`EOPNOTSUPP`, as `psi=0` answers).
    #[error("{}: switched off in this kernel", path.display())]
    Unsupported {
        /// The file.
        path: Arc<Path>,
    },
    /// The file is longer than the buffer. The buffer holds its beginning; enlarge it and read again.
    #[error("{}: longer than the {capacity} bytes of its buffer", path.display())]
    Truncated {
        /// The file.
        path: Arc<Path>,
        /// Size of the buffer, bytes.
        capacity: usize,
    },
    /// The kernel refused what was asked for (`EINVAL`), for instance a trigger window it does not allow.
    #[error("{}: {what}", path.display())]
    Refused {
        /// The file.
        path: Arc<Path>,
        /// What was asked for.
        what: &'static str,
    },
    /// The content is not what this file is documented to hold.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: Arc<Path>,
        /// What is missing or wrong.
        what: &'static str,
    },
    /// Any other failure of a system call.
    #[error("{}: {errno}", path.display())]
    Io {
        /// The file.
        path: Arc<Path>,
        /// What the kernel answered.
        errno: Errno,
    },
}

impl Error {
    /// Sorts an errno into the variant that says what to do.
    pub fn from_errno(path: &Arc<Path>, errno: Errno) -> Self {
        let path = Arc::clone(path);
        match errno {
            Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::NXIO => Self::Gone { path },
            Errno::ACCESS | Errno::PERM => Self::Denied { path },
            Errno::OPNOTSUPP => Self::Unsupported { path },
            _ => Self::Io { path, errno },
        }
    }

    /// A short fixed word for metrics: never holds a path or anything else from outside.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "gone",
            Self::Denied { .. } => "denied",
            Self::Unsupported { .. } => "unsupported",
            Self::Truncated { .. } => "truncated",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } => "malformed",
            Self::Io { .. } => "io",
        }
    }

    /// What the kernel answered; `None` where it answered and the content is what is wrong.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Gone { .. } => Some(Errno::NOENT),
            Self::Denied { .. } => Some(Errno::ACCESS),
            Self::Unsupported { .. } => Some(Errno::OPNOTSUPP),
            Self::Refused { .. } => Some(Errno::INVAL),
            Self::Io { errno, .. } => Some(*errno),
            Self::Truncated { .. } | Self::Malformed { .. } => None,
        }
    }

    /// The file the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Gone { path }
            | Self::Denied { path }
            | Self::Unsupported { path }
            | Self::Truncated { path, .. }
            | Self::Refused { path, .. }
            | Self::Malformed { path, .. }
            | Self::Io { path, .. } => path,
        }
    }

    /// The file is not there (any more).
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_becomes_what_the_caller_does_about_it() {
        let path: Arc<Path> = Arc::from(Path::new("/proc/1/status"));
        let label = |errno| Error::from_errno(&path, errno).label();
        // A dead process answers ESRCH from an open file and ENOENT from its directory; a removed cgroup, ENODEV.
        assert_eq!(label(Errno::SRCH), "gone");
        assert_eq!(label(Errno::NOENT), "gone");
        assert_eq!(label(Errno::NODEV), "gone");
        assert_eq!(label(Errno::ACCESS), "denied");
        assert_eq!(label(Errno::PERM), "denied");
        assert_eq!(label(Errno::OPNOTSUPP), "unsupported");
        assert_eq!(label(Errno::NOMEM), "io");
    }

    #[test]
    fn the_message_says_where() {
        let path: Arc<Path> = Arc::from(Path::new("/proc/vmstat"));
        let error = Error::Truncated { path, capacity: 4096 };
        assert_eq!(
            error.to_string(),
            "/proc/vmstat: longer than the 4096 bytes of its buffer"
        );
        assert_eq!(error.path(), Path::new("/proc/vmstat"));
    }
}
