//! What is remembered of one counter: three rings of points, about 1, 10 and 60 s long, all of fixed size.
//!
//! The newest value is kept apart as the tip and always counts. Nothing is smoothed here: memory that reclaim cannot free has no
//! outliers.

use crate::ring::{Head, POINTS, Point, Points};
use crate::units::{Bytes, BytesPerSecond, Moment, Span, wide_ratio};

/// Pairs among the points of a ring and the tip.
const PAIRS: usize = (POINTS + 1) * POINTS / 2;

/// The three windows, shortest first.
pub(crate) const WINDOWS: [Span; 3] = [Span::secs(1), Span::secs(10), Span::secs(60)];
/// The longest of them, and how far apart its points are.
const LONGEST: Span = WINDOWS[WINDOWS.len() - 1];
const LONGEST_SPACING: Span = Span(LONGEST.0 / POINTS as u64);

/// Slopes of a window: a low, a middle and a high one. Negative where the counter falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slopes {
    /// Bytes per second; one pair in ten is slower.
    pub(crate) slow: i64,
    /// The median of all pairs (Theil–Sen).
    pub(crate) middle: i64,
    /// One pair in ten is faster.
    pub(crate) fast: i64,
    /// How many points they are of.
    pub(crate) points: usize,
}

/// The history of one counter. What every look touches stands first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    tip: Point,
    before_tip: Option<Point>,
    /// Since when the value is what it is.
    changed_at: Moment,
    heads: [Head; WINDOWS.len()],
    seen: bool,
    points: [Points; WINDOWS.len()],
}

impl Default for Track {
    fn default() -> Self {
        Self {
            tip: Point::default(),
            before_tip: None,
            changed_at: Moment::default(),
            heads: [Head::default(); WINDOWS.len()],
            seen: false,
            points: [[Point::default(); POINTS]; WINDOWS.len()],
        }
    }
}

impl Track {
    /// Takes a value. One that is not later than the tip (the clock stood or jumped back) restarts the track, because
    /// no slope across such a jump means anything.
    pub(crate) fn push(&mut self, at: Moment, value: Bytes) {
        let point = Point { at, value };
        if self.seen && at <= self.tip.at {
            *self = Self::default();
        }
        if !self.seen || value != self.tip.value {
            self.changed_at = at;
        }
        self.before_tip = self.seen.then_some(self.tip);
        self.tip = point;
        self.seen = true;
        for ((width, head), points) in WINDOWS.iter().zip(&mut self.heads).zip(&mut self.points) {
            head.push(*width, points, point);
        }
    }

    /// Nothing that is remembered differs from the present value: it has been the same for the longest window, and for longer
    /// than any look that a ring may have left out.
    pub(crate) fn is_flat(&self) -> bool {
        let before = self.before_tip.map_or(Moment::default(), |before| before.at);
        self.tip.at.since(self.changed_at) >= LONGEST && before.since(self.changed_at) >= LONGEST_SPACING
    }

    /// Forgets everything but the present value: growth before an event says nothing about growth after it.
    pub(crate) fn restart(&mut self) {
        let (tip, seen) = (self.tip, self.seen);
        *self = Self::default();
        if seen {
            self.push(tip.at, tip.value);
        }
    }

    pub(crate) const fn latest(&self) -> Bytes {
        self.tip.value
    }

    /// What it will be at the next look if it rises as it did at the last one.
    pub(crate) fn after_one_more(&self) -> Bytes {
        let rise = self
            .before_tip
            .map_or(Bytes::ZERO, |before| self.tip.value - before.value);
        self.tip.value + rise
    }

    /// How much the counter rose within the last `age` (or since it is known), and over which time that was.
    pub(crate) fn rise(&self, age: Span) -> (i64, Span) {
        let at = WINDOWS.iter().position(|width| *width >= age);
        let at = at.unwrap_or(WINDOWS.len() - 1);
        let from = self.heads[at].first_within(&self.points[at], self.tip.at, age);
        let from = from.or(self.before_tip);
        from.map_or((0, Span(0)), |from| {
            (signed(from.value, self.tip.value), self.tip.at.since(from.at))
        })
    }

