//! Evictions where nobody explains the growth, or the kubelet would be next: in the operator's order or the kubelet's, the first one who frees enough.
//!
//! What they refuse to do: let somebody who stands still pay for one whom a budget spares, and go before the kubelet for cache that would do.
use crate::decision::{WallKind, WallReading, WhyNot};
use crate::engine::Engine;
use crate::graceful::{Step, active_file, is_sure_enough};
use crate::input::Sample;
use crate::kubelet::Signal;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, BytesPerSecond, Moment, Span};
use crate::victim::{Candidate, candidate, rank};
use crate::wall::{noise, room_before};

/// So much of a wall (permille) has to be left once an eviction for its sake is over.
const ROOM_PERMILLE: u64 = 80;

/// Whom to look for, in order: the first who may be evicted, and then at his own last moment and no sooner.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// So much he has to give back.
    needed: Bytes,
    /// Only one who has grown.
    is_choosy: bool,
    before: Before,
    rule: &'static str,
}

/// What an eviction has to come before.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// The kill that is due already.
    Kill,
    /// A wall of the kernel's.
    Kernel,
    /// The kubelet's own eviction, for what grows so fast by the kernel's rules.
    Kubelet(BytesPerSecond),
}

impl Engine {
    /// Nobody explains it: memory has to come from somewhere, in the operator's order or the kubelet's.
    pub(crate) fn evict_ranked(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        kill_is_due: bool,
    ) {
        let instead = kill_is_due && self.allows(Rung::Evict);
        let is_in_sight = self.allows(Rung::Evict)
            && is_sure_enough(Rung::Evict, reading)
            && (reading.runway.p50 <= self.evicts_within(now) || !holds(Rule::LastMoment));
        if !instead && !is_in_sight {
            return;
        }
        let Some(size) = reading.limit.bytes() else {
            return;
        };
        let next = Next {
            needed: size.permille(ROOM_PERMILLE) - reading.distance,
            is_choosy: false,
            before: if instead { Before::Kill } else { Before::Kernel },
            rule: "nobody-explains-it",
        };
        self.evict_first(now, sample, reading, next, kill_is_due);
    }

    /// The kubelet is about to evict, and cache alone would not content it.
    pub(crate) fn evict_before_kubelet(&mut self, now: Moment, sample: &Sample, reading: &WallReading) {
        let takes = self.effects.p90(Rung::Evict);
        if !self.allows(Rung::Evict) || !is_sure_enough(Rung::Evict, reading) {
            return;
        }
        // The same scope by the kernel's rules: only growth that reclaim cannot free is worth a pod.
        let same = |other: &&WallReading| {
            other.scope == reading.scope && matches!(other.wall, WallKind::Kernel | WallKind::Kubepods)
        };
        let Some(by_kernel) = self.readings.iter().find(same).copied() else {
            return;
        };
        let cache_will_do = active_file(sample, reading.scope) >= reading.growth_fast.over(takes.times(2));
        if (!is_sure_enough(Rung::Evict, &by_kernel) || cache_will_do) && holds(Rule::CacheFirst) {
            return;
        }
        // As much room again as the kubelet keeps for itself.
        let needed = room_before(Signal::MemoryAvailable, &self.kubelet, &self.policy);
        let next = |is_choosy, rule| Next {
            needed,
            is_choosy,
            before: Before::Kubelet(by_kernel.growth_fast),
            rule,
        };
        let Some(culprit) = by_kernel.culprit.filter(|_| holds(Rule::CulpritFirst)) else {
            let next = next(false, "the-kubelets-choice");
            return self.evict_first(now, sample, reading, next, false);
        };
        // Where it is none of the pods, or may not be evicted, the kubelet has its way: nobody else goes for it sooner than that.
        let breaker = self.find_evictable_breaker(now, sample, &by_kernel);
        let Some(it) = self.pods.owning(sample, culprit.target) else {
            return;
        };
        // A budget spares one who grows, and not the others who do; who stands still does not pay for it.
        if self.flights.is_blocked(it.target()) && holds(Rule::Blocked) {
            let next = next(true, "after-a-refusal");
            return self.evict_first(now, sample, reading, next, false);
        }
        if breaker.is_some() {
            let over = reading.pass_over(Rung::Evict, it.target(), WhyNot::WithinRequest);
            self.passed_over.push(over);
            return;
        }
        let ahead = self.ahead_of_kubelet(&it, it.pod.grace + takes);
        let is_due = reading.runway.p50 <= ahead
            && comes_within(ahead, by_kernel.growth_fast, reading)
            && self.lasts(reading.distance, culprit, Rung::Evict);
        if is_due && (!self.flights.is_warned(now, it.target()) || !holds(Rule::WarnedFree)) {
            let step = self.judge_evict(now, sample, reading, &it, "before-the-kubelet", false);
            self.take(now, sample, Some(step));
        }
    }

