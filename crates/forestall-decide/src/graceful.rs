//! The rungs between reclaim and kill, which need to know the pods: `warn`, `grow` and `evict`; and `brake`, which is milder where they
//! are known (`brake.rs`).
//!
//! They are aimed at the culprit's pod; where nobody is the culprit, at those whom the kubelet would choose, so that they go with
//! their grace period instead of the kubelet's one second. What they refuse to do: end a pod while page cache alone would do, or
//! while enough is on its way already; take another one's pod for a culprit who may not be evicted, or is none of the pods; take what
//! a pod needs to start for a leak, or, unless a kill is due, anything from who keeps within its request.

use crate::blame::is_near;
use crate::decision::{
    Confidence, Culprit, Evidence, PassedOver, RefusalReason, Runway, Target, WallKind, WallReading, WhyNot,
};
use crate::engine::Engine;
use crate::forecast::forecast;
use crate::history::Scope;
use crate::input::{GroupId, GroupSample, Sample};
use crate::ladder::Order;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, Moment, Span};
use crate::victim::{Candidate, matters_more, may_evict, may_touch};
use crate::wall::noise;

/// Nobody is evicted for growth to come that is more than so many times what has been seen.
const EVICT_FOR: u64 = 2;
/// Nor braked, which harms less.
const BRAKE_FOR: u64 = 3;

impl WallReading {
    /// Notes that somebody was passed over at this wall.
    pub(crate) const fn pass_over(&self, rung: Rung, target: Target, why: WhyNot) -> PassedOver {
        PassedOver {
            wall: self.wall,
            scope: self.scope,
            rung,
            target,
            why,
        }
    }
}

/// What one rung comes to at one wall.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Do(Order, Evidence),
    PassOver(PassedOver),
    Refuse(RefusalReason, Evidence),
}

/// What a rung of this kind needs to be sure of: the more it harms, the more.
pub(crate) fn is_sure_enough(rung: Rung, reading: &WallReading) -> bool {
    let least = match rung {
        Rung::Warn | Rung::Grow => Confidence::Low,
        _ => Confidence::High,
    };
    reading.confidence >= least || !holds(Rule::Confirmation)
}

impl Engine {
    /// The graceful rungs at one wall. Where a kill is due, an eviction that still fits is due all the more.
    pub(crate) fn consider_pods(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        kill_is_due: bool,
    ) {
        let by = now + reading.runway.p50;
        let waits = self.flights.endings(now).any(|flight| flight.is_awaited(by));
        if waits && holds(Rule::OneEviction) {
            return;
        }
        if !self.knows_pods(now) {
            let step = self.brake_without_news(now, sample, reading, kill_is_due);
            self.take(now, sample, step);
            return;
        }
        match reading.wall {
            WallKind::Kernel | WallKind::Kubepods => {
                match reading.culprit.filter(|_| holds(Rule::CulpritFirst)) {
                    Some(culprit) => {
                        let step = self.ease_or_evict(now, sample, reading, culprit, kill_is_due);
                        let step = self.evict_breaker(now, sample, reading, step);
                        self.take(now, sample, step);
                    }
                    None => self.evict_ranked(now, sample, reading, kill_is_due),
                }
            }
            WallKind::KubeletNode | WallKind::KubeletAllocatable => {
                self.evict_before_kubelet(now, sample, reading);
            }
            WallKind::Pod | WallKind::Container => {
                let step = reading.scope.and_then(|scope| self.help(sample, reading, scope));
                self.take(now, sample, step);
            }
        }
    }

    /// A container that was killed twice within ten minutes leaks wherever it starts, and what lies in a memory-backed volume outlives
    /// any container: their pods go (rule 7).
    pub(crate) fn evict_after_kills(&mut self, now: Moment, sample: &Sample) {
        if !self.allows(Rung::Evict) || !self.knows_pods(now) {
            return;
        }
        let mut nth = 0;
        while let Some((kill, times)) = self.repeats.last_in_pod(nth) {
            nth += 1;
            if self.flights.endings(now).next().is_some() && holds(Rule::OneRepeater) {
                return;
            }
            let Some(it) = self.pods.owning(sample, Target::Group(kill.pod)) else {
                continue;
            };
            let rule = if times > 1 && holds(Rule::SecondKill) {
                "killed-twice"
            } else if kill.is_outlived(it.group.shmem.min(it.pod.memory_volumes)) && holds(Rule::Outlives) {
                "outlives-a-kill"
            } else {
                continue;
            };
            // Nothing is about to be reached right after a kill, so there is time for its grace period.
            let reading = WallReading {
                runway: Runway::FOREVER,
                ..kill.evidence.reading
            };
            let step = self.judge_evict(now, sample, &reading, &it, rule, true);
            self.take(now, sample, Some(step));
        }
    }

