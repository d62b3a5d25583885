//! The least that a container held in the last minutes: what it has come to since is growth that was there to be seen.
//!
//! One value for every half minute, of which the lowest counts. It refuses to keep the curve between them.

use forestall_decide::{Bytes, Moment, Span};

/// How long one value stands for.
const WIDTH: Span = Span::secs(30);
/// How many there are: a brake is remembered for five minutes, and what was seen before it for one.
const KEPT: usize = 12;

/// The lowest values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lows([Option<(u64, Bytes)>; KEPT]);

impl Lows {
    /// It held so much at `from` and so much at `to`, and in between what lies in between.
    pub(crate) fn note(&mut self, (from, then): (Moment, Bytes), (to, held): (Moment, Bytes)) {
        if to < from {
            return;
        }
        let (first, last) = (from.0 / WIDTH.0, to.0 / WIDTH.0);
        let kept = u64::try_from(KEPT).unwrap_or(u64::MAX);
        for at in first.max((last + 1).saturating_sub(kept))..=last {
            let ends = [at * WIDTH.0, (at + 1) * WIDTH.0].map(|end| end.clamp(from.0, to.0));
            let lowest = ends.map(|end| between((from, then), (to, held), Moment(end)));
            self.lower(at, lowest[0].min(lowest[1]));
        }
    }

    fn lower(&mut self, at: u64, held: Bytes) {
        let kept = u64::try_from(KEPT).unwrap_or(u64::MAX);
        if let Some(slot) = usize::try_from(at % kept)
            .ok()
            .and_then(|slot| self.0.get_mut(slot))
        {
            let known = slot.filter(|(known, _)| *known == at).map(|(_, least)| least);
            *slot = Some((at, known.map_or(held, |least| least.min(held))));
        }
    }

    /// The least of what is remembered at `now`.
    pub(crate) fn least(&self, now: Moment) -> Option<Bytes> {
        self.least_of(KEPT, now)
    }

    /// The least of the last half minute, and of what has begun of the next.
    pub(crate) fn least_lately(&self, now: Moment) -> Option<Bytes> {
        self.least_of(2, now)
    }

    fn least_of(&self, kept: usize, now: Moment) -> Option<Bytes> {
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        let oldest = (now.0 / WIDTH.0 + 1).saturating_sub(kept);
        let lately = self.0.iter().flatten().filter(|(at, _)| *at >= oldest);
        lately.map(|(_, least)| *least).min()
    }
}

/// What a straight line from one to the other comes to.
fn between((from, then): (Moment, Bytes), (to, held): (Moment, Bytes), at: Moment) -> Bytes {
    let (whole, part) = (u128::from(to.since(from).0.max(1)), u128::from(at.since(from).0));
    let share = |bytes: Bytes| u64::try_from(u128::from(bytes.0) * part / whole).unwrap_or(u64::MAX);
    if held >= then {
        then + Bytes(share(held - then))
    } else {
        then - Bytes(share(then - held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64, mebi: u64) -> (Moment, Bytes) {
        (Moment(secs * 1_000_000), Bytes::mebi(mebi))
    }

    #[test]
    fn the_least_is_that_of_the_last_six_minutes_wherever_on_the_line_it_lay() {
        let mut lows = Lows::default();
        assert_eq!(lows.least(Moment(0)), None);
        // Up by a mebibyte a second for ten minutes: at 600 s the oldest half minute that counts begins at 270 s.
        lows.note(at(0, 0), at(600, 600));
        assert_eq!(lows.least(at(600, 0).0), Some(Bytes::mebi(270)));
        // Down to 100 and up again: who goes on from there has grown from there.
        lows.note(at(600, 100), at(640, 140));
        assert_eq!(lows.least(at(640, 0).0), Some(Bytes::mebi(100)));
        // That is forgotten when the half minute in which it was lies six minutes back.
        lows.note(at(640, 140), at(990, 490));
        assert_eq!(lows.least(at(990, 0).0), Some(Bytes::mebi(140 + 20)));
    }
}
