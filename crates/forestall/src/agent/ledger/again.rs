//! When something that failed is tried again: ever more seldom, up to a limit.

use forestall_decide::{Moment, Span};

/// The next try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    next: Moment,
    pause: Span,
    pause_min: Span,
    pause_max: Span,
}

impl Again {
    /// It is due at once, then after `pause_min`, and after twice as long each time up to `pause_max`.
    pub(super) const fn new(pause_min: Span, pause_max: Span) -> Self {
        Self {
            next: Moment(0),
            pause: pause_min,
            pause_min,
            pause_max,
        }
    }

    /// Whether it is time to try.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        now >= self.next
    }

    /// How long until then.
    pub(super) const fn left(&self, now: Moment) -> Span {
        Span(self.next.0.saturating_sub(now.0))
    }

    /// It has just been tried.
    pub(super) fn tried(&mut self, now: Moment) {
        self.next = Moment(now.0.saturating_add(self.pause.0));
        self.pause = self.pause.times(2).min(self.pause_max);
    }

    /// What failed has worked: the next failure is the first one.
    pub(super) fn begin(&mut self) {
        *self = Self::new(self.pause_min, self.pause_max);
    }
}
