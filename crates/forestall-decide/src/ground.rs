//! Which part of a climb is new ground: memory that somebody never had before, and not what a job takes and gives back by turns.
//!
//! Beside a slow leak, a job's next turn is what reaches the wall, and it grows faster than the leak. But it had as much in its
//! last turn, and there was room for it then. What it refuses to do: remember what somebody gave back because the kernel had
//! killed in it. That is a leak which begins anew.

use crate::units::{Bytes, Moment, Span};

/// Whoever falls by this share of the top of its climb has given back (permille). Less is a heap's own breathing.
const GIVEN_BACK_PERMILLE: u64 = 125;
/// For how long the height of a turn is remembered: a job of every hour meets its last one.
const REMEMBERED: Span = Span::secs(2 * 3600);

/// How high one counter has been.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ground {
    /// The top of the present climb.
    top: Bytes,
    /// The highest top that was given back, and when that was seen.
    former: Bytes,
    former_at: Moment,
}

impl Ground {
    pub(crate) fn push(&mut self, now: Moment, value: Bytes) {
        if self.former > Bytes::ZERO && (now < self.former_at || now.since(self.former_at) > REMEMBERED) {
            self.former = Bytes::ZERO;
        }
        if value > self.top {
            self.top = value;
        } else if self.top - value > self.top.permille(GIVEN_BACK_PERMILLE) {
            if self.top >= self.former {
                (self.former, self.former_at) = (self.top, now);
            }
            self.top = value;
        }
    }

    /// The part of a rise up to `value` that lies above all that was ever given back.
    pub(crate) fn new_part(&self, rise: Bytes, value: Bytes) -> Bytes {
        rise.min(value - self.former)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(values: &[u64]) -> Ground {
        let mut ground = Ground::default();
        for (second, value) in values.iter().enumerate() {
            ground.push(Moment(second as u64 * 1_000_000), Bytes::mebi(*value));
        }
        ground
    }

    // By hand: of a rise of 90 to 190, what lies above 180 is 10.
    #[test]
    fn only_what_lies_above_an_earlier_turn_is_new() {
        let ground = after(&[5, 100, 180, 5, 5, 100, 190]);
        assert_eq!(
            ground.new_part(Bytes::mebi(90), Bytes::mebi(190)),
            Bytes::mebi(10)
        );
        assert_eq!(ground.new_part(Bytes::mebi(90), Bytes::mebi(150)), Bytes::ZERO);
    }

    #[test]
    fn a_climb_without_a_fall_is_all_new_and_so_is_one_that_breathes() {
        for values in [&[10, 20, 30, 40][..], &[10, 100, 90, 110, 100, 120]] {
            let ground = after(values);
            let value = Bytes::mebi(*values.last().expect("some"));
            assert_eq!(
                ground.new_part(Bytes::mebi(7), value),
                Bytes::mebi(7),
                "{values:?}"
            );
        }
    }

    #[test]
    fn the_higher_of_two_turns_counts_and_is_forgotten_in_time() {
        let mut ground = after(&[200, 5, 100, 5, 150]);
        assert_eq!(ground.new_part(Bytes::mebi(50), Bytes::mebi(150)), Bytes::ZERO);
        ground.push(Moment(3 * 3600 * 1_000_000), Bytes::mebi(151));
        assert_eq!(
            ground.new_part(Bytes::mebi(50), Bytes::mebi(151)),
            Bytes::mebi(50)
        );
    }

    #[test]
    fn a_clock_that_goes_back_forgets() {
        let mut ground = after(&[200, 5, 100]);
        ground.push(Moment(1), Bytes::mebi(120));
        assert_eq!(
            ground.new_part(Bytes::mebi(20), Bytes::mebi(120)),
            Bytes::mebi(20)
        );
    }
}
