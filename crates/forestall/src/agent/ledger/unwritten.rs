//! What waits for a disk that takes nothing, which is tried again more and more seldom.

use std::io::{self, ErrorKind};

use forestall_decide::Span;

use super::again::Again;
use crate::agent::clock::now;

/// It is tried again after so long, and at most after this.
const AGAIN: Span = if cfg!(test) {
    Span::millis(20)
} else {
    Span::secs(1)
};
const AGAIN_MAX: Span = Span::secs(30);

/// Why something is not on disk, and when that is tried again.
pub(super) struct Unwritten {
    pub(super) why: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
    pub(super) again: Again,
}

impl Unwritten {
    pub(super) fn new(error: &io::Error, before: Option<&Self>) -> Self {
        let mut again = before.map_or(Again::new(AGAIN, AGAIN_MAX), |before| before.again);
        again.tried(now());
        Self {
            why: error.to_string(),
            remedy: match error.kind() {
                ErrorKind::NotFound => "make the directory that it lies in",
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "let this agent write there",
                _ => "make room there",
            },
            again,
        }
    }
}
