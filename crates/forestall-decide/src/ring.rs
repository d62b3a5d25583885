//! Evenly spaced points of one window of time, in a ring of fixed size.
//!
//! A ring takes a point only when its spacing has passed, so that any tick rate fills it evenly. What is asked at every look
//! (when the next point is due) is kept apart from the points, because hundreds of rings are asked and few of them take one.

use crate::units::{Bytes, Moment, Span};

/// Points in one ring.
pub(crate) const POINTS: usize = 16;

/// One value at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Point<V = Bytes> {
    pub(crate) at: Moment,
    pub(crate) value: V,
}

/// The points of a ring, in no order; its [`Head`] knows it.
pub(crate) type Points<V = Bytes> = [Point<V>; POINTS];

/// Where the points of a ring begin and end, and when it takes the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    /// No point is taken before this.
    due: Moment,
    next: usize,
    len: usize,
}

impl Head {
    /// Takes the point if the spacing of this window has passed since the last one that was taken.
    pub(crate) fn push<V: Copy>(&mut self, width: Span, points: &mut Points<V>, point: Point<V>) {
        if point.at < self.due {
            return;
        }
        self.due = point.at + Span(width.0 / POINTS as u64);
        points[self.next % POINTS] = point;
        self.next = (self.next + 1) % POINTS;
        self.len = (self.len + 1).min(POINTS);
    }

    /// Oldest first.
    pub(crate) fn iter<V: Copy>(self, points: &Points<V>) -> impl Iterator<Item = Point<V>> + '_ {
        let oldest = self.next + POINTS - self.len;
        (oldest..oldest + self.len).map(|place| points[place % POINTS])
    }

    /// The first of the points that [`Self::within`] gives; points stand in the order of time, so that it is found at once
    /// where the ring is not much longer than `age`.
    pub(crate) fn first_within<V: Copy>(
        self,
        points: &Points<V>,
        now: Moment,
        age: Span,
    ) -> Option<Point<V>> {
        let mut found = None;
        for point in self.iter(points).take_while(|point| point.at < now) {
            found = Some(point);
            if now.since(point.at) <= age {
                break;
            }
        }
        found
    }

    /// The last of the points that are at least so old.
    pub(crate) fn last_before<V: Copy>(self, points: &Points<V>, now: Moment, age: Span) -> Option<Point<V>> {
        let is_old = |point: &Point<V>| point.at < now && now.since(point.at) >= age;
        self.iter(points).take_while(is_old).last()
    }

    /// The points before `now` no older than `age`, or the youngest one older than that if it is all there is.
    pub(crate) fn within<V: Copy>(
        self,
        points: &Points<V>,
        now: Moment,
        age: Span,
    ) -> impl Iterator<Item = Point<V>> + '_ {
        let before = self.iter(points).filter(|point| point.at < now).count();
        let too_old = self
            .iter(points)
            .filter(|point| now.since(point.at) > age)
            .count();
        let skip = too_old.min(before.saturating_sub(1));
        self.iter(points).skip(skip).filter(move |point| point.at < now)
    }
}

/// A counter within one window: a single ring, kept over restarts of its track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lapse<V = Bytes> {
    width: Span,
    tip: Point<V>,
    head: Head,
    points: Points<V>,
}

impl<V: Copy + Default> Lapse<V> {
    pub(crate) fn within(width: Span) -> Self {
        Self {
            width,
            tip: Point::default(),
            head: Head::default(),
            points: [Point::default(); POINTS],
        }
    }

    pub(crate) fn push(&mut self, at: Moment, value: V) {
        if at < self.tip.at {
            *self = Self::within(self.width);
        }
        self.tip = Point { at, value };
        self.head.push(self.width, &mut self.points, self.tip);
    }

    /// The last value and its moment; `None` before there is one.
    pub(crate) fn last(&self) -> Option<(Moment, V)> {
        (self.head.len > 0).then_some((self.tip.at, self.tip.value))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::within(self.width);
    }

    /// The values at the window's beginning and now, and the time between them; `None` before two are known.
    pub(crate) fn ends(&self) -> Option<(V, V, Span)> {
        let from = self.head.first_within(&self.points, self.tip.at, self.width)?;
        Some((from.value, self.tip.value, self.tip.at.since(from.at)))
    }
}
