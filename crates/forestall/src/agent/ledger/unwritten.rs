//! What waits for a disk that takes nothing, which is tried again more and more seldom.

use std::io;

use forestall_decide::{Moment, Span};

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
    pub(super) next: Moment,
    pause: Span,
}

impl Unwritten {
    pub(super) fn new(error: &io::Error, before: Option<&Self>) -> Self {
        let pause = before.map_or(AGAIN, |before| before.pause.times(2).min(AGAIN_MAX));
        Self {
            why: error.to_string(),
            next: Moment(now().0.saturating_add(pause.0)),
            pause,
        }
    }
}
