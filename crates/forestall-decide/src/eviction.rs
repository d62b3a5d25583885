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
use crate::units::{Bytes, Moment, Span};
use crate::victim::{Candidate, candidate, rank};
use crate::wall::{noise, room_before};

/// So much of a wall (permille) has to be left once an eviction for its sake is over.
const ROOM_PERMILLE: u64 = 80;

/// Whom to look for, in order, and how much he has to give back.
#[derive(Clone, Copy, Debug)]
enum Next {
    Any(Bytes),
    /// Only one who has grown, and no sooner than at his own last moment.
    Growing(Bytes),
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
        let takes = self.effects.p90(Rung::Evict);
        let instead = kill_is_due && self.allows(Rung::Evict);
        if !instead && !self.is_due(Rung::Evict, reading, takes, takes.times(2)) {
            return;
        }
        let Some(size) = reading.limit.bytes() else {
            return;
        };
        let needed = size.permille(ROOM_PERMILLE) - reading.distance;
        self.evict_first(
            now,
            sample,
            reading,
            Next::Any(needed),
            "nobody-explains-it",
            kill_is_due,
        );
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
        // What comes near is what cannot be freed, and not cache that becomes active beside a slow drift.
        let in_sight = |span: Span| {
            let comes = by_kernel.growth_fast.over(span) >= reading.distance || !holds(Rule::CacheFirst);
            reading.runway.p50 <= span && comes
        };
        // As much room again as the kubelet keeps for itself.
        let needed = room_before(Signal::MemoryAvailable, &self.kubelet, &self.policy);
        match by_kernel.culprit.filter(|_| holds(Rule::CulpritFirst)) {
            Some(culprit) => {
                // Where it is none of the pods, or may not be evicted, the kubelet has its way: nobody else goes for it sooner than that.
                let breaker = self.find_evictable_breaker(now, sample, &by_kernel);
                let Some(it) = self.pods.owning(sample, culprit.target) else {
                    return;
                };
                // A budget spares one who grows, and not the others who do; who stands still does not pay for it.
                if self.flights.is_blocked(it.target()) && holds(Rule::Blocked) {
                    if in_sight(takes.times(4)) {
                        self.evict_first(
                            now,
                            sample,
                            reading,
                            Next::Growing(needed),
                            "after-a-refusal",
                            false,
                        );
                    }
                    return;
                }
                if breaker.is_some() {
                    let over = reading.pass_over(Rung::Evict, it.target(), WhyNot::WithinRequest);
                    self.passed_over.push(over);
                    return;
                }
                let is_due = in_sight(self.ahead_of_kubelet(&it, it.pod.grace + takes))
                    && self.lasts(reading.distance, culprit, Rung::Evict);
                if is_due && (!self.flights.is_warned(now, it.target()) || !holds(Rule::WarnedFree)) {
                    let step = self.judge_evict(now, sample, reading, &it, "before-the-kubelet", false);
                    self.take(now, sample, Some(step));
                }
            }
            None if in_sight(takes.times(4)) => {
                self.evict_first(
                    now,
                    sample,
                    reading,
                    Next::Any(needed),
                    "the-kubelets-choice",
                    false,
                );
            }
            None => {}
        }
    }

    /// Later than before a wall of the kernel's: who comes too late is evicted by the kubelet, and nobody is killed for it; and a heap that
    /// stops half as far again before the kubelet's threshold as it grows while a pod is being evicted is to be let stand.
    fn ahead_of_kubelet(&self, it: &Candidate<'_>, takes: Span) -> Span {
        Span(self.ahead(it, takes).0 / 4 * 3)
    }

    /// Evicts the first in order that may be evicted and frees enough; everybody else gets a reason.
    fn evict_first(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        next: Next,
        rule: &'static str,
        kill_is_due: bool,
    ) {
        let (is_choosy, needed) = match next {
            Next::Any(needed) => (false, needed),
            Next::Growing(needed) => (true, needed),
        };
        let takes = self.effects.p90(Rung::Evict);
        rank(
            sample,
            &self.history.roster,
            &self.pods,
            reading.scope,
            self.policy.victims,
            &mut self.ranked,
        );
        let mut done = false;
        for nth in 0..self.ranked.len() {
            let ranked = self.ranked.get(nth).copied();
            let step = ranked
                .and_then(|ranked| candidate(sample, &self.history.roster, &self.pods, ranked.place))
                .map(|it| {
                    let pass = |why| Step::PassOver(reading.pass_over(Rung::Evict, it.target(), why));
                    if done {
                        pass(WhyNot::OthersFirst)
                    } else if it.freed_by_eviction() < needed && holds(Rule::FreesEnough) {
                        pass(WhyNot::FreesTooLittle)
                    } else if is_choosy && !self.has_grown(sample, &it) {
                        pass(WhyNot::ComesBack)
                    } else if is_choosy
                        && reading.runway.p50 > self.ahead_of_kubelet(&it, it.pod.grace + takes)
                    {
                        pass(WhyNot::OthersFirst)
                    } else {
                        self.judge_evict(now, sample, reading, &it, rule, kill_is_due)
                    }
                });
            done |= self.take(now, sample, step);
        }
    }

    /// Within the last minute, beyond what every figure wavers by.
    fn has_grown(&self, sample: &Sample, it: &Candidate<'_>) -> bool {
        let own = self.history.group(it.group.id);
        own.is_some_and(|own| own.held().latest() - own.held_before() > noise(&sample.node))
    }
}
