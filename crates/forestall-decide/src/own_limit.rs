//! At a pod's or container's own limit: `grow`, and else `warn`, for those who ask for it.
//!
//! What it refuses to do: give room that the node does not have, and end anybody; the kernel would hit the same pod.

use crate::decision::{Evidence, Target, WallKind, WallReading, WhyNot};
use crate::engine::Engine;
use crate::graceful::{Step, touch};
use crate::input::{GroupId, Sample};
use crate::ladder::Order;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, Span};
use crate::victim::Candidate;

/// A limit is raised by this share (permille).
const GROWTH_PERMILLE: u64 = 250;
/// The node must have so many times that growth left at each of its own walls.
const GROWTH_ROOM: u64 = 4;

impl Engine {
    /// At a pod's or container's own limit: more room if it asks for it and the node has it; else a warning.
    pub(crate) fn help(&self, sample: &Sample, reading: &WallReading, scope: GroupId) -> Option<Step> {
        let helps = [Rung::Grow, Rung::Warn];
        if !helps.iter().any(|rung| self.allows(*rung)) {
            return None;
        }
        let it = self.pods.owning(sample, Target::Group(scope))?;
        let grow = self.effects.p90(Rung::Grow);
        let warn = self.warning_takes(&it);
        if self.is_due(Rung::Grow, reading, grow, grow.times(2)) {
            self.judge_grow(reading, &it, scope)
        } else if warn > Span(0) && self.is_due(Rung::Warn, reading, warn, (warn + grow).times(2)) {
            self.judge_warn(reading, &it)
        } else {
            None
        }
    }

    fn judge_grow(&self, reading: &WallReading, it: &Candidate<'_>, scope: GroupId) -> Option<Step> {
        let target = Target::Group(scope);
        if self.flights.concerns(Rung::Grow, target) {
            return None;
        }
        let limit = reading.limit.bytes()?;
        let of_node = |other: &&WallReading| matches!(other.wall, WallKind::Kernel | WallKind::Kubepods);
        let mut walls = self.readings.iter().filter(of_node);
        let pass = |why| Some(Step::PassOver(reading.pass_over(Rung::Grow, target, why)));
        let most = match it.pod.asks.growth {
            None if holds(Rule::GrowthAsked) => return pass(WhyNot::NotAsked),
            asked => asked.unwrap_or(Bytes(u64::MAX)),
        };
        if limit >= most {
            return pass(WhyNot::AtItsMost);
        }
        let added = limit.permille(GROWTH_PERMILLE).min(most - limit);
        if !self.pods.cluster.api && holds(Rule::ApiAway) {
            return pass(WhyNot::ApiAway);
        }
        if walls.any(|wall| wall.distance.0 / GROWTH_ROOM < added.0) && holds(Rule::RoomToGrow) {
            return pass(WhyNot::NoRoom);
        }
        let order = Order {
            rung: Rung::Grow,
            target,
            bytes: limit + added,
            grace: Span(0),
        };
        let evidence = Evidence {
            reading: *reading,
            time_to_effect: self.effects.p90(Rung::Grow),
            rule: "grow-in-place",
        };
        Some(touch(reading, it, order, evidence))
    }
}
