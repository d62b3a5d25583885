//! The brake: the culprit's container is held near what it holds for a bounded time.
//!
//! It needs no cluster: where nothing is known of the pods, the one who explains nearly all of the growth is braked before he is
//! killed. What it refuses to do then: brake anything but a container, or whom old news spare.

use crate::blame::is_near;
use crate::decision::{Evidence, Target, WallKind, WallReading, WhyNot};
use crate::engine::Engine;
use crate::graceful::{Step, find, touch};
use crate::input::{GroupKind, Sample};
use crate::ladder::Order;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Moment, Span};
use crate::victim::Candidate;

/// A brake lasts so long at the most; it is lifted before anything harsher. Less than what the kubelet's liveness probe takes to fail
/// for good, where the pod does not say otherwise: three times, ten seconds apart, and a second for the last (rule 10).
const BRAKE_MAX: Span = Span::secs(20);
/// A braked container may hold so much more than it does (permille of the wall): it must be able to go on.
const BRAKE_ROOM_PERMILLE: u64 = 5;

impl Engine {
    /// Without news of the pods nobody is named but a dominant culprit (rule 6), who is braked early enough for the kill that may have to follow: there is no
    /// eviction.
    pub(crate) fn brake_without_news(
        &self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        kill_is_due: bool,
    ) -> Option<Step> {
        let culprit = reading.culprit?;
        let is_shared = matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods);
        let Target::Group(id) = culprit.target else {
            return None;
        };
        let is_container = matches!(find(sample, id)?.kind, GroupKind::Container(_));
        if !is_shared || !is_container {
            return None;
        }
        let brake = self.effects.p90(Rung::Brake);
        let kill = self.policy.term_grace + self.time_to_effect(sample);
        let is_due = is_near(sample, reading)
            && self.is_due(Rung::Brake, reading, brake, (brake + kill).times(2))
            && self.lasts(reading.distance, culprit, Rung::Brake);
        if !is_due {
            return None;
        }
        let known = self.pods.owning(sample, culprit.target);
        self.judge_brake(now, sample, reading, known.as_ref(), culprit.target, kill_is_due)
    }

    /// `it`: the culprit's pod, where it is known.
    pub(crate) fn judge_brake(
        &self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        it: Option<&Candidate<'_>>,
        culprit: Target,
        kill_is_due: bool,
    ) -> Option<Step> {
        let pass_over = |why| Some(Step::PassOver(reading.pass_over(Rung::Brake, culprit, why)));
        if !kill_is_due && it.is_some_and(|it| it.has_room_within_request(reading.distance)) {
            return pass_over(WhyNot::WithinRequest);
        }
        if self.flights.concerns(Rung::Brake, culprit) || self.flights.is_easing(now, culprit) {
            return None;
        }
        // What it does with its time takes memory.
        let is_warned = it.is_some_and(|it| self.flights.is_warned(now, it.target()));
        if is_warned && holds(Rule::WarnedFree) {
            return None;
        }
        let Target::Group(id) = culprit else { return None };
        let (group, size) = (find(sample, id)?, reading.limit.bytes()?);
        if let Some(why) = group.protection.filter(|_| holds(Rule::Protected)) {
            return pass_over(WhyNot::Protected(why));
        }
        let order = Order {
            rung: Rung::Brake,
            target: culprit,
            bytes: if holds(Rule::BrakeRoom) {
                group.current + size.permille(BRAKE_ROOM_PERMILLE)
            } else {
                group.current.permille(500)
            },
            grace: if holds(Rule::BrakeEnds) {
                BRAKE_MAX
            } else {
                BRAKE_MAX.times(10)
            },
        };
        let evidence = Evidence {
            reading: *reading,
            time_to_effect: self.effects.p90(Rung::Brake),
            rule: "brake-the-culprit",
        };
        Some(match it {
            Some(it) => touch(reading, it, order, evidence),
            None => Step::Do(order, evidence),
        })
    }
}
