//! Evictions where nobody explains the growth, or the kubelet would be next: in the operator's order or the kubelet's, the first one who frees enough,
//! and where nobody alone does the first few who do together, all at once.
//!
//! What they refuse to do: let somebody who stands still pay for one whom a budget spares, and go before the kubelet for cache that would do.
use crate::decision::{Target, WallKind, WallReading, WhyNot};
use crate::engine::Engine;
use crate::graceful::{Step, active_file, is_sure_enough};
use crate::input::Sample;
use crate::kubelet::Signal;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, BytesPerSecond, Moment, Span};
use crate::victim::{Candidate, Class, candidate, rank};
use crate::wall::{noise, room_before};

/// So much of a wall (permille) has to be left once an eviction for its sake is over.
const ROOM_PERMILLE: u64 = 80;
/// No more go at once: who gives back less than this part of what is needed is let be.
const TOGETHER_MAX: u64 = 8;

/// Nobody goes sooner before a wall for growth that he does not explain: what grows may stop, and who takes longer than that to end is let be.
const AHEAD_MAX: Span = Span::secs(120);
/// Nobody ends within less.
const SHORTEST: Span = Span::secs(1);

/// Whom to look for, in order: the first who may be evicted, and then at his own last moment and no sooner.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// So much is missing now of what there should be.
    missing: Bytes,
    /// What reclaim cannot free grows so fast.
    growth: BytesPerSecond,
    /// He is one of so many who go at once, at the most.
    together: u64,
    /// Only one who has grown.
    is_choosy: bool,
    before: Before,
    rule: &'static str,
}

impl Next {
    /// So much has to be given back by whoever takes so long for it: what is missing, and no less than what grows meanwhile, or the wall would be as near as before
    /// and the next one's turn would come, and the next one's.
    fn needed(self, takes: Span) -> Bytes {
        let meanwhile = self.growth.over(takes);
        self.missing.max(if holds(Rule::Outgrows) {
            meanwhile
        } else {
            Bytes::ZERO
        })
    }

    /// The same for one of several.
    fn of_several(self) -> Self {
        Self {
            together: TOGETHER_MAX,
            ..self
        }
    }
}

/// One who was looked at.
struct Judged {
    target: Target,
    class: Class,
    freed: Bytes,
    takes: Span,
    comes_at: Span,
    step: Step,
}

/// The first few in order who free enough together: one, if there is one.
#[derive(Clone, Copy, Debug, Default)]
struct Few {
    count: u64,
    freed: Bytes,
    /// How long before the wall it is time for the one that takes longest.
    comes_at: Span,
    /// Of the last one; none of the others matters more.
    class: Class,
}

impl Few {
    fn of(next: Next, all: impl Iterator<Item = Judged>) -> Option<Self> {
        let mut few = Self::default();
        let mut takes = Span(0);
        let mut goes = all.filter(|judged| matches!(judged.step, Step::Do(..)));
        while few.count == 0 || few.freed < next.needed(takes) && holds(Rule::FreesEnough) {
            let judged = goes.next().filter(|_| few.count < next.together)?;
            takes = takes.max(judged.takes);
            few.count += 1;
            few.freed += judged.freed;
            few.comes_at = few.comes_at.max(judged.comes_at);
            few.class = judged.class;
        }
        Some(few)
    }

    /// The moment of all is that of whoever takes longest: who takes twice as long as others is let be where these are enough without him, and matter no more.
    fn quickest<I: Iterator<Item = Judged>>(next: Next, all: impl Fn() -> I) -> Option<Self> {
        let (mut few, mut within) = (None::<Self>, AHEAD_MAX);
        while within >= SHORTEST {
            let matters_no_more = |judged: &Judged| few.is_none_or(|few| judged.class <= few.class);
            let quick = all().filter(|judged| judged.comes_at <= within && matters_no_more(judged));
            let found = Self::of(next, quick);
            within = Span(found.map_or(within, |few| few.comes_at).0 / 2);
            few = found.or(few);
        }
        few
    }
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
            missing: size.permille(ROOM_PERMILLE) - reading.distance,
            growth: reading.growth_fast,
            together: 1,
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
            missing: needed,
            growth: by_kernel.growth_fast,
            together: 1,
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
        let judge = |engine: &Self, next: Next, nth: usize| {
            let ranked = engine.ranked.get(nth)?;
            let it = candidate(sample, &engine.history.roster, &engine.pods, ranked.place)?;
            Some(Judged {
                target: it.target(),
                class: ranked.class(),
                freed: it.freed_by_eviction(),
                takes: engine.takes(&it),
                comes_at: engine.comes_at(reading, next, &it),
                step: engine.judge_next(now, sample, reading, next, &it, kill_is_due),
            })
        };
        let engine = &*self;
        let all = |next| (0..engine.ranked.len()).filter_map(move |nth| judge(engine, next, nth));
        let few = Few::of(next, all(next)).or_else(|| {
            let few = Few::quickest(next.of_several(), || all(next.of_several()))?;
            engine.has_tokens(few.count).then_some(few)
        });
        // Where nobody may go, that is told when it would be time for whoever ends at once.
        let comes_at = few.map_or(self.ahead_at_least(next), |few| few.comes_at);
        if !Self::has_come(reading, next.before, comes_at) {
            return;
        }
        let asked = if few.is_some_and(|few| few.count > 1) {
            next.of_several()
        } else {
            next
        };
        let others_first =
            |target| Step::PassOver(reading.pass_over(Rung::Evict, target, WhyNot::OthersFirst));
        let mut left = few.map_or(0, |few| few.count);
        for nth in 0..self.ranked.len() {
            let step = judge(self, asked, nth).map(|judged| match judged.step {
                Step::Do(..) if few.is_some_and(|few| judged.comes_at > few.comes_at) => {
                    others_first(judged.target)
                }
                _ if few.is_some() && left == 0 => others_first(judged.target),
                step => step,
            });
            if self.take(now, sample, step) {
                left = left.saturating_sub(1);
            }
        }
    }

    /// The budget of evictions allows so many at once: a part of them would harm and not help.
    fn has_tokens(&self, count: u64) -> bool {
        let spent = self.flights.evictions_since(self.pods.told_at);
        let tokens = self.pods.cluster.eviction_tokens;
        tokens.is_none_or(|tokens| spent as u64 + count <= u64::from(tokens)) || !holds(Rule::Token)
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
        let least = Bytes(next.needed(self.takes(it)).0.div_ceil(next.together));
        if it.freed_by_eviction() < least && holds(Rule::FreesEnough) {
            pass(WhyNot::FreesTooLittle)
        } else if next.is_choosy && !self.has_grown(sample, it) {
            pass(WhyNot::ComesBack)
        } else {
            self.judge_evict(now, sample, reading, it, next.rule, kill_is_due)
        }
    }

    /// How long before a wall it is time for this one: by its own grace period.
    fn comes_at(&self, reading: &WallReading, next: Next, it: &Candidate<'_>) -> Span {
        let takes = self.takes(it);
        let comes_at = match next.before {
            Before::Kill => reading.runway.p50,
            Before::Kernel => self.ahead(it, takes),
            Before::Kubelet(_) if next.is_choosy => self.ahead_of_kubelet(it, takes),
            Before::Kubelet(_) => self.ahead_of_kubelet(it, takes).max(self.ahead_at_least(next)),
        };
        comes_at.min(AHEAD_MAX)
    }

    /// From an order to evict it to its memory.
    fn takes(&self, it: &Candidate<'_>) -> Span {
        it.pod.grace + self.effects.p90(Rung::Evict)
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
