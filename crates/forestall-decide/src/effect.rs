//! How long something takes, by what was measured lately: a rung from the order to its effect, with a cautious guess until enough of
//! it was seen, and the guard from the moment for which it asked to be woken to what it knows then.

use crate::rung::Rung;
use crate::units::Span;

/// So many of the last times are kept.
const KEPT: usize = 16;
/// From so many on they are believed; their ninth in ten stands for the p90.
const ENOUGH: usize = 4;

/// What is assumed at first. For `evict` and `warn` the pod's own time comes on top.
const fn assumed(rung: Rung) -> Span {
    match rung {
        Rung::Reclaim => Span::millis(200),
        Rung::Brake => Span::millis(500),
        Rung::Warn | Rung::Kill | Rung::Sysrq => Span::secs(1),
        // The server, the kubelet's watch, its pod worker and the runtime.
        Rung::Grow => Span::secs(3),
        Rung::Evict => Span::secs(5),
    }
}

/// The last times that something took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    kept: [Span; KEPT],
    seen: usize,
}

impl Times {
    pub(crate) fn note(&mut self, took: Span) {
        self.kept[self.seen % KEPT] = took;
        self.seen = self.seen.wrapping_add(1).max(1);
    }

    fn count(&self) -> usize {
        self.seen.min(KEPT)
    }

    fn slowest(&self) -> Span {
        self.kept[..self.count()]
            .iter()
            .max()
            .copied()
            .unwrap_or_default()
    }

    /// The smallest that at least nine in ten do not exceed (nearest rank); of sixteen, one may be slower. Nothing while there is none.
    pub(crate) fn p90(&self) -> Span {
        let count = self.count();
        let mut sorted = self.kept;
        sorted[..count].sort_unstable();
        let rank = (count * 9).div_ceil(10);
        sorted[rank.saturating_sub(1)]
    }
}

/// The times of all rungs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    times: [Times; Rung::ALL.len()],
}

impl Effects {
    /// An action of this rung showed its effect after `took`, the pod's own time not counted.
    pub(crate) fn note(&mut self, rung: Rung, took: Span) {
        if let Some(times) = self.times.get_mut(rung as usize) {
            times.note(took);
        }
    }

    /// Nine in ten are quicker.
    pub(crate) fn p90(&self, rung: Rung) -> Span {
        match self.times.get(rung as usize) {
            Some(times) if times.count() >= ENOUGH => times.p90(),
            // Slower than assumed is believed at once.
            Some(times) => assumed(rung).max(times.slowest()),
            None => assumed(rung),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_stands_until_four_were_seen_and_slower_is_believed_at_once() {
        let mut effects = Effects::default();
        assert_eq!(effects.p90(Rung::Evict), Span::secs(5));
        effects.note(Rung::Evict, Span::secs(2));
        assert_eq!(effects.p90(Rung::Evict), Span::secs(5));
        effects.note(Rung::Evict, Span::secs(9));
        assert_eq!(effects.p90(Rung::Evict), Span::secs(9));
        assert_eq!(effects.p90(Rung::Kill), Span::secs(1), "each rung for itself");
    }

    #[test]
    fn the_ninth_in_ten_by_nearest_rank() {
        let mut effects = Effects::default();
        for secs in 1..=10 {
            effects.note(Rung::Grow, Span::secs(secs));
        }
        assert_eq!(effects.p90(Rung::Grow), Span::secs(9));
        // The last sixteen are 11 to 26; the fifteenth of them is the nearest rank of 14.4.
        for secs in 11..=26 {
            effects.note(Rung::Grow, Span::secs(secs));
        }
        assert_eq!(effects.p90(Rung::Grow), Span::secs(25));
    }

    #[test]
    fn one_hiccup_in_sixteen_is_none_and_two_are() {
        let mut late = Times::default();
        assert_eq!(late.p90(), Span(0));
        for _ in 0..15 {
            late.note(Span::millis(2));
        }
        late.note(Span::secs(1));
        assert_eq!(late.p90(), Span::millis(2));
        late.note(Span::millis(900));
        assert_eq!(late.p90(), Span::millis(900));
    }
}