    /// What is known of the pods is new enough to act upon.
    fn knows_pods(&self, now: Moment) -> bool {
        self.pods.is_fresh(now) || !holds(Rule::FreshNews)
    }

    /// True if somebody is on the way out by it.
    pub(crate) fn take(&mut self, now: Moment, sample: &Sample, step: Option<Step>) -> bool {
        match step {
            Some(Step::Do(order, evidence)) => {
                let ends = order.rung.ends_somebody();
                self.order(now, sample, order, evidence);
                return ends;
            }
            Some(Step::PassOver(passed)) => self.passed_over.push(passed),
            Some(Step::Refuse(reason, evidence)) => self.refuse(reason, evidence),
            None => {}
        }
        false
    }

    /// At the kernel's own walls: the culprit's pod, from brake to eviction.
    fn ease_or_evict(
        &self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        culprit: Culprit,
        kill_is_due: bool,
    ) -> Option<Step> {
        let it = self.pods.owning(sample, culprit.target)?;
        let evict = it.pod.grace + self.effects.p90(Rung::Evict);
        let warn = self.warning_takes(&it);
        let brake = self.effects.p90(Rung::Brake);
        let instead = kill_is_due && self.allows(Rung::Evict);
        let lasts = self.lasts(reading.distance, culprit, Rung::Evict);
        let is_due = self.is_due(Rung::Evict, reading, evict, self.ahead(&it, evict))
            && self.is_sure_of(sample, reading, culprit.target)
            && lasts;
        // Further away nobody is braked, who has minutes to stop by himself, nor warned where no eviction would follow.
        let is_near = is_near(sample, reading);
        if is_due && !instead && self.flights.is_warned(now, it.target()) && holds(Rule::WarnedFree) {
            // It was promised its time, and as long as no kill is due there is some.
            None
        } else if instead || is_due {
            Some(self.judge_evict(now, sample, reading, &it, "last-moment", kill_is_due))
        } else if warn > Span(0)
            && (is_near || lasts)
            && self.is_due(Rung::Warn, reading, warn, (warn + evict).times(2))
        {
            self.judge_warn(reading, &it)
        } else if is_near
            && self.is_due(Rung::Brake, reading, brake, (brake + warn + evict).times(2))
            && self.lasts(reading.distance, culprit, Rung::Brake)
        {
            self.judge_brake(now, sample, reading, Some(&it), culprit.target, kill_is_due)
        } else {
            None
        }
    }

    /// The culprit's own growth is as certain as the wall's: one that has stopped, and another that has just begun, are certain
    /// growth only together.
    fn is_sure_of(&self, sample: &Sample, reading: &WallReading, culprit: Target) -> bool {
        let Target::Group(id) = culprit else { return true };
        let own = self.history.group(id).map(|scope| {
            let seen = forecast(&scope.unreclaimable, reading.distance, noise(&sample.node));
            seen.confidence
        });
        own.is_none_or(|own| own >= Confidence::High) || !holds(Rule::Confirmation)
    }

    /// The culprit's part of what is left is no more than so many times the growth of it that has been seen: what a pod takes to
    /// start says nothing about the next minute. Of who was braked, all counts that it has come to since before that. An eviction may
    /// take minutes, so for one all of an even climb counts. A job is thought to come no higher than in a turn before.
    pub(crate) fn lasts(&self, left: Bytes, culprit: Culprit, rung: Rung) -> bool {
        let Target::Group(id) = culprit.target else {
            return true;
        };
        let own = self.history.group(id);
        let seen = own.map_or(Bytes::ZERO, |own| {
            let held = own.held().latest();
            let braked = self.flights.grown_since_before_brake(culprit.target, held);
            let climbed = if rung == Rung::Evict {
                own.climbed()
            } else {
                Bytes::ZERO
            };
            braked.max(held - own.held_before()).max(climbed)
        });
        let times = if rung == Rung::Evict { EVICT_FOR } else { BRAKE_FOR };
        let to_come = Bytes(seen.0.saturating_mul(times));
        let turn = own.and_then(Scope::left_of_turn);
        turn.map_or(to_come, |turn| turn.min(to_come)) >= left.permille(culprit.share_permille.min(1000))
            || !holds(Rule::Lasting)
    }

