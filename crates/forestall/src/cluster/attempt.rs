//! What could not be written of this node: when it is tried again, and that it is told once.
//!
//! A right or a kind of object that is missing may come, and then nobody restarts an agent for it; until then every node of the cluster asks in vain, which is
//! why it is asked for seldom.

use std::time::Duration;

use tokio::time::Instant;

use super::error::Trouble;
use super::follow::pause_after;

/// What is missing after so many tries is likely to be missing for long.
const TRIES_SOON: u32 = 6;
const SELDOM: Duration = Duration::from_mins(10);

/// A cluster that does not know the kind has to be told of it by somebody, and that is no matter of seconds.
const UNKNOWN_KIND: Duration = Duration::from_mins(5);

/// What fails so often while there is a connection lasts.
const FAILURES_UNTOLD: u32 = 3;

/// What is told of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Conditions,
    NodeMemory,
    Taint,
}

/// Who hears that it could not be.
pub(crate) trait NodeWitness: Clone + Send + Sync + 'static {
    /// It is refused.
    fn is_untold(&self, what: Told, why: &Trouble);
    /// It is not refused any more.
    fn is_told_again(&self, what: Told);
}

/// Tries of one thing.
#[derive(Debug)]
pub(super) struct Attempts {
    what: Told,
    /// Two are at least so far apart.
    apart: Duration,
    failures: u32,
    next: Option<Instant>,
    is_complained: bool,
}

impl Attempts {
    pub(super) const fn of(what: Told, apart: Duration) -> Self {
        Self {
            what,
            apart,
            failures: 0,
            next: None,
            is_complained: false,
        }
    }

    /// How long there is to wait.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.next
            .map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// There is a new connection: what stood in the way may be gone with the old one.
    pub(super) const fn begin_again(&mut self) {
        (self.failures, self.next) = (0, None);
    }

    /// It went so.
    pub(super) fn note(&mut self, went: &Result<(), Trouble>, witness: &impl NodeWitness) {
        match went {
            Ok(()) => {
                (self.failures, self.next) = (0, Some(Instant::now() + self.apart));
                if std::mem::take(&mut self.is_complained) {
                    witness.is_told_again(self.what);
                }
            }
            Err(why) => {
                self.next = Some(Instant::now() + self.pause(why));
                self.failures = self.failures.saturating_add(1);
                // Of a server that is away the line itself tells, and what stood in the way once may be gone by the next try.
                let is_lasting = is_refusal(why) || self.failures >= FAILURES_UNTOLD;
                if is_lasting && !std::mem::replace(&mut self.is_complained, true) {
                    witness.is_untold(self.what, why);
                }
            }
        }
    }

    fn pause(&self, why: &Trouble) -> Duration {
        if self.what == Told::NodeMemory && is_not_found(why) {
            UNKNOWN_KIND
        } else if is_refusal(why) && self.failures >= TRIES_SOON {
            SELDOM
        } else {
            pause_after(why, self.failures)
        }
    }
}

/// What is made by being written cannot be missing: its kind is.
fn is_not_found(why: &Trouble) -> bool {
    matches!(why, Trouble::Refused(refusal) if refusal.code == 404)
}

fn is_refusal(why: &Trouble) -> bool {
    matches!(why, Trouble::Refused(refusal) if (400..500).contains(&refusal.code) && ![409, 429].contains(&refusal.code))
}