    /// How much it rose since the last point of ten seconds that is at least so old: nothing that came before is in it. The whole
    /// rise of ten seconds where no point is.
    pub(crate) fn rise_of_late(&self, age: Span) -> i64 {
        match self.heads[1].last_before(&self.points[1], self.tip.at, age) {
            Some(from) => signed(from.value, self.tip.value),
            None => self.rise(WINDOWS[1]).0,
        }
    }

    /// The present speed: of the last look, or of the last tenth of a second where looks come faster than that, since
    /// over too short a time the counters' own batches look like speed. Rises within `noise` are none.
    pub(crate) fn speed_now(&self, noise: Bytes) -> BytesPerSecond {
        const BREATH: Span = Span::millis(100);
        let (rise, over) = self.rise(BREATH);
        let breath = Bytes(u64::try_from(rise).unwrap_or(0));
        let last = self.before_tip.map_or((Bytes::ZERO, Span(0)), |from| {
            (self.tip.value - from.value, self.tip.at.since(from.at))
        });
        let speed = |(rise, over)| {
            if rise > noise {
                BytesPerSecond::from(rise, over)
            } else {
                BytesPerSecond(0)
            }
        };
        speed((breath, over)).max(speed(last))
    }

    /// The speed of the last second; a rise within `noise` is none.
    pub(crate) fn speed_of_second(&self, noise: Bytes) -> BytesPerSecond {
        let (rise, over) = self.rise(WINDOWS[0]);
        let rise = Bytes(u64::try_from(rise).unwrap_or(0));
        if rise > noise {
            BytesPerSecond::from(rise, over)
        } else {
            BytesPerSecond(0)
        }
    }

    /// The value stands above everything seen in the last 10 s: it is growing into new ground and not swinging.
    pub(crate) fn is_at_new_high(&self) -> bool {
        self.window(1).all(|point| point.value < self.tip.value)
            && self.window(0).all(|point| point.value < self.tip.value)
    }

    /// The least that it was in the longest window.
    pub(crate) fn lowest(&self) -> Bytes {
        let before = self.window(WINDOWS.len() - 1).map(|point| point.value);
        before
            .min()
            .map_or(self.tip.value, |least| least.min(self.tip.value))
    }

    /// The most that it was in the longest window before the last `age`; `None` where nothing is known of that.
    pub(crate) fn highest_before(&self, age: Span) -> Option<Bytes> {
        let before = self.window(WINDOWS.len() - 1);
        let before = before.filter(|point| self.tip.at.since(point.at) >= age);
        before.map(|point| point.value).max()
    }

    /// The points of one window before the tip (0, 1, 2 as in `WINDOWS`), oldest first.
    fn window(&self, at: usize) -> impl Iterator<Item = Point> + '_ {
        self.heads[at].within(&self.points[at], self.tip.at, WINDOWS[at])
    }

    /// The largest rise between two neighbouring points of the 10 s window: how much it jumps by itself.
    pub(crate) fn jump_max(&self) -> Bytes {
        largest_rise(self.window(1))
    }

    /// Some window shows more of a rise than one jump and noise: it was seen to grow at two looks.
    pub(crate) fn has_risen_twice(&self, noise: Bytes) -> bool {
        WINDOWS.iter().enumerate().any(|(at, width)| {
            let (rise, _) = self.rise(*width);
            let rise = Bytes(u64::try_from(rise).unwrap_or(0));
            let jump = largest_rise(self.window(at).chain([self.tip]));
            rise - jump > noise
        })
    }

    /// End-to-end speed of the fastest window; cheap, for walls that are far away.
    pub(crate) fn speed_rough(&self) -> BytesPerSecond {
        let mut speed = BytesPerSecond(0);
        if self.is_flat() {
            return speed;
        }
        for width in WINDOWS {
            let (rise, over) = self.rise(width);
            if let Ok(rise) = u64::try_from(rise) {
                speed = speed.max(BytesPerSecond::from(Bytes(rise), over));
            }
        }
        speed
    }

    /// Theil–Sen slopes of one window (0, 1, 2 as in `WINDOWS`); `None` before two points are known.
    pub(crate) fn slopes(&self, window: usize) -> Option<Slopes> {
        if window >= WINDOWS.len() {
            return None;
        }
        let mut points = [Point::default(); POINTS + 1];
        let mut count = 0;
        for point in self.window(window) {
            points[count] = point;
            count += 1;
        }
        points[count] = self.tip;
        count += 1;
        let mut slopes = [0_i64; PAIRS];
        let mut pairs = 0;
        for (index, from) in points[..count].iter().enumerate() {
            for to in &points[index + 1..count] {
                let over = to.at.since(from.at);
                if over.0 > 0 {
                    slopes[pairs] = slope(signed(from.value, to.value), over);
                    pairs += 1;
                }
            }
        }
        let slopes = slopes.get_mut(..pairs).filter(|slopes| !slopes.is_empty())?;
        slopes.sort_unstable();
        let last = pairs - 1;
        Some(Slopes {
            slow: slopes[last / 10],
            middle: slopes[last / 2],
            fast: slopes[last - last / 10],
            points: count,
        })
    }
}