    /// So long before a wall an eviction may begin: that of whoever takes longest to end. Nothing where nobody is evicted.
    pub(crate) fn evicts_within(&self, now: Moment) -> Span {
        if !self.allows(Rung::Evict) || !self.knows_pods(now) {
            return Span(0);
        }
        let longest = self.pods.list.iter().map(|pod| pod.grace).max();
        longest.map_or(Span(0), |grace| (grace + self.effects.p90(Rung::Evict)).times(2))
    }

    /// How long before the wall an eviction that takes so much begins: at twice that, and later where its pod matters more than most
    /// others, so that milder rungs have longer.
    pub(crate) fn ahead(&self, it: &Candidate<'_>, takes: Span) -> Span {
        if matters_more(&self.history.roster, &self.pods, it) {
            Span(takes.times(3).0 / 2)
        } else {
            takes.times(2)
        }
    }

    /// A rung is due when the median runway is no longer than `ahead`, in general twice what it takes and what those after it take;
    /// and it must fit.
    pub(crate) fn is_due(&self, rung: Rung, reading: &WallReading, takes: Span, ahead: Span) -> bool {
        self.allows(rung)
            && is_sure_enough(rung, reading)
            && (reading.runway.p50 <= ahead || !holds(Rule::LastMoment))
            && takes <= reading.runway.p10
    }

    /// What a warning takes; nothing where the pod has not asked for one.
    pub(crate) fn warning_takes(&self, it: &Candidate<'_>) -> Span {
        let unasked = (!holds(Rule::WarningAsked)).then_some(Span::secs(1));
        let asked = it.pod.asks.warning.or(unasked);
        asked.map_or(Span(0), |asked| asked + self.effects.p90(Rung::Warn))
    }

    /// `instead`: of a kill, or after one.
    pub(crate) fn judge_evict(
        &self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        it: &Candidate<'_>,
        rule: &'static str,
        instead: bool,
    ) -> Step {
        let effect = self.effects.p90(Rung::Evict);
        let evidence = Evidence {
            reading: *reading,
            time_to_effect: it.pod.grace + effect,
            rule,
        };
        // Who is not gone before the wall gives nothing back in time, and this one would lose his own grace by waiting.
        if self.has_enough_on_its_way(now, sample, reading, reading.runway.p50) {
            return Step::Refuse(RefusalReason::OnItsWay, evidence);
        }
        if let Err(why) = may_evict(it, &self.pods, &self.flights, reading.runway.p10, effect) {
            return Step::PassOver(reading.pass_over(Rung::Evict, it.target(), why));
        }
        if !instead && it.has_room_within_request(reading.distance) {
            return Step::PassOver(reading.pass_over(Rung::Evict, it.target(), WhyNot::WithinRequest));
        }
        let order = Order {
            rung: Rung::Evict,
            target: it.target(),
            bytes: it.freed_by_eviction(),
            grace: it.pod.grace,
        };
        Step::Do(order, evidence)
    }

    pub(crate) fn judge_warn(&self, reading: &WallReading, it: &Candidate<'_>) -> Option<Step> {
        if self.flights.concerns(Rung::Warn, it.target()) && holds(Rule::WarnedOnce) {
            return None;
        }
        let order = Order {
            rung: Rung::Warn,
            target: it.target(),
            bytes: Bytes::ZERO,
            grace: it.pod.asks.warning.unwrap_or_default(),
        };
        let evidence = Evidence {
            reading: *reading,
            time_to_effect: self.warning_takes(it),
            rule: "warn-in-time",
        };
        Some(touch(reading, it, order, evidence))
    }
}

/// The order, if the pod may be touched at all.
pub(crate) fn touch(reading: &WallReading, it: &Candidate<'_>, order: Order, evidence: Evidence) -> Step {
    match may_touch(it) {
        Ok(()) => Step::Do(order, evidence),
        Err(why) => Step::PassOver(reading.pass_over(order.rung, order.target, why)),
    }
}

pub(crate) fn find(sample: &Sample, id: GroupId) -> Option<&GroupSample> {
    sample.groups.iter().find(|group| group.id == id)
}

/// Active page cache in the scope: what the kubelet counts as used and reclaim could take.
pub(crate) fn active_file(sample: &Sample, scope: Option<GroupId>) -> Bytes {
    match scope {
        None => sample.node.active_file,
        Some(id) => find(sample, id).map_or(Bytes::ZERO, |group| group.active_file),
    }
}
