//! How much of a threshold's grace period is used up, as far as our looks tell.
//!
//! The kubelet counts from its first look that finds a threshold met, and begins anew once one finds it not met. We look more
//! often: whoever saw it being met knows since when. One that was met already when we looked first (the agent was started, or told
//! what the kubelet was told) may have been so for any time; and where it was not met for less than a round of the kubelet's, that
//! may not have been seen. It refuses to take what nobody saw for nothing.

use super::forecast::Bounds;
use super::manager::ROUND_MAX;
use crate::units::{Moment, Span};

/// What our looks tell of one threshold. `from`: since when the kubelet may count; without it, for any time before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Grace {
    /// Nothing yet.
    #[default]
    Unseen,
    /// It is not met, and the kubelet has seen that.
    Clear,
    /// It has not been met since then, and the kubelet may not have looked in between.
    Cleared { since: Moment, from: Option<Moment> },
    /// It has been met since then at each of our looks.
    Met { since: Moment, from: Option<Moment> },
}

/// How much is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// So much at the least.
    pub(super) least: Span,
    /// So much at the most; without it, perhaps all.
    most: Option<Span>,
}

impl Grace {
    /// After a look of ours. What a clock that went back has left in the future says nothing.
    pub(super) fn look(self, now: Moment, met: bool) -> Self {
        match (self, met) {
            (Self::Cleared { since, .. } | Self::Met { since, .. }, _) if since > now => {
                Self::Unseen.look(now, met)
            }
            (Self::Unseen | Self::Clear, false) => Self::Clear,
            (Self::Cleared { since, .. }, false) if now.since(since) >= ROUND_MAX => Self::Clear,
            (Self::Met { from, .. }, false) => Self::Cleared { since: now, from },
            (Self::Unseen, true) => Self::Met {
                since: now,
                from: None,
            },
            (Self::Clear, true) => Self::Met {
                since: now,
                from: Some(now),
            },
            (Self::Cleared { from, .. }, true) => Self::Met { since: now, from },
            (Self::Cleared { .. }, false) | (Self::Met { .. }, true) => self,
        }
    }

    /// Our clock went back by so much.
    pub(super) fn set_back(&mut self, by: Span) {
        if let Self::Cleared { since, from } | Self::Met { since, from } = self {
            *since = since.before(by);
            *from = from.map(|from| from.before(by));
        }
    }

    /// Since when it has been met at each of our looks, if it is met.
    pub(super) const fn met_since(self) -> Option<Moment> {
        match self {
            Self::Met { since, .. } => Some(since),
            Self::Unseen | Self::Clear | Self::Cleared { .. } => None,
        }
    }

    /// How much is used up now, if it is met now.
    pub(super) fn used(self, now: Moment) -> Used {
        let (since, from) = match self {
            Self::Unseen => (now, None),
            Self::Clear => (now, Some(now)),
            Self::Cleared { from, .. } => (now, from),
            Self::Met { since, from } => (since, from),
        };
        Used {
            least: now.since(since),
            most: from.map(|from| now.since(from)),
        }
    }
}

impl Used {
    /// What is left of times that count from the beginning. Where nobody knows how much is used up, any of it is as likely: we
    /// began to look at any moment of it.
    pub(super) fn left(self, times: Bounds) -> Bounds {
        let left = |of: Span, used: Span| Span(of.0.saturating_sub(used.0));
        let earliest = self.most.map_or(Span(0), |most| left(times.earliest, most));
        let latest = left(times.latest, self.least);
        let middle = if self.most == Some(self.least) {
            left(times.middle, self.least)
        } else {
            Span(earliest.0.midpoint(latest.0))
        };
        Bounds {
            earliest,
            middle,
            latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of ninety seconds after looks that came at these seconds, and found it met or not.
    fn left_after(looks: &[(u64, bool)]) -> [u64; 3] {
        let at = |secs: u64| Moment(secs * 1_000_000);
        let grace = looks
            .iter()
            .fold(Grace::default(), |grace, (secs, met)| grace.look(at(*secs), *met));
        let now = looks.last().map_or(Moment(0), |(secs, _)| at(*secs));
        let left = grace.used(now).left(Bounds::exactly(Span::secs(90)));
        [left.earliest, left.middle, left.latest].map(|span| span.0 / 1_000_000)
    }

    #[test]
    fn what_we_saw_begin_is_known_and_what_we_found_is_not() {
        assert_eq!(left_after(&[(5, false), (6, true)]), [90, 90, 90]);
        assert_eq!(left_after(&[(5, false), (6, true), (36, true)]), [60, 60, 60]);
        assert_eq!(left_after(&[(6, true)]), [0, 45, 90]);
        // Whoever has waited for half a minute without an eviction knows that it is not the last third.
        assert_eq!(left_after(&[(6, true), (36, true)]), [0, 30, 60]);
    }

    #[test]
    fn a_gap_that_the_kubelet_need_not_have_seen_is_none() {
        let seen = [(5, false), (6, true), (36, true)];
        // Not met for ten seconds: a look that is a second late misses them.
        let short = [&seen[..], &[(40, false), (50, false), (51, true)]].concat();
        assert_eq!(left_after(&short), [45, 67, 90]);
        let long = [&seen[..], &[(40, false), (51, false), (52, true)]].concat();
        assert_eq!(left_after(&long), [90, 90, 90]);
        // Nor is it known any better where nobody saw it begin.
        assert_eq!(left_after(&[(6, true), (7, false), (9, true)]), [0, 45, 90]);
    }

    #[test]
    fn a_clock_that_goes_back_leaves_nothing_known() {
        let known = [(100, false), (101, true)];
        assert_eq!(left_after(&[&known[..], &[(50, true)]].concat()), [0, 45, 90]);
        let mut grace = Grace::Met {
            since: Moment(101_000_000),
            from: Some(Moment(91_000_000)),
        };
        grace.set_back(Span::secs(50));
        let used = grace.used(Moment(61_000_000));
        assert_eq!((used.least, used.most), (Span::secs(10), Some(Span::secs(20))));
    }
}
