//! How long a rung takes from the order to its effect: measured, and a cautious guess until enough of it was seen.

use crate::rung::Rung;
use crate::units::Span;

/// So many of a rung's last times are kept.
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

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    kept: [Span; KEPT],
    seen: usize,
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
            times.kept[times.seen % KEPT] = took;
            times.seen = times.seen.wrapping_add(1).max(1);
        }
    }

    /// Nine in ten are quicker.
    pub(crate) fn p90(&self, rung: Rung) -> Span {
        let Some(times) = self.times.get(rung as usize) else {
            return assumed(rung);
        };
        let count = times.seen.min(KEPT);
        if count < ENOUGH {
            // Slower than assumed is believed at once.
            let slowest = times.kept.iter().take(count).max().copied().unwrap_or_default();
            return assumed(rung).max(slowest);
        }
        let mut sorted = times.kept;
        sorted[..count].sort_unstable();
        // Nearest rank: the smallest that at least nine in ten do not exceed.
        sorted[(count * 9).div_ceil(10) - 1]
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
}
