//! `memory.high`: whoever is above it is slowed down, the more the further (mm/memcontrol.c, `calculate_high_delay`).
//!
//! A task that has charged 64 pages waits 64 s × the square of its excess, counted in parts of `memory.high`, and at most two
//! seconds. The rate is therefore a curve; here it is ten steps, each with the mean rate of its band, because memory is
//! straight lines. Below one per cent nobody is slowed down. While a container is slow so is its time: its next turn comes
//! later by as much. What it waits is a stall of the machine's, told when the pace changes. It refuses to slow down who
//! follows another container: it holds what its leader makes it hold.

use forestall_decide::{Bytes, Moment, Span};

use crate::cast::{Container, State};
use crate::memory::{Memory, Part};

/// Where bands begin, in thousandths above `memory.high`.
const BANDS: [u64; 10] = [10, 14, 20, 28, 40, 57, 80, 113, 150, 177];

/// What gets through in a band, bytes a second. To go from *a* to *b* takes the integral of 64 s × *x*² for each 256 KiB, which is
/// 12 KiB / (*a*² + *ab* + *b*²) a second in the mean; in the last band two seconds for 256 KiB.
fn rate(band: usize) -> i64 {
    const SLOWEST: i64 = (256 << 10) / 2;
    let (Some(from), Some(to)) = (BANDS.get(band), BANDS.get(band + 1)) else {
        return SLOWEST;
    };
    let squares = from * from + from * to + to * to;
    i64::try_from((12 << 10) * 1_000_000 / squares).unwrap_or(SLOWEST)
}

/// A container that is above its `memory.high` by some band, or waits for what lies in swap.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    /// How far above its `memory.high`, if it is.
    band: Option<usize>,
    /// How much of it lies in swap, permille.
    waits: u64,
    /// Its lines at full pace.
    full: Memory,
    /// What gets through, and what would at full pace.
    pace: (i64, i64),
    since: Moment,
}

/// Where a band begins.
fn level(high: Bytes, band: usize) -> Option<Bytes> {
    BANDS.get(band).map(|permille| high + high.permille(*permille))
}

/// `span` × `times` / `parts`, rounded up.
fn stretched(span: Span, times: i64, parts: i64) -> Span {
    let wide = u128::from(span.0) * u128::from(times.unsigned_abs());
    let parts = u128::from(parts.unsigned_abs().max(1));
    Span(u64::try_from(wide.div_ceil(parts)).unwrap_or(u64::MAX))
}

impl Container {
    /// Nothing of it lies in swap, and nothing did when its pace was last looked at.
    fn is_whole(&self) -> bool {
        self.swapped == Bytes::ZERO && self.throttle.is_none()
    }

    /// It is slowed down for its `memory.high`.
    pub(crate) fn is_above_high(&self) -> bool {
        self.throttle
            .as_ref()
            .is_some_and(|throttle| throttle.band.is_some())
    }

    /// At full pace again; says how long it stood still of the time that it was slow.
    pub(crate) fn hasten(&mut self, now: Moment) -> Span {
        let Some(throttle) = self.throttle.take() else {
            return Span(0);
        };
        let (through, full) = throttle.pace;
        if self.state == State::Running && through < full {
            self.memory.take_slopes(&throttle.full);
            self.turn = self
                .turn
                .map(|turn| now + stretched(turn.since(now), through, full));
        }
        let slow = now.since(throttle.since);
        Span(slow.0 - stretched(slow, through, full).0.min(slow.0))
    }

    /// Takes the pace that what it holds allows. Says how long it has stood still since the pace changed last.
    pub(crate) fn rethrottle(&mut self, now: Moment) -> Span {
        if self.follows.is_some() || self.is_paused() || (self.high.is_none() && self.is_whole()) {
            return Span(0);
        }
        let running = self.state == State::Running;
        let band = self.high.filter(|_| running).and_then(|high| {
            let held = self.memory.line(&Part::ALL).bytes(now);
            let reached = |band: &usize| level(high, *band).is_some_and(|level| held >= level);
            (0..BANDS.len()).rev().find(reached)
        });
        let waits = if running { self.swapped_permille(now) } else { 0 };
        let known = self.throttle.as_ref();
        if known.map_or((None, 0), |throttle| (throttle.band, throttle.waits)) == (band, waits) {
            return Span(0);
        }
        let stood = self.hasten(now);
        if band.is_some() || waits > 0 {
            let full = i64::try_from(self.memory.line(&Part::ALL).slope).unwrap_or(i64::MAX);
            let let_by = band.map_or(full, |band| full.min(rate(band)));
            let through = let_by.saturating_mul(1000 - waits.min(1000).cast_signed()) / 1000;
            self.throttle = Some(Box::new(Throttle {
                band,
                waits,
                full: self.memory,
                pace: (through.max(1), full.max(1)),
                since: now,
            }));
            if through < full {
                self.memory.slow(through, full);
                self.turn = self
                    .turn
                    .map(|turn| now + stretched(turn.since(now), full, through));
            }
        }
        stood
    }

    /// When it reaches its `memory.high` with cache to take, or the next band above it. Who is paused charges nothing, whatever comes back
    /// from swap meanwhile.
    pub(crate) fn high_contact(&self, now: Moment, plenty: impl Fn(Bytes) -> Bytes) -> Option<Moment> {
        let high = self
            .high
            .filter(|_| self.state == State::Running && self.follows.is_none() && !self.is_paused())?;
        let all = self.memory.line(&Part::ALL);
        let plenty = self.memory.line(&Part::CACHE).reaches(plenty(high), now);
        let reclaim = plenty.and_then(|from| all.reaches(high, from.max(now)));
        let band = self.throttle.as_ref().and_then(|throttle| throttle.band);
        let next = band.map_or(0, |band| band + 1);
        let slower = level(high, next).and_then(|level| all.reaches(level, now));
        reclaim.into_iter().chain(slower).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 64 s × x² for each 256 KiB: the time from a to 2a in the kernel's own terms, against the band's mean rate.
    #[test]
    fn a_bands_rate_takes_as_long_as_the_kernels_curve() {
        let high = 1_u64 << 30;
        for (band, permille) in BANDS.iter().enumerate().take(BANDS.len() - 1) {
            let width = BANDS[band + 1] - permille;
            let steps = 10_000_u64;
            let bytes = u128::from(high / 1000 * width / steps);
            let picos: u128 = (0..steps)
                .map(|step| {
                    // In hundred-millionths, from a to b.
                    let excess = permille * 100_000 + width * 100_000 * step / steps;
                    u128::from(excess).pow(2) * 64_000_000_000_000 / 10_u128.pow(16) * bytes / (256 << 10)
                })
                .sum();
            let micros = u64::try_from(picos / 1_000_000).expect("it fits");
            let ours = high / 1000 * width * 1_000_000 / rate(band).unsigned_abs();
            assert!(micros.abs_diff(ours) * 50 < ours, "{permille}: {micros} {ours}");
        }
    }
}
