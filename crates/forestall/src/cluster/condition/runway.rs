//! `MemoryRunwayLow`: a wall of the machine's may be reached soon, or has been.
//!
//! It is about the walls whose crossing costs somebody else: the machine's own, that of all pods, and the kubelet's two. A pod that comes to its own
//! limit is its own business, and no reason to keep away from a node. What goes up and down within minutes is one time of shortage, and not many.

use std::time::Duration;

use forestall_decide::{Bytes, Confidence, Span};
use tokio::time::Instant;

use super::{Condition, Kind, Status};
use crate::cluster::seen::{Seen, Wall};
use crate::log::say_wall;

/// By the fastest credible growth a wall is reached sooner than this: about as long as an alarm foresees, and as a node's pods need to go in peace.
const LOW: Span = Span::secs(120);

/// From then on until none is reached sooner than this, so that growth which hardly changes is not told as a change.
const ENOUGH: Span = Span::secs(240);

/// It has to have been calm for so long: as long as an alarm answers for what it has foretold.
const CALM: Duration = Duration::from_mins(2);

/// Why it is, where nothing but its growth says so.
pub(super) const SHORT: &str = "RunwayShort";

/// Why it is low. While it is, it is told the gravest that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Short,
    Reached,
    Alarm,
}

impl Why {
    const fn reason(self) -> &'static str {
        match self {
            Self::Short => SHORT,
            Self::Reached => "WallReached",
            Self::Alarm => "Alarm",
        }
    }

    fn of(wall: &Wall, bound: Span) -> Option<Self> {
        let reading = &wall.reading;
        if reading.alarmed {
            Some(Self::Alarm)
        } else if reading.distance == Bytes::ZERO {
            Some(Self::Reached)
        } else if reading.confidence > Confidence::None && reading.runway.p10 < bound {
            Some(Self::Short)
        } else {
            None
        }
    }
}

#[derive(Clone, Debug)]
struct Low {
    why: Why,
    message: String,
    seen_at: Instant,
}

/// Remembers what is over only after a while.
#[derive(Debug, Default)]
pub(super) struct RunwayLow(Option<Low>);

impl RunwayLow {
    pub(super) fn look(&mut self, seen: &Seen, now: Instant) -> Condition {
        let bound = if self.0.is_some() { ENOUGH } else { LOW };
        let lows = seen
            .walls
            .iter()
            .filter_map(|wall| Some((Why::of(wall, bound)?, wall)));
        // Of several as grave the one that is reached first.
        let gravest = lows.reduce(|one, other| if other.0 > one.0 { other } else { one });
        if let Some((why, wall)) = gravest {
            let before = self.0.as_ref().map_or(why, |low| low.why);
            self.0 = Some(Low {
                why: why.max(before),
                message: say(wall),
                seen_at: now,
            });
        }
        let is_over = |low: &Low| now.duration_since(low.seen_at) >= CALM;
        self.0 = self.0.take().filter(|low| !is_over(low));
        let (status, reason, message) = self.0.as_ref().map_or_else(
            || {
                let nearest = seen.walls.first().map(say).unwrap_or_default();
                let message = format!("no wall of this node is in sight within {LOW}; {nearest}");
                (Status::False, "RunwayEnough", message)
            },
            |low| (Status::True, low.why.reason(), low.message.clone()),
        );
        Condition::new(Kind::MemoryRunwayLow, status, reason, message)
    }
}

fn say(wall: &Wall) -> String {
    let mut said = say_wall(&wall.reading);
    if !wall.culprit.is_empty() {
        said.push_str("; it grows by ");
        said.push_str(&wall.culprit);
    }
    said
}
