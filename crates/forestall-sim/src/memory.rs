//! Memory as straight lines over time, exact: every part is so many millionths of a byte at some moment and so many bytes
//! a second since.
//!
//! A byte a second is a millionth of a byte a microsecond, so values at any microsecond are integers, sums of lines are
//! lines, and it makes no difference how often somebody looks on the way. It refuses to know why memory grows.

use forestall_decide::{Bytes, Moment};

/// Millionths of a byte in a byte.
pub(crate) const FINE: i128 = 1_000_000;

/// What memory is made of, as far as its keepers count it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Anonymous memory.
    Anon,
    /// Shared memory and memory-backed files.
    Shmem,
    /// Page tables, stacks, slab, sockets: what the kubelet does not see of the machine.
    Kernel,
    /// Page cache that was read more than once.
    Active,
    /// Page cache that was read once.
    Inactive,
}

/// How many parts there are.
pub(crate) const PARTS: usize = 5;

impl Part {
    /// All of them.
    pub(crate) const ALL: [Self; PARTS] = [
        Self::Anon,
        Self::Shmem,
        Self::Kernel,
        Self::Active,
        Self::Inactive,
    ];
    /// What reclaim cannot free.
    pub(crate) const HARD: [Self; 3] = [Self::Anon, Self::Shmem, Self::Kernel];
    /// What it can.
    pub(crate) const CACHE: [Self; 2] = [Self::Active, Self::Inactive];
    /// What the kubelet counts of a cgroup: usage less inactive file.
    pub(crate) const WORKING_SET: [Self; 4] = [Self::Anon, Self::Shmem, Self::Kernel, Self::Active];
    /// What it counts of the machine: the root's usage is anon and file alone (opencontainers/cgroups `fs2/memory.go`).
    pub(crate) const ROOT_WORKING_SET: [Self; 3] = [Self::Anon, Self::Shmem, Self::Active];
}

/// The parts of one container's, or of many containers', memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) at: Moment,
    base: [i128; PARTS],
    slope: [i64; PARTS],
}

/// A value and its slope: the sum of some parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Moment,
    pub(crate) base: i128,
    pub(crate) slope: i128,
}

impl Memory {
    /// Nothing, at `now`.
    pub(crate) fn at(now: Moment) -> Self {
        Self {
            at: now,
            ..Self::default()
        }
    }

    /// Millionths of a byte of `part` at `now`.
    fn fine(&self, part: Part, now: Moment) -> i128 {
        let index = part as usize;
        let since = i128::from(now.0) - i128::from(self.at.0);
        self.base[index] + i128::from(self.slope[index]) * since
    }

    /// Whole bytes of `part` at `now`.
    pub(crate) fn bytes(&self, part: Part, now: Moment) -> Bytes {
        whole(self.fine(part, now))
    }

    /// Whole bytes of several parts at `now`, each rounded down for itself, as the keepers' own counters are.
    pub(crate) fn sum(&self, parts: &[Part], now: Moment) -> Bytes {
        parts.iter().map(|part| self.bytes(*part, now)).sum()
    }

    /// The line of several parts together.
    pub(crate) fn line(&self, parts: &[Part]) -> Line {
        let mut line = Line {
            at: self.at,
            ..Line::default()
        };
        for part in parts {
            line.base += self.base[*part as usize];
            line.slope += i128::from(self.slope[*part as usize]);
        }
        line
    }

    /// Moves the anchor to `now`; no value changes.
    pub(crate) fn rebase(&mut self, now: Moment) {
        for part in Part::ALL {
            self.base[part as usize] = self.fine(part, now);
        }
        self.at = now;
    }

    /// Adds another one's lines, whose anchor is the same.
    pub(crate) fn add(&mut self, other: &Self) {
        for index in 0..PARTS {
            self.base[index] += other.base[index];
            self.slope[index] = self.slope[index].saturating_add(other.slope[index]);
        }
    }

