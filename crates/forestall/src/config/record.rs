//! Where the agent records, or that it does not.

use std::path::PathBuf;

/// The value of `--record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Not at all, as with `recorder.enabled: false`.
    Off,
    /// Into this directory.
    Into(PathBuf),
}

impl From<PathBuf> for Record {
    /// `none`, or a directory; one of that name is `./none`.
    fn from(typed: PathBuf) -> Self {
        if typed.as_os_str() == "none" {
            Self::Off
        } else {
            Self::Into(typed)
        }
    }
}
