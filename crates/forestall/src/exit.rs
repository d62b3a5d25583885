//! Exit codes: what a script may rely on. They mean the same in every command.

use std::process::ExitCode;

/// How a command ended, when it ended as itself; errors travel as `anyhow::Error` and become [`Exit::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Nothing to complain about.
    Clean = 0,
    /// Something failed; stderr says what, where and what to do. A file that the system does not let us read is this, whatever it is
    /// for: it may be there the next time.
    Error = 1,
    /// The command line or the configuration cannot be understood, or a file that is named there says what cannot be meant.
    Usage = 2,
    /// Something was found that should not be.
    Findings = 3,
    /// The answer rests on data that is stale or incomplete.
    Stale = 4,
    /// Refused, because going on could do harm.
    Refused = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
