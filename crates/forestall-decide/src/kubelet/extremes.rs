//! The least and the most of a counter within the time that the kubelet's figures of a pod may be old.
//!
//! Two buckets of that time each, so that it costs four numbers a pod and never forgets too early. It refuses to say when.

use super::manager::POD_FIGURES_AGE_MAX;
use crate::units::{Bytes, Moment};

/// One counter's extremes of the last 20 to 40 s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extremes {
    started: Option<Moment>,
    present: Option<(Bytes, Bytes)>,
    past: Option<(Bytes, Bytes)>,
}

impl Extremes {
    /// Takes a value. A clock that went back starts anew.
    pub fn push(&mut self, now: Moment, value: Bytes) {
        let started = self.started.filter(|started| *started <= now);
        let Some(started) = started else {
            *self = Self {
                started: Some(now),
                present: Some((value, value)),
                past: None,
            };
            return;
        };
        let age = now.since(started);
        if age > POD_FIGURES_AGE_MAX {
            // After a gap the present bucket is too old as well.
            let recent = age <= POD_FIGURES_AGE_MAX.times(2);
            self.past = self.present.filter(|_| recent);
            self.present = None;
            self.started = Some(now);
        }
        let (low, high) = self.present.unwrap_or((value, value));
        self.present = Some((low.min(value), high.max(value)));
    }

    /// The least.
    pub fn low(&self) -> Bytes {
        let lows = [self.present, self.past]
            .into_iter()
            .flatten()
            .map(|(low, _)| low);
        lows.min().unwrap_or_default()
    }

    /// The most.
    pub fn high(&self) -> Bytes {
        let highs = [self.present, self.past]
            .into_iter()
            .flatten()
            .map(|(_, high)| high);
        highs.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_remembered_for_at_least_twenty_seconds_and_no_longer_than_forty() {
        let mut extremes = Extremes::default();
        let mut value_at = |secs: u64, mebi| {
            extremes.push(Moment(secs * 1_000_000), Bytes::mebi(mebi));
            extremes
        };
        value_at(0, 100);
        value_at(19, 900);
        assert_eq!(value_at(39, 100).high(), Bytes::mebi(900));
        for secs in 40..60 {
            value_at(secs, 100);
        }
        assert_eq!(value_at(60, 100).high(), Bytes::mebi(100));
        assert_eq!(value_at(61, 50).low(), Bytes::mebi(50));
        // The clock went back: what was seen before says nothing of now.
        assert_eq!(value_at(5, 70).low(), Bytes::mebi(70));
    }

    #[test]
    fn a_long_gap_forgets_everything() {
        let mut extremes = Extremes::default();
        extremes.push(Moment(0), Bytes::mebi(900));
        extremes.push(Moment(100_000_000), Bytes::mebi(1));
        assert_eq!(
            (extremes.low(), extremes.high()),
            (Bytes::mebi(1), Bytes::mebi(1))
        );
    }
}
