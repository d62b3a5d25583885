//! The most that a workload can hold within a while: what a node goes by when it promises to keep to itself.
//!
//! A bound and no forecast. It holds whatever is killed, reclaimed or started again meanwhile, as long as nothing stands
//! still under a brake, whose end lets old slopes go on. It refuses to be close where that would take knowing the future: a
//! reader that loses cache while it reads may read all of its file again beside what is left of it.

use forestall_decide::{Bytes, Span};

use super::Running;
use crate::spec::Load;

/// What rounding a slope to whole bytes a second, and a turn to a whole microsecond, may add to a load's own figures.
const SLACK: Bytes = Bytes::mebi(1);

impl Running {
    /// The most that it holds at any moment from now until `over` later, all parts together. `held` is what it holds now, and
    /// `kept` the part of that which outlives a restart. What a leader hands down to its follower comes on top.
    pub(crate) fn peak(&self, held: Bytes, kept: Bytes, over: Span) -> Bytes {
        let fresh = self.base + kept;
        // So much is the most it ever has beside its base, and so much it gains meanwhile.
        let (ever, gained) = match self.load {
            Load::Steady | Load::Follow { .. } => (Bytes::ZERO, Bytes::ZERO),
            Load::Leak { rate, .. } => (Bytes(u64::MAX), gain(Bytes(rate.0), Span::secs(1), over)),
            Load::Steps {
                block,
                interval,
                total,
                ..
            } => {
                let steps = over.0 / interval.0.max(1) + 2;
                let gained = Bytes(block.0.saturating_mul(steps));
                (total.map_or(Bytes(u64::MAX), |total| total + block), gained)
            }
            Load::Burst { size, rise, .. } => (size, gain(size, rise, over)),
            Load::Periodic { size, period } => (size, gain(size, Span(period.0 / 2), over)),
            Load::Heap {
                step,
                interval,
                plateau,
                ..
            } => (plateau, gain(step.min(plateau), interval, over)),
            Load::Reader { file, rate } => (file + file, gain(Bytes(rate.0), Span::secs(1), over)),
        };
        held.max((fresh + ever).min(held.max(fresh) + gained)) + SLACK
    }
}

/// What is gained within `over` at `bytes` in `span`.
fn gain(bytes: Bytes, span: Span, over: Span) -> Bytes {
    let wide = u128::from(bytes.0) * u128::from(over.0) / u128::from(span.0.max(1)) + 1;
    Bytes(u64::try_from(wide).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Turn;
    use crate::memory::{Memory, Part};
    use forestall_decide::{BytesPerSecond, Lru, Moment};

    const MIB: u64 = 1 << 20;

    /// The most that a load holds within `over` when it is left alone, at its own turns.
    fn seen(load: Load, over: Span) -> Bytes {
        let mut memory = Memory::default();
        let mut running = Running::new(load, Bytes(7 * MIB), Lru::Classic);
        let mut turn = running.start(&mut memory, Moment(0));
        let mut most = memory.sum(&Part::ALL, Moment(0));
        while let Turn::Next(Some(at)) = turn
            && at <= Moment(0) + over
        {
            most = most.max(memory.sum(&Part::ALL, at));
            memory.rebase(at);
            turn = running.turn(&mut memory, at);
            most = most.max(memory.sum(&Part::ALL, at));
        }
        most.max(memory.sum(&Part::ALL, Moment(0) + over))
    }

    #[test]
    fn no_load_holds_more_than_its_peak_and_no_peak_is_far_from_it() {
        let mebi = Bytes::mebi;
        let over = Span::secs(100);
        let loads = [
            (Load::Steady, 7),
            (
                Load::Leak {
                    part: Part::Shmem,
                    rate: BytesPerSecond(MIB),
                    total: None,
                    delay: Span(0),
                },
                107,
            ),
            (
                Load::Steps {
                    block: mebi(3),
                    interval: Span::secs(10),
                    total: None,
                    aborts: false,
                },
                // Eleven steps, the one at the beginning included, and one that may be under way.
                7 + 12 * 3,
            ),
            (
                Load::Burst {
                    size: mebi(50),
                    rise: Span::millis(333),
                    hold: Span::secs(7),
                    every: Span::secs(20),
                },
                57,
            ),
            (
                Load::Periodic {
                    size: mebi(30),
                    period: Span::secs(9),
                },
                37,
            ),
            (
                Load::Heap {
                    step: mebi(10),
                    interval: Span::secs(3),
                    freed_permille: 500,
                    plateau: mebi(40),
                },
                47,
            ),
            (
                Load::Reader {
                    file: mebi(20),
                    rate: BytesPerSecond(5 * MIB),
                },
                7 + 2 * 20,
            ),
        ];
        for (load, expected) in loads {
            let running = Running::new(load, mebi(7), Lru::Classic);
            let peak = running.peak(Bytes::ZERO, Bytes::ZERO, over);
            assert_eq!((peak - SLACK).0 / MIB, expected, "{load:?}");
            assert!(seen(load, over) <= peak, "{load:?}");
        }
    }

    #[test]
    fn in_a_short_while_no_more_is_gained_than_there_is_time_for() {
        let reader = Load::Reader {
            file: Bytes::mebi(2000),
            rate: BytesPerSecond(5 * MIB),
        };
        let running = Running::new(reader, Bytes::mebi(7), Lru::Classic);
        let peak = |held| running.peak(Bytes::mebi(held), Bytes::ZERO, Span::secs(10));
        assert_eq!((peak(0) - SLACK).0 / MIB, 57);
        assert_eq!((peak(1500) - SLACK).0 / MIB, 1550);
    }

    #[test]
    fn what_outlives_a_restart_is_filled_again() {
        let leak = Load::Leak {
            part: Part::Shmem,
            rate: BytesPerSecond(MIB),
            total: None,
            delay: Span(0),
        };
        let running = Running::new(leak, Bytes::mebi(7), Lru::Classic);
        // 50 MiB lie in a volume: after a restart it holds 57, and leaks ten more in ten seconds.
        let peak = running.peak(Bytes::mebi(50), Bytes::mebi(50), Span::secs(10));
        assert_eq!((peak - SLACK).0 / MIB, 67);
    }
}
