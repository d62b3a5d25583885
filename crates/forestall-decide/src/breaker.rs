//! Who goes in place of a culprit that keeps within what he was promised: who took beyond his own promise what is missing for it.
//!
//! For a kill he has to have all of it; for an eviction it is enough that he has some, since the kubelet would take him as well. It refuses to
//! look for him where the news of the pods are old, and to name one who has given it back, or never took it.

use crate::decision::{Target, WallReading, WhyNot};
use crate::engine::Engine;
use crate::graceful::Step;
use crate::input::Sample;
use crate::ladder::ROOM_PERMILLE;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, Moment};
use crate::victim::{candidate, may_touch, rank};

/// What there should be left of a wall.
fn room(reading: &WallReading) -> Option<Bytes> {
    Some(reading.limit.bytes()?.permille(ROOM_PERMILLE))
}

impl Engine {
    /// What a culprit that keeps within his request lacks of what he was promised, and of some room for all. Where he lacks nothing, and
    /// somebody has to end all the same, it is that room: whoever took less would end for nothing, and whoever took nothing for less.
    pub(crate) fn missing(&self, sample: &Sample, reading: &WallReading) -> Option<Bytes> {
        let left = self
            .pods
            .owning(sample, reading.culprit?.target)?
            .left_of_request()?;
        let room = room(reading)?;
        let missing = left.max(room) - reading.distance;
        Some(if missing > Bytes::ZERO { missing } else { room })
    }

    /// Who goes before a culprit that keeps within his request: the first, in the order of victims, of those who hold so much beyond their
    /// own, have taken it since their start, and have not given it back for a minute.
    pub(crate) fn find_breaker(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        missing: Bytes,
    ) -> Option<Target> {
        let uid = self.pods.owning(sample, reading.culprit?.target)?.pod.uid;
        if !self.pods.is_fresh(now) || !holds(Rule::BreakerFirst) {
            return None;
        }
        let victims = self.policy.victims;
        rank(
            sample,
            &self.history.roster,
            &self.pods,
            reading.scope,
            victims,
            &mut self.ranked,
        );
        let places = self.ranked.iter().map(|ranked| ranked.place);
        let mut pods = places.filter_map(|place| candidate(sample, &self.history.roster, &self.pods, place));
        pods.find_map(|it| {
            let container = it.largest_container(sample, |_| false)?;
            let target = Target::Group(container.id);
            let owner = self.pods.owning(sample, target)?;
            if it.pod.uid == uid || may_touch(&it).and(may_touch(&owner)).is_err() {
                return None;
            }
            let scope = self.history.group(container.id)?;
            let kept = scope.kept();
            let has_taken = |before| kept - before >= missing && container.anon >= missing;
            (has_taken(it.pod.request) && has_taken(scope.began_with())).then_some(target)
        })
    }

    /// The same as the kubelet would: instead of a culprit within his request who is beyond his own, whether that is enough or not.
    pub(crate) fn evict_breaker(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        step: Option<Step>,
    ) -> Option<Step> {
        let Some(Step::Do(order, evidence)) = &step else {
            return step;
        };
        if order.rung != Rung::Evict {
            return step;
        }
        let (culprit, rule) = (order.target, evidence.rule);
        let Some(breaker) = self.find_evictable_breaker(now, sample, reading) else {
            return step;
        };
        let it = self.pods.owning(sample, breaker)?;
        let instead = self.judge_evict(now, sample, reading, &it, rule, true);
        if matches!(instead, Step::Do(..)) {
            self.passed_over
                .push(reading.pass_over(Rung::Evict, culprit, WhyNot::OthersFirst));
            return Some(instead);
        }
        step
    }

    pub(crate) fn find_evictable_breaker(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
    ) -> Option<Target> {
        let (missing, room) = (self.missing(sample, reading)?, room(reading)?);
        self.find_breaker(now, sample, reading, missing.min(room))
    }
}