fn largest_rise(points: impl Iterator<Item = Point>) -> Bytes {
    let mut last = None;
    let mut rise = Bytes::ZERO;
    for point in points {
        if let Some(last) = last {
            rise = rise.max(point.value - last);
        }
        last = Some(point.value);
    }
    rise
}

fn signed(from: Bytes, to: Bytes) -> i64 {
    let clamp = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
    if to >= from {
        clamp(to - from)
    } else {
        -clamp(from - to)
    }
}

/// Bytes per second; none over no time.
pub(crate) fn slope(rise: i64, over: Span) -> i64 {
    let size = i64::try_from(wide_ratio(rise.unsigned_abs(), 1_000_000, over.0)).unwrap_or(i64::MAX);
    if rise < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A track fed `rate` bytes a second for `secs`, looked at every `step`.
    fn growing(rate: u64, secs: u64, step: Span) -> Track {
        let mut track = Track::default();
        let mut at = Moment(1);
        while at.0 < secs * 1_000_000 {
            track.push(at, Bytes(at.0 * rate / 1_000_000));
            at = at + step;
        }
        track
    }

    #[test]
    fn steady_growth_has_its_own_slope_in_every_window_at_every_tick_rate() {
        for step in [Span::millis(10), Span::millis(100), Span::secs(1)] {
            let track = growing(8_000_000, 90, step);
            for window in 0..WINDOWS.len() {
                let slopes = track.slopes(window).expect("two points");
                for slope in [slopes.slow, slopes.middle, slopes.fast] {
                    assert!(
                        (7_990_000..=8_010_000).contains(&slope),
                        "{slope} at {step:?} in window {window}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_step_up_is_seen_at_once_by_the_last_look_and_not_by_the_long_median() {
        let mut track = growing(0, 60, Span::millis(100));
        track.push(Moment(60_000_000), Bytes::mebi(50));
        let speed = track.speed_now(Bytes::mebi(1));
        assert!(
            speed >= BytesPerSecond::from(Bytes::mebi(50), Span(200_000)),
            "{speed}"
        );
        assert_eq!(track.slopes(2).map(|slopes| slopes.middle), Some(0));
    }

    #[test]
    fn a_clock_that_jumps_back_restarts_the_track() {
        let mut track = growing(1_000_000, 20, Span::secs(1));
        track.push(Moment(5), Bytes::mebi(900));
        assert_eq!(track.slopes(1), None);
        assert_eq!(track.speed_now(Bytes::ZERO), BytesPerSecond(0));
    }

    #[test]
    fn a_swinging_counter_is_not_at_a_new_high() {
        let mut track = Track::default();
        for tick in 1..200_u64 {
            track.push(Moment(tick * 100_000), Bytes::mebi(100 + tick % 3));
        }
        assert!(!track.is_at_new_high());
        assert!(growing(1_000_000, 20, Span::millis(100)).is_at_new_high());
    }

    #[test]
    fn rise_reaches_back_as_far_as_asked() {
        let track = growing(1_000_000, 70, Span::millis(500));
        for (age, low, high) in [
            (1, 900_000, 1_600_000),
            (10, 9_000_000, 11_000_000),
            (60, 56_000_000, 64_000_000),
        ] {
            let (rise, _) = track.rise(Span::secs(age));
            assert!((low..=high).contains(&rise), "{rise} in {age} s");
        }
    }
}
