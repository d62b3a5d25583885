//! How far somebody has climbed at an even pace: the growth of a leak that goes on for longer than any window reaches back.
//!
//! A minute shows little of a slow leak: next to nothing beside a job's turns, and a tenth of what is to come in ten. What it
//! refuses to do: call it a climb before two minutes were alike, or go on with one after a minute that was not.

use crate::ring::Point;
use crate::units::{Bytes, Moment, Span};
use crate::window::slope;

/// So long a part of a climb is held against what came before it.
const PART: Span = Span::secs(60);
/// A pace is even with another one of which it is no less than half and no more than twice as much.
const EVEN: i64 = 2;

/// One counter's present climb.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Climb {
    /// Where it began; nowhere before the first value.
    from: Option<Point>,
    /// How far it has been looked at.
    upto: Point,
    /// Two parts of it at least were alike.
    is_even: bool,
}

impl Climb {
    pub(crate) fn push(&mut self, at: Moment, value: Bytes) {
        let now = Point { at, value };
        let Some(from) = self.from.filter(|_| at >= self.upto.at) else {
            // A clock that went back says nothing of any pace.
            *self = Self::default();
            (self.from, self.upto) = (Some(now), now);
            return;
        };
        if at.since(self.upto.at) < PART {
            return;
        }
        if self.upto.at > from.at {
            self.is_even = is_even(pace(from, self.upto), pace(self.upto, now));
            if !self.is_even {
                self.from = Some(self.upto);
            }
        }
        self.upto = now;
    }

    /// What has been climbed up to `value` at an even pace; nothing where it was not, or where the last seconds (`late`, over which
    /// time) are faster.
    pub(crate) fn height(&self, value: Bytes, (late, over): (i64, Span)) -> Bytes {
        let Some(from) = self.from.filter(|_| self.is_even) else {
            return Bytes::ZERO;
        };
        if slope(late, over) <= pace(from, self.upto).saturating_mul(EVEN) {
            value - from.value
        } else {
            Bytes::ZERO
        }
    }
}

/// Bytes a second; none downwards.
fn pace(from: Point, to: Point) -> i64 {
    let rise = i64::try_from((to.value - from.value).0).unwrap_or(i64::MAX);
    slope(rise, to.at.since(from.at))
}

fn is_even(one: i64, other: i64) -> bool {
    let (less, more) = (one.min(other), one.max(other));
    less > 0 && more <= less.saturating_mul(EVEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many mebibytes have been climbed after values at those seconds, the last ten of which rose by so much.
    fn climbed(values: impl IntoIterator<Item = (u64, u64)>, late_mebi: u64) -> u64 {
        let (mut climb, mut last) = (Climb::default(), 0);
        for (second, mebi) in values {
            climb.push(Moment(second * 1_000_000), Bytes::mebi(mebi));
            last = mebi;
        }
        let late = i64::try_from(late_mebi << 20).expect("little");
        climb.height(Bytes::mebi(last), (late, Span::secs(10))).0 >> 20
    }

    // 3 MiB a second: the second minute is like the first, and from then on all counts.
    #[test]
    fn an_even_climb_counts_from_where_it_began() {
        let leak = |secs: u64| (0..=secs).map(|second| (second, 3 * second));
        assert_eq!(climbed(leak(119), 30), 0);
        assert_eq!(climbed(leak(120), 30), 360);
        assert_eq!(climbed(leak(600), 30), 1800);
    }

    // It has a gibibyte by its first second: the first minute is unlike the second, and that is like the third.
    #[test]
    fn what_somebody_starts_with_is_no_climb() {
        let starts =
            |secs: u64| (0..=secs).map(|second| (second, if second == 0 { 0 } else { 1024 + 3 * second }));
        assert_eq!(climbed(starts(179), 30), 0);
        assert_eq!(climbed(starts(600), 30), 1800 - 180);
    }

    #[test]
    fn a_climb_ends_where_a_minute_stands_still_or_is_more_than_twice_as_fast() {
        let leak = (0..=300).map(|second| (second, 3 * second));
        let stood = leak.clone().chain((301..=420).map(|second| (second, 900)));
        assert_eq!(climbed(stood.chain([(480, 1080)]), 30), 0);
        let hurried = leak.clone().chain([(360, 900 + 361)]);
        assert_eq!(climbed(hurried, 30), 0);
        let quicker = leak.chain([(360, 900 + 359)]);
        assert_eq!(climbed(quicker, 30), 1259);
    }

    // A burst at the end of a climb says nothing of how the climb goes on.
    #[test]
    fn the_last_seconds_may_not_be_faster_than_twice_the_climb() {
        let leak = || (0..=300).map(|second| (second, 3 * second));
        assert_eq!((climbed(leak(), 60), climbed(leak(), 61)), (900, 0));
    }

    #[test]
    fn a_clock_that_goes_back_forgets() {
        let leak = (100..=400).map(|second| (second, 3 * second));
        let back = (0..=119).map(|second| (second, 1200 + 3 * second));
        assert_eq!(climbed(leak.chain(back), 30), 0);
    }
}