    /// Later than before a wall of the kernel's: who comes too late is evicted by the kubelet, and nobody is killed for it; and a heap that
    /// stops half as far again before the kubelet's threshold as it grows while a pod is being evicted is to be let stand.
    fn ahead_of_kubelet(&self, it: &Candidate<'_>, takes: Span) -> Span {
        Span(self.ahead(it, takes).0 / 4 * 3)
    }

    /// Evicts the first in order that may be evicted and frees enough, once his moment has come; everybody else gets a reason.
    fn evict_first(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        next: Next,
        kill_is_due: bool,
    ) {
        rank(
            sample,
            &self.history.roster,
            &self.pods,
            reading.scope,
            self.policy.victims,
            &mut self.ranked,
        );
        let judge = |engine: &Self, nth: usize| {
            let place = engine.ranked.get(nth)?.place;
            let it = candidate(sample, &engine.history.roster, &engine.pods, place)?;
            Some((
                it.target(),
                engine.comes_at(reading, next, &it),
                engine.judge_next(now, sample, reading, next, &it, kill_is_due),
            ))
        };
        let first = (0..self.ranked.len())
            .filter_map(|nth| judge(self, nth))
            .find(|(_, _, step)| matches!(step, Step::Do(..)));
        // Where nobody may go, that is told when it would be time for whoever ends at once.
        let comes_at = first.map_or(self.ahead_at_least(next), |(_, comes_at, _)| comes_at);
        if !Self::has_come(reading, next.before, comes_at) {
            return;
        }
        let mut done = false;
        for nth in 0..self.ranked.len() {
            let step = judge(self, nth).map(|(target, _, step)| {
                if done {
                    Step::PassOver(reading.pass_over(Rung::Evict, target, WhyNot::OthersFirst))
                } else {
                    step
                }
            });
            done |= self.take(now, sample, step);
        }
    }

    fn judge_next(
        &self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        next: Next,
        it: &Candidate<'_>,
        kill_is_due: bool,
    ) -> Step {
        let pass = |why| Step::PassOver(reading.pass_over(Rung::Evict, it.target(), why));
        if it.freed_by_eviction() < next.needed && holds(Rule::FreesEnough) {
            pass(WhyNot::FreesTooLittle)
        } else if next.is_choosy && !self.has_grown(sample, it) {
            pass(WhyNot::ComesBack)
        } else {
            self.judge_evict(now, sample, reading, it, next.rule, kill_is_due)
        }
    }

    /// How long before a wall it is time for this one: by its own grace period.
    fn comes_at(&self, reading: &WallReading, next: Next, it: &Candidate<'_>) -> Span {
        let takes = it.pod.grace + self.effects.p90(Rung::Evict);
        match next.before {
            Before::Kill => reading.runway.p50,
            Before::Kernel => self.ahead(it, takes),
            Before::Kubelet(_) if next.is_choosy => self.ahead_of_kubelet(it, takes),
            Before::Kubelet(_) => self.ahead_of_kubelet(it, takes).max(self.ahead_at_least(next)),
        }
    }

    fn ahead_at_least(&self, next: Next) -> Span {
        let takes = self.effects.p90(Rung::Evict);
        match next.before {
            Before::Kill | Before::Kernel => takes.times(2),
            Before::Kubelet(_) => takes.times(4),
        }
    }

    fn has_come(reading: &WallReading, before: Before, ahead: Span) -> bool {
        let is_near = reading.runway.p50 <= ahead;
        match before {
            Before::Kill => true,
            Before::Kernel => is_near || !holds(Rule::LastMoment),
            Before::Kubelet(growth) => is_near && comes_within(ahead, growth, reading),
        }
    }

    /// Within the last minute, beyond what every figure wavers by.
    fn has_grown(&self, sample: &Sample, it: &Candidate<'_>) -> bool {
        let own = self.history.group(it.group.id);
        own.is_some_and(|own| own.held().latest() - own.held_before() > noise(&sample.node))
    }
}

/// What comes near is what cannot be freed, and not cache that becomes active beside a slow drift.
fn comes_within(span: Span, growth: BytesPerSecond, reading: &WallReading) -> bool {
    growth.over(span) >= reading.distance || !holds(Rule::CacheFirst)
}
