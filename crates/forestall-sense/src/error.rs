//! Why a sensor cannot be opened. Everything that may be missing on a healthy machine is a
//! [capability](crate::Capabilities) and no error.

use forestall_kernel::Error as KernelError;

/// The machine cannot be observed at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file that every machine has cannot be read; most often `/proc` is not mounted where it was looked for.
    #[error("{0}; check where the host's /proc is mounted")]
    Proc(#[from] KernelError),
}

impl Error {
    /// A short fixed word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Proc(error) => error.label(),
        }
    }
}