    /// Takes another one's lines away, whose anchor is the same.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for index in 0..PARTS {
            self.base[index] -= other.base[index];
            self.slope[index] = self.slope[index].saturating_sub(other.slope[index]);
        }
    }

    /// `part` is `value` at the anchor.
    pub(crate) fn set(&mut self, part: Part, value: Bytes) {
        self.base[part as usize] = i128::from(value.0) * FINE;
    }

    /// `part` grows by so many bytes a second from the anchor on.
    pub(crate) fn set_slope(&mut self, part: Part, slope: i64) {
        self.slope[part as usize] = slope;
    }

    /// Bytes a second of `part`.
    pub(crate) fn slope(&self, part: Part) -> i64 {
        self.slope[part as usize]
    }

    /// Nothing grows any more.
    pub(crate) fn freeze(&mut self) {
        self.slope = [0; PARTS];
    }

    /// Grows as another one did.
    pub(crate) fn take_slopes(&mut self, other: &Self) {
        self.slope = other.slope;
    }

    /// Grows `through` where it grew `full`.
    pub(crate) fn slow(&mut self, through: i64, full: i64) {
        for slope in &mut self.slope {
            let slowed = i128::from(*slope) * i128::from(through) / i128::from(full.max(1));
            *slope = i64::try_from(slowed).unwrap_or(i64::MAX);
        }
    }

    /// Takes `bytes` of `part` at the anchor, as far as there are; says how many there were.
    pub(crate) fn take(&mut self, part: Part, bytes: Bytes) -> Bytes {
        let index = part as usize;
        let there = whole(self.base[index]).min(bytes);
        self.base[index] -= i128::from(there.0) * FINE;
        there
    }

    /// Adds `bytes` of `part` at the anchor.
    pub(crate) fn put(&mut self, part: Part, bytes: Bytes) {
        self.base[part as usize] += i128::from(bytes.0) * FINE;
    }

    /// Moves `bytes` at the anchor, as far as there are.
    pub(crate) fn shift(&mut self, from: Part, to: Part, bytes: Bytes) {
        let moved = self.take(from, bytes);
        self.base[to as usize] += i128::from(moved.0) * FINE;
    }
}

impl Line {
    /// Whole bytes at `now`.
    pub(crate) fn bytes(&self, now: Moment) -> Bytes {
        whole(self.value(now))
    }

    fn value(&self, now: Moment) -> i128 {
        self.base + self.slope * (i128::from(now.0) - i128::from(self.at.0))
    }

    /// The sum of two lines.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            at: self.at,
            base: self.base + other.value(self.at),
            slope: self.slope + other.slope,
        }
    }

    /// So many times the line.
    pub(crate) fn times(&self, times: u64) -> Self {
        Self {
            at: self.at,
            base: self.base * i128::from(times),
            slope: self.slope * i128::from(times),
        }
    }

    /// The first microsecond from `now` on at which it is `level` or more.
    pub(crate) fn reaches(&self, level: Bytes, now: Moment) -> Option<Moment> {
        let missing = i128::from(level.0) * FINE - self.value(now);
        if missing <= 0 {
            return Some(now);
        }
        if self.slope <= 0 {
            return None;
        }
        let micros = (missing + self.slope - 1) / self.slope;
        Some(Moment(
            now.0.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)),
        ))
    }
}

fn whole(fine: i128) -> Bytes {
    Bytes(u64::try_from(fine.max(0) / FINE).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn leaking(rate: i64) -> Memory {
        let mut memory = Memory::default();
        memory.set(Part::Anon, Bytes(5 * MIB));
        memory.set_slope(Part::Anon, rate);
        memory
    }

    #[test]
    fn it_makes_no_difference_how_often_somebody_looks() {
        // 7 bytes a second: nothing divides evenly.
        let (mut often, once) = (leaking(7), leaking(7));
        for micros in (0..10_000_000).step_by(333) {
            often.rebase(Moment(micros));
        }
        let end = Moment(10_000_001);
        assert_eq!(often.bytes(Part::Anon, end), once.bytes(Part::Anon, end));
        assert_eq!(once.bytes(Part::Anon, end), Bytes(5 * MIB + 70));
    }

    #[test]
    fn a_level_is_reached_in_the_first_microsecond_that_holds_it_and_not_before() {
        let line = leaking(3).line(&Part::HARD);
        // 1 byte at 3 bytes a second: 333,333.3 µs.
        let at = line.reaches(Bytes(5 * MIB + 1), Moment(0));
        assert_eq!(at, Some(Moment(333_334)));
        assert_eq!(line.bytes(Moment(333_333)), Bytes(5 * MIB));
        assert_eq!(line.bytes(Moment(333_334)), Bytes(5 * MIB + 1));
        assert_eq!(
            leaking(0).line(&Part::HARD).reaches(Bytes(6 * MIB), Moment(9)),
            None
        );
    }

    #[test]
    fn a_sum_and_what_is_taken_from_it_again_leave_nothing_behind() {
        let (mut sum, one) = (leaking(10), leaking(3));
        sum.add(&one);
        assert_eq!(sum.slope(Part::Anon), 13);
        sum.subtract(&one);
        assert_eq!(sum, leaking(10));
    }

    #[test]
    fn no_more_is_taken_than_there_is() {
        let mut memory = leaking(0);
        memory.set(Part::Inactive, Bytes(MIB));
        assert_eq!(memory.take(Part::Inactive, Bytes(2 * MIB)), Bytes(MIB));
        memory.shift(Part::Anon, Part::Kernel, Bytes(MIB));
        assert_eq!(memory.sum(&Part::HARD, Moment(0)), Bytes(5 * MIB));
        assert_eq!(memory.bytes(Part::Kernel, Moment(0)), Bytes(MIB));
    }
}
