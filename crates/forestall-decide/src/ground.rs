//! Which part of a climb is new ground: memory that somebody never had before, and not what a job takes and gives back by turns.
//!
//! Beside a slow leak, a job's next turn is what reaches the wall, and it grows faster than the leak. But it had as much in an
//! earlier turn, and there was room for it then. What it refuses to do: take for a job whoever comes higher with every turn, which is a
//! leak that gives a part back, or has given back once; and count what a kill gave back, after which a leak begins anew.

use crate::units::{Bytes, Moment, Span};

/// Whoever falls by this share of the top of a climb as large has given back (permille). Less is a heap's own breathing.
const GIVEN_BACK_PERMILLE: u64 = 125;
/// A top that is higher by no more than this share is none (permille): looks do not meet the very top.
const ALIKE_PERMILLE: u64 = 16;
/// For how long turns are remembered after the last one: a job of every hour meets its own.
const REMEMBERED: Span = Span::secs(2 * 3600);

/// For so long after the last sign of a kill its victim's memory may still come back: the kernel counts first and frees then.
const ENDING: Span = Span::secs(5);

/// How high one counter has been, turn by turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ground {
    /// The top of the present climb, and where it began.
    top: Bytes,
    low: Bytes,
    /// The highest top that was given back.
    highest: Bytes,
    /// When the last turn ended, and whether it came no higher than one before.
    turned_at: Moment,
    is_jobs: bool,
    /// The last sign of a kill.
    killed_at: Option<Moment>,
}

impl Ground {
    /// `is_own`: there is no sign of a kill, so that a fall is the holder's own doing.
    pub(crate) fn push(&mut self, now: Moment, value: Bytes, is_own: bool) {
        if now < self.turned_at || now.since(self.turned_at) > REMEMBERED {
            (self.highest, self.is_jobs) = (Bytes::ZERO, false);
        }
        if !is_own {
            self.killed_at = Some(now);
        }
        let is_ending = |at| now >= at && now.since(at) <= ENDING;
        let least = self.top.permille(GIVEN_BACK_PERMILLE);
        if value > self.top {
            self.top = value;
        } else if self.top - value > least {
            if !self.killed_at.is_some_and(is_ending) && self.top - self.low > least {
                self.is_jobs = self.top <= self.alike();
                self.highest = self.highest.max(self.top);
                self.turned_at = now;
            }
            (self.top, self.low) = (value, value);
        } else if value < self.low {
            self.low = value;
        }
    }

    /// It has given back once.
    pub(crate) fn has_turned(&self) -> bool {
        self.highest > Bytes::ZERO
    }

    /// Up to here a top is no higher than those before it.
    fn alike(&self) -> Bytes {
        self.highest + self.highest.permille(ALIKE_PERMILLE)
    }

    /// What is left up to the highest turn, or one like it, for who goes by turns and is below that.
    pub(crate) fn left_of_turn(&self, value: Bytes) -> Option<Bytes> {
        let left = self.alike() - value;
        (self.is_jobs && left > Bytes::ZERO).then_some(left)
    }

