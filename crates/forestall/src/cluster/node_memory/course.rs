//! When the figures are worth another write: how near the next wall is, whether an alarm is up, and how far any figure has moved.
//!
//! Each node's figures wander, and an API server has thousands of nodes: what nobody would decide otherwise for is not written. It refuses to know time but as it is
//! handed in.

use std::time::Duration;

use forestall_decide::{Bytes, Confidence, Span, WallKind};
use tokio::time::Instant;

use super::Figures;
use crate::cluster::seen::Seen;

/// Two writes are so far apart, whatever happens: 5,000 nodes in trouble are 83 of them a second.
const WRITTEN_APART: Duration = Duration::from_mins(1);

/// That all this is still so is written so often, as the conditions are, and as the kubelet does of its own (`nodeStatusReportFrequency`): 5,000 nodes
/// in peace are 17 a second. Whoever reads may take what is older than this and a minute for the word of an agent that is gone.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_mins(5);

/// What moves by less than one part in so many of the machine moves nobody.
const PARTS: u64 = 20;

/// How near the next wall is in time, by the fastest credible growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Far,
    /// Within ten minutes.
    Near,
    /// Within two, as the condition `MemoryRunwayLow` has it, or there, or an alarm is up.
    AtHand,
}

impl Nearness {
    const fn bound(self) -> Span {
        match self {
            Self::Far => Span::FOREVER,
            Self::Near => Span::secs(600),
            Self::AtHand => Span::secs(120),
        }
    }

    /// Who was as near stays so up to twice the bound, so that growth which hardly changes is not written as a change.
    fn of(seen: &Seen, before: Self) -> Self {
        let is_at_hand = seen
            .walls
            .iter()
            .any(|wall| wall.reading.alarmed || wall.reading.distance == Bytes::ZERO);
        if is_at_hand {
            return Self::AtHand;
        }
        let grows = seen
            .walls
            .iter()
            .filter(|wall| wall.reading.confidence > Confidence::None);
        let runway = grows.map(|wall| wall.reading.runway.p10).min();
        let is_within = |nearness: &Self| {
            let times = if before >= *nearness { 2 } else { 1 };
            runway.is_some_and(|runway| runway < nearness.bound().times(times))
        };
        let known = [Self::AtHand, Self::Near];
        known.into_iter().find(is_within).unwrap_or(Self::Far)
    }
}

/// What stands in the cluster by this agent's word.
#[derive(Clone, Debug)]
pub(super) struct Written {
    figures: Figures,
    nearness: Nearness,
    at: Instant,
}

impl Written {
    /// It has just been written.
    pub(super) fn new(figures: Figures, seen: &Seen, before: Option<&Self>, at: Instant) -> Self {
        let before = before.map_or(Nearness::Far, |written| written.nearness);
        Self {
            figures,
            nearness: Nearness::of(seen, before),
            at,
        }
    }

    /// Whether these take its place now.
    pub(super) fn is_outdated(&self, figures: &Figures, seen: &Seen, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        // A guard that looks no more has nothing to say, and the reader finds out by the age of what it said last.
        figures.at != self.figures.at
            && (age >= SIGN_OF_LIFE || age >= WRITTEN_APART && self.has_changed(figures, seen))
    }

    fn has_changed(&self, figures: &Figures, seen: &Seen) -> bool {
        let nearness = Nearness::of(seen, self.nearness);
        let next = |figures: &Figures| figures.walls.first().map(|wall| wall.wall);
        nearness != self.nearness
            // Of walls that nobody comes to it does not matter which is the next one.
            || nearness > Nearness::Far && next(figures) != next(&self.figures)
            || has_moved(&self.figures, figures)
    }
}

/// Whether any figure has by more than a part of the machine, or a wall has come or gone, or its alarm.
fn has_moved(before: &Figures, now: &Figures) -> bool {
    let step = (now.total.0 / PARTS).max(1);
    let has_moved = |before: Bytes, now: Bytes| before.0.abs_diff(now.0) >= step;
    let has_wall_moved = |wall: WallKind| {
        let of = |figures: &Figures| figures.walls.iter().find(|it| it.wall == wall).cloned();
        match (of(before), of(now)) {
            (Some(before), Some(now)) => {
                before.is_alarmed != now.is_alarmed || has_moved(before.left, now.left)
            }
            (before, now) => before.is_some() != now.is_some(),
        }
    };
    before.total != now.total
        || has_scheduling_moved(before, now, step)
        || has_moved(before.available, now.available)
        || has_moved(before.actual, now.actual)
        || has_moved(before.kubelet, now.kubelet)
        || has_moved(before.blind, now.blind)
        || before
            .walls
            .iter()
            .chain(&now.walls)
            .any(|wall| has_wall_moved(wall.wall))
}

/// Whether more or fewer would be sent here. What is not known says nothing, and the Node itself is read only for the sign of life.
fn has_scheduling_moved(before: &Figures, now: &Figures, step: u64) -> bool {
    match (&before.scheduling, &now.scheduling) {
        (Some(before), Some(now)) => before.requested.0.abs_diff(now.requested.0) >= step,
        (before, now) => before.is_none() && now.is_some(),
    }
}
