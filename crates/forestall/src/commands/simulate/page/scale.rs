//! Where a figure lies on a chart, and which round figures stand beside it.
//!
//! Integers alone, so that the page is the same everywhere.

use forestall_decide::{Moment, Span};

/// A chart is so wide and so high in its own units; the page stretches it.
pub(super) const WIDTH: u64 = 10_000;
pub(super) const HEIGHT: u64 = 1000;
/// No more ticks than this, so that they can be read on a telephone.
const TICKS_MAX: u64 = 5;
const SECOND: u64 = 1_000_000;

/// From left to right: time; from the bottom up: bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// The right edge.
    pub(super) duration: Span,
    /// The upper edge, in bytes.
    pub(super) top: u64,
}

impl Scale {
    /// One that has room for `highest` and a little air above it.
    pub(super) fn new(duration: Span, highest: u64) -> Self {
        Self {
            duration: Span(duration.0.max(1)),
            top: highest.saturating_add(highest / 16).max(1 << 20),
        }
    }

    pub(super) fn x(&self, at: Moment) -> u64 {
        part(at.0, self.duration.0, WIDTH)
    }

    /// From the upper edge down.
    pub(super) fn y(&self, bytes: u64) -> u64 {
        HEIGHT - part(bytes, self.top, HEIGHT)
    }

    /// A place from left to right as CSS has it.
    pub(super) fn left(&self, at: Moment) -> String {
        percent(self.x(at), WIDTH)
    }

    /// A place from the upper edge down as CSS has it.
    pub(super) fn above(&self, bytes: u64) -> String {
        percent(self.y(bytes), HEIGHT)
    }

    /// Round amounts from nothing up, with their names.
    pub(super) fn amounts(&self) -> Vec<(u64, String)> {
        let mut step = 1_u64 << 10;
        while self.top / step > TICKS_MAX {
            step <<= 1;
        }
        (0..=self.top / step)
            .map(|count| (count * step, amount(count * step)))
            .collect()
    }

    /// Round times from the beginning on, with their names.
    pub(super) fn times(&self) -> Vec<(Moment, String)> {
        const STEPS: [u64; 20] = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
            172_800, 604_800,
        ];
        let whole = self.duration.0 / SECOND;
        let step = STEPS.into_iter().find(|step| whole / step <= TICKS_MAX);
        let step = step.unwrap_or_else(|| (whole / TICKS_MAX).max(1));
        (0..=whole / step)
            .map(|count| (Moment(count * step * SECOND), clock(count * step, step)))
            .collect()
    }
}

/// `value` of `whole` in units of `units`, rounded, and never past the edge.
pub(super) fn part(value: u64, whole: u64, units: u64) -> u64 {
    let (value, whole) = (u128::from(value.min(whole)), u128::from(whole.max(1)));
    u64::try_from((value * u128::from(units) + whole / 2) / whole).unwrap_or(units)
}

/// A share as CSS has it, to a hundredth.
pub(super) fn percent(value: u64, whole: u64) -> String {
    let hundredths = part(value, whole, 10_000);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

fn amount(bytes: u64) -> String {
    for (unit, scale) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes.is_multiple_of(scale) && bytes > 0 {
            return format!("{} {unit}", bytes / scale);
        }
        if bytes > scale && bytes.is_multiple_of(scale / 2) {
            return format!("{}.5 {unit}", bytes / scale);
        }
    }
    bytes.to_string()
}

/// A time of day of the run, as fine as its step.
fn clock(seconds: u64, step: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match step {
        0..15 => format!("{seconds} s"),
        15..60 => format!("{minutes}:{:02}", seconds % 60),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h"),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_lie_where_they_belong() {
        let scale = Scale::new(Span::secs(600), 16 << 30);
        assert_eq!(scale.top, 17 << 30);
        assert_eq!((scale.x(Moment(0)), scale.x(Moment(300 * SECOND))), (0, 5000));
        assert_eq!(scale.x(Moment(u64::MAX)), WIDTH);
        assert_eq!((scale.y(0), scale.y(17 << 30), scale.y(u64::MAX)), (HEIGHT, 0, 0));
        assert_eq!(percent(1, 3), "33.33%");
    }

    #[test]
    fn ticks_are_few_and_round_whatever_the_size() {
        for (seconds, highest) in [
            (1, 1),
            (40, 1 << 30),
            (600, 7_291_510_784),
            (7 * 86_400, u64::MAX),
        ] {
            let scale = Scale::new(Span::secs(seconds), highest);
            let (times, amounts) = (scale.times(), scale.amounts());
            assert!((2..=7).contains(&times.len()), "{times:?}");
            assert!((2..=7).contains(&amounts.len()), "{amounts:?}");
        }
        let scale = Scale::new(Span::secs(600), 7_291_510_784);
        let named: Vec<String> = scale.times().into_iter().map(|(_, name)| name).collect();
        assert_eq!(named, ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]);
        let named: Vec<String> = scale.amounts().into_iter().map(|(_, name)| name).collect();
        assert_eq!(named, ["0", "2 GiB", "4 GiB", "6 GiB"]);
        assert_eq!(amount(3 << 29), "1.5 GiB");
    }
}