    /// The part of a rise up to `value` that is new.
    pub(crate) fn new_part(&self, rise: Bytes, value: Bytes) -> Bytes {
        if self.is_jobs {
            rise.min(value - self.highest)
        } else {
            rise
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is new of a rise of 90 MiB up to the last value; a value every `secs`.
    fn new_of_90(secs: u64, values: &[u64], is_own: bool) -> u64 {
        let mut ground = Ground::default();
        for (turn, value) in values.iter().enumerate() {
            ground.push(
                Moment(turn as u64 * secs * 1_000_000),
                Bytes::mebi(*value),
                is_own,
            );
        }
        let last = Bytes::mebi(*values.last().expect("some"));
        ground.new_part(Bytes::mebi(90), last).0 >> 20
    }

    // By hand: two turns of 180; of what leads to 190, 10 lie above them.
    #[test]
    fn only_what_lies_above_a_jobs_turns_is_new() {
        let turns = [5, 100, 180, 5, 5, 100, 180, 5, 100, 190];
        assert_eq!(new_of_90(1, &turns, true), 10);
        assert_eq!(new_of_90(1, &turns[..9], true), 0);
        // Looks do not meet the very top: 182 is no higher.
        assert_eq!(new_of_90(1, &[5, 180, 5, 182, 5, 100], true), 0);
    }

    // A turn like the one of 200 may come to 203.
    #[test]
    fn a_job_has_its_turn_to_come_and_nobody_else_has() {
        let left = |values: &[u64], value| {
            let mut ground = Ground::default();
            for (second, value) in values.iter().enumerate() {
                ground.push(Moment(second as u64 * 1_000_000), Bytes::mebi(*value), true);
            }
            ground.left_of_turn(Bytes::mebi(value)).map(|left| left.0 >> 20)
        };
        let turns = [5, 200, 5, 200, 5];
        assert_eq!(
            [left(&turns, 5), left(&turns, 150), left(&turns, 202)],
            [Some(198), Some(53), Some(1)]
        );
        assert_eq!([left(&turns, 204), left(&turns[..3], 150)], [None, None]);
    }

    #[test]
    fn one_turn_makes_no_job_and_neither_does_one_slow_fall() {
        assert_eq!(new_of_90(1, &[5, 180, 5, 100], true), 90);
        assert_eq!(new_of_90(1, &[200, 170, 140, 110, 60, 150], true), 90);
        assert_eq!(new_of_90(1, &[10, 100, 90, 110, 100, 120], true), 90);
    }

    #[test]
    fn who_comes_higher_with_every_turn_is_no_job() {
        assert_eq!(new_of_90(1, &[100, 50, 130, 65, 160, 80, 150], true), 90);
        // Once it has come no higher it is one, until it does.
        assert_eq!(new_of_90(1, &[100, 50, 130, 65, 130, 65, 120], true), 0);
        assert_eq!(new_of_90(1, &[100, 50, 130, 65, 130, 65, 160, 80, 150], true), 90);
    }

    #[test]
    fn what_a_kill_gave_back_was_no_turn() {
        assert_eq!(new_of_90(1, &[5, 180, 5, 180, 5, 100], false), 90);
        // The kernel tells first and frees then: four seconds later it is still its doing, and after six no longer.
        for (late, new) in [(4, 90), (6, 0)] {
            let mut ground = Ground::default();
            for turn in 0..3 {
                let at = |second: u64| Moment((turn * 20 + second) * 1_000_000);
                ground.push(at(1), Bytes::mebi(180), true);
                ground.push(at(2), Bytes::mebi(180), false);
                ground.push(at(2 + late), Bytes::mebi(5), true);
            }
            ground.push(Moment(90_000_000), Bytes::mebi(100), true);
            let part = ground.new_part(Bytes::mebi(90), Bytes::mebi(100));
            assert_eq!(part, Bytes::mebi(new), "{late} s");
        }
    }

    // Turns an hour apart are remembered, of whatever height, and for two hours after the last one.
    #[test]
    fn turns_are_remembered_from_one_to_the_next() {
        assert_eq!(new_of_90(3600, &[200, 5, 190, 5, 150], true), 0);
        assert_eq!(new_of_90(7201, &[200, 5, 190, 5, 150], true), 90);
    }

    #[test]
    fn a_clock_that_goes_back_forgets() {
        let mut ground = Ground::default();
        for (second, value) in [(10, 200), (20, 5), (30, 190), (40, 5), (1, 120)] {
            ground.push(Moment(second * 1_000_000), Bytes::mebi(value), true);
        }
        assert_eq!(
            ground.new_part(Bytes::mebi(20), Bytes::mebi(120)),
            Bytes::mebi(20)
        );
    }
}
