//! The ladder: for each wall the mildest rung that is due and still fits, each for its own reasons.
//!
//! A rung is due at the last moment at which it still fits, and so much earlier as those after it need if it fails. What
//! it refuses to do: two endings at once while the runway can wait, an ending on one signal, and anything harsher because
//! something milder was refused: against a budget or without a token it is still the wall alone that makes a kill due.

use crate::culprit::find_growers;
use crate::decision::{
    Action, Confidence, Culprit, Evidence, RefusalReason, Target, WallKind, WallReading, WhyNot,
};
use crate::engine::Engine;
use crate::growth::Search;
use crate::history::Scope;
use crate::input::{GroupId, GroupKind, Sample};
use crate::kill::{Due, check_target, is_imminent, judge_kill, kills_at, time_to_effect};
use crate::member::stands_for_its_group;
use crate::policy::{Mode, Policy};
use crate::reclaim::judge_reclaim;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::tree::{is_within, lineage};
use crate::units::{Bytes, Moment, Span};
use crate::victim::{candidate, may_touch, on_its_way, rank};
use crate::wall::{noise, room_before, signal_of};

/// A certain leak this near is not hidden from the kubelet by reclaim (rule 11).
const LEAK_NEAR: Span = Span::secs(60);
/// Kubernetes' grace period where a pod names none (core/v1 `terminationGracePeriodSeconds`): so long a kill that can wait waits for others' ends.
const ENDS_WITHIN: Span = Span::secs(30);
/// So much of a wall (permille) must be left, or be on its way, for nobody to have to end.
pub(crate) const ROOM_PERMILLE: u64 = 40;

/// One order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) rung: Rung,
    pub(crate) target: Target,
    pub(crate) bytes: Bytes,
    pub(crate) grace: Span,
}

impl Engine {
    /// Climbs at every wall.
    pub(crate) fn climb(&mut self, now: Moment, sample: &Sample) {
        let leak_is_near = self.readings.iter().any(|reading| {
            matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods)
                && reading.confidence == Confidence::High
                && reading.runway.p50 <= LEAK_NEAR
        });
        self.evict_after_kills(now, sample);
        for index in 0..self.readings.len() {
            let found = self.readings.get(index);
            let Some(reading) = found.filter(|reading| may_be_due(reading)).copied() else {
                continue;
            };
            let due = self.judge_kill(now, sample, &reading);
            let kill = due.filter(|due| !self.is_excused(sample, &reading, due) || !holds(Rule::Excused));
            self.consider_pods(now, sample, &reading, kill.is_some());
            if let Some(due) = kill {
                self.consider_kill(now, sample, reading, due);
            }
            self.consider_reclaim(now, sample, reading, leak_is_near);
        }
    }

    /// The policy has this rung.
    pub(crate) fn allows(&self, rung: Rung) -> bool {
        self.policy.rungs.has(rung) || !holds(Rule::RungOff)
    }

    fn consider_reclaim(&mut self, now: Moment, sample: &Sample, reading: WallReading, leak_is_near: bool) {
        if !self.allows(Rung::Reclaim) || self.flights.is_reclaiming(now) {
            return;
        }
        let Some(signal) = signal_of(reading.wall) else {
            return;
        };
        let room = room_before(signal, &self.kubelet, &self.policy);
        let brink = self.lines(now).pressing(signal, &reading, room);
        let due = brink.and_then(|brink| {
            let (flights, pods) = (&self.flights, &self.pods);
            let passed_over = &mut self.passed_over;
            judge_reclaim(&reading, brink, sample, flights, pods, leak_is_near, passed_over)
        });
        let Some(due) = due else { return };
        let evidence = Evidence {
            reading,
            time_to_effect: self.time_to_effect(sample),
            rule: due.rule,
        };
        self.order(
            now,
            sample,
            Order {
                rung: Rung::Reclaim,
                target: Target::Group(due.target),
                bytes: due.bytes,
                grace: Span(0),
            },
            evidence,
        );
    }

    fn judge_kill(&self, now: Moment, sample: &Sample, reading: &WallReading) -> Option<Due> {
        // While an easing of ours runs, and a second after, stalls confirm nothing (rule 3).
        let ours = self.flights.is_reclaiming(now)
            || self
                .last_eased_at
                .is_some_and(|at| now.since(at) <= Span::secs(1));
        let effect = self.time_to_effect(sample);
        let ours = ours && holds(Rule::OwnStalls);
        judge_kill(reading, sample, &self.history, &self.policy, effect, ours)
    }

    /// The culprit of a kill that is due has an excuse, which is said.
    fn is_excused(&mut self, sample: &Sample, reading: &WallReading, due: &Due) -> bool {
        let imminent = self.is_imminent(sample, reading);
        let (Some(why), Some(culprit)) = (self.excuse(sample, reading, imminent), reading.culprit) else {
            return false;
        };
        let evidence = Evidence {
            reading: *reading,
            time_to_effect: due.time_to_effect,
            rule: due.rule,
        };
        self.refuse(RefusalReason::Spared(why), evidence);
        self.passed_over
            .push(reading.pass_over(Rung::Kill, culprit.target, why));
        true
    }

    /// One look is enough for a kill at this wall.
    fn is_imminent(&self, sample: &Sample, reading: &WallReading) -> bool {
        let (effect, noise) = (self.time_to_effect(sample), noise(&sample.node));
        self.history
            .scope(reading.scope)
            .is_some_and(|scope| is_imminent(reading, scope, effect, &self.policy, noise))
    }

    fn consider_kill(&mut self, now: Moment, sample: &Sample, reading: WallReading, due: Due) {
        let evidence = Evidence {
            reading,
            time_to_effect: due.time_to_effect,
            rule: due.rule,
        };
        let imminent = self.is_imminent(sample, &reading);
        if !self.allows(Rung::Kill) {
            return self.refuse(RefusalReason::RungOff, evidence);
        }
        if self.escalate(now, sample, imminent, evidence) {
            return;
        }
        if self
            .kernel_killed_at
            .is_some_and(|at| now.since(at) <= self.policy.kill_cooldown)
            && holds(Rule::KernelsVictim)
        {
            return self.refuse(RefusalReason::KernelKilled, evidence);
        }
        // The milder rung was taken a moment ago and fits: what it comes to has to be seen.
        let covered = |flight: &crate::flight::Flight| covers(sample, flight.target, reading.scope);
        if !imminent && self.flights.brakes_to_come(now).any(covered) && holds(Rule::BrakeSeen) {
            return self.refuse(RefusalReason::Waiting, evidence);
        }
        // Whoever is told to end is mostly gone long before his time is out; but who has hours is waited for by nobody.
        let within = reading.runway.p50.max(ENDS_WITHIN);
        if !imminent && self.has_enough_on_its_way(now, sample, &reading, within) {
            return self.refuse(RefusalReason::OnItsWay, evidence);
        }
        let target = match self.choose_victim(now, sample, &reading, imminent) {
            Ok(target) => target,
            Err(reason) => return self.refuse(reason, evidence),
        };
        if self.flights.has_just_braked(target) && holds(Rule::BrakedGrowth) {
            return self.refuse(RefusalReason::Waiting, evidence);
        }
        let called_off = self.flights.called_off(target);
        let had_term = called_off.is_some();
        // Where the mode has changed to and fro, its TERM is given the time that it was promised, and KILL follows.
        let may_end_yet = called_off.is_some_and(|flight| !flight.is_over(now)) && !imminent;
        let in_flight = self.flights.endings(now).next().is_some();
        let settled = !in_flight && !self.flights.has_just_killed(now) || !holds(Rule::OneAtATime);
        // One at a time, unless the runway cannot wait and it is somebody else who grows now. Who merely stands for a cgroup
        // was not seen to grow: the effect of the one before has to be known.
        let stands_in = reading.culprit.is_some_and(|culprit| {
            stands_for_its_group(sample, &self.history, &culprit, noise(&sample.node))
        });
        let is_taken = may_end_yet || self.flights.concerns(Rung::Kill, target);
        if is_taken || !(settled || had_term || imminent && !stands_in) {
            return self.refuse(RefusalReason::Waiting, evidence);
        }
        match check_target(sample, target) {
            Err(reason) => self.refuse(reason, evidence),
            Ok(bytes) => {
                let grace = if in_flight || had_term { Span(0) } else { due.grace };
                let rung = Rung::Kill;
                self.order(
                    now,
                    sample,
                    Order {
                        rung,
                        target,
                        bytes,
                        grace,
                    },
                    evidence,
                );
            }
        }
    }

    /// Whom a kill at this wall is aimed at.
    fn choose_victim(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        imminent: bool,
    ) -> Result<Target, RefusalReason> {
        if let Some(culprit) = reading.culprit.filter(|_| holds(Rule::CulpritFirst)) {
            // Of several that leak on the host one goes where the pods are known, or there are none; else only who dominates (rule 6).
            let is_modest = self.pods.is_fresh(now)
                || self.history.roster.has_no_pods() && !sample.node.kubelet_present
                || culprit.share_permille >= self.policy.culprit_share_permille;
            if !is_modest && holds(Rule::Modesty) {
                return Err(RefusalReason::NoCulprit);
            }
            let target = self.spare(sample, &culprit)?;
            let missing = self.missing(sample, reading);
            let breaker = missing.and_then(|missing| self.find_breaker(now, sample, reading, missing));
            let Some(breaker) = breaker else {
                return Ok(target);
            };
            self.passed_over
                .push(reading.pass_over(Rung::Kill, target, WhyNot::OthersFirst));
            return Ok(breaker);
        }
        // Where one look is enough to see that somebody has to end, it is not enough to end one who did not grow.
        let soon = (self.policy.term_grace + self.time_to_effect(sample)).times(2);
        let ranked = if self.pods.is_fresh(now) && (!imminent || reading.runway.p50 <= soon) {
            self.rank_for_kill(sample, reading)
        } else {
            None
        };
        ranked.ok_or(RefusalReason::NoCulprit)
    }

    /// The culprit, unless it may not be touched. What is known of its pod counts however old it is.
    fn spare(&self, sample: &Sample, culprit: &Culprit) -> Result<Target, RefusalReason> {
        if let Some(why) = culprit.protection.filter(|_| holds(Rule::Protected)) {
            return Err(RefusalReason::Protected(why));
        }
        match self
            .pods
            .owning(sample, culprit.target)
            .map(|pod| may_touch(&pod))
        {
            Some(Err(why)) => Err(RefusalReason::Spared(why)),
            Some(Ok(())) | None => Ok(culprit.target),
        }
    }

    /// The kubelet's order, or the operator's, among those that free enough; the container of it that holds most. Who does not grow
    /// frees what it took since its start: with the rest it is started again.
    fn rank_for_kill(&mut self, sample: &Sample, reading: &WallReading) -> Option<Target> {
        let size = reading.limit.bytes()?;
        let needed = size.permille(ROOM_PERMILLE) - reading.distance;
        let search = Search {
            sample,
            history: &self.history,
            scope: reading.scope,
            noise: noise(&sample.node),
            only_new: true,
        };
        find_growers(search, &mut self.growers);
        let growers = &self.growers;
        let began_with = |id| {
            let scope = self.history.group(id);
            scope.map_or(Bytes::ZERO, Scope::began_with)
        };
        let grows = |id| growers.iter().any(|(target, _)| *target == Target::Group(id));
        rank(
            sample,
            &self.history.roster,
            &self.pods,
            reading.scope,
            self.policy.victims,
            &mut self.ranked,
        );
        let mut chosen = None;
        for it in self
            .ranked
            .iter()
            .filter_map(|ranked| candidate(sample, &self.history.roster, &self.pods, ranked.place))
        {
            let container = it.largest_container(sample, grows);
            // A container that a pod claims which may not be touched is left, whosever it is.
            let owner = container.and_then(|group| self.pods.owning(sample, Target::Group(group.id)));
            let is_free = owner.map_or(Ok(()), |owner| may_touch(&owner));
            let why = match (may_touch(&it).and(is_free), container) {
                (Err(why), _) => why,
                (Ok(()), None) => WhyNot::Unseen,
                (Ok(()), Some(group)) if group.anon < needed && holds(Rule::FreesEnough) => {
                    WhyNot::FreesTooLittle
                }
                (Ok(()), Some(group))
                    if !grows(group.id)
                        && group.anon - began_with(group.id) < needed
                        && holds(Rule::FreesEnough) =>
                {
                    WhyNot::ComesBack
                }
                (Ok(()), Some(_)) if chosen.is_some() => WhyNot::OthersFirst,
                (Ok(()), Some(group)) => {
                    chosen = Some(Target::Group(group.id));
                    continue;
                }
            };
            self.passed_over
                .push(reading.pass_over(Rung::Kill, it.target(), why));
        }
        chosen
    }

    /// Terminating pods give back enough for nobody else to have to end, `within` so long at the latest.
    pub(crate) fn has_enough_on_its_way(
        &self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        within: Span,
    ) -> bool {
        let Some(size) = reading.limit.bytes() else {
            return false;
        };
        let coming = on_its_way(sample, &self.pods, reading.scope, now, within);
        coming > Bytes::ZERO
            && reading.distance + coming >= size.permille(2 * ROOM_PERMILLE)
            && holds(Rule::OnItsWay)
    }

    /// A kill that still waits after TERM is finished at once when the wall comes too near, unless it has become known that
    /// its victim may not be touched. True while a kill is in flight, at this wall or of its culprit, and its victim still has to go.
    fn escalate(&mut self, now: Moment, sample: &Sample, imminent: bool, evidence: Evidence) -> bool {
        let reading = &evidence.reading;
        // Its TERM may have been given for a wall that is further away.
        let waits = |flight: &&crate::flight::Flight| {
            let at = &flight.evidence.reading;
            let is_its = reading
                .culprit
                .is_some_and(|culprit| culprit.target == flight.target);
            flight.rung == Rung::Kill
                && !flight.is_final
                && !flight.is_called_off()
                && (is_its || (at.wall, at.scope) == (reading.wall, reading.scope))
        };
        let Some(flight) = self.flights.endings(now).find(waits).copied() else {
            return false;
        };
        if !imminent {
            return holds(Rule::OneAtATime);
        }
        let spared = self.pods.owning(sample, flight.target);
        if spared.is_some_and(|it| may_touch(&it).is_err()) {
            return false;
        }
        self.flights.escalate(flight.id);
        self.note_intervention(now, sample, flight.target, &evidence.reading);
        self.actions.push(Action {
            id: flight.id,
            rung: flight.rung,
            target: flight.target,
            bytes: Bytes::ZERO,
            grace: Span(0),
            deadline: self.policy.effect_deadline,
            escalate: true,
            evidence,
        });
        true
    }

    /// Orders an action.
    pub(crate) fn order(&mut self, now: Moment, sample: &Sample, order: Order, evidence: Evidence) {
        let action = Action {
            id: self.flights.next_id(),
            rung: order.rung,
            target: order.target,
            bytes: order.bytes,
            grace: order.grace,
            deadline: order.grace + self.deadline(order.rung, evidence.reading.runway.p10),
            escalate: false,
            evidence,
        };
        if matches!(order.rung, Rung::Reclaim | Rung::Brake) {
            self.last_eased_at = Some(now);
        }
        let pod = pod_of(sample, order.target);
        self.flights.launch(now, &action, pod, &self.policy);
        if let (Rung::Brake, Target::Group(id)) = (order.rung, order.target) {
            let before = self.history.group(id).map_or(Bytes::ZERO, Scope::held_before);
            self.flights.note_brake(now, order.target, before);
        }
        self.note_intervention(now, sample, order.target, &evidence.reading);
        self.actions.push(action);
    }

    /// Something is done because of this reading: whatever alarm it is about, and every other that it helps, was acted upon.
    fn note_intervention(&mut self, now: Moment, sample: &Sample, target: Target, reading: &WallReading) {
        if self.policy.mode == Mode::Enforce {
            let covered = |scope| covers(sample, target, scope);
            self.alarms
                .intervene(now, reading, covered, &mut self.alarm_events);
        }
    }

    /// From the decision to kill to the end of the growth.
    pub(crate) fn time_to_effect(&self, sample: &Sample) -> Span {
        time_to_effect(sample, self.lateness, self.flights.answer())
    }

    /// Reclaim has to be done before the wall is reached, so that the act crate may weigh its price against its hurry.
    fn deadline(&self, rung: Rung, runway: Span) -> Span {
        deadline(rung, runway, self.effects.p90(rung), &self.policy)
    }

    /// Says that nothing was done, and why.
    pub(crate) fn refuse(&mut self, reason: RefusalReason, evidence: Evidence) {
        self.refusals.push(crate::decision::Refusal { reason, evidence });
    }
}

/// At a pod's or container's own limit there is nothing that does not need some growth; of such walls there are hundreds, and
/// nearly all of them are calm.
fn may_be_due(reading: &WallReading) -> bool {
    let own = matches!(reading.wall, WallKind::Pod | WallKind::Container);
    let certain = reading.confidence > Confidence::None || !holds(Rule::Confirmation);
    !own || certain || kills_at(reading.wall)
}

fn deadline(rung: Rung, runway: Span, effect: Span, policy: &Policy) -> Span {
    const RECLAIM_MIN: Span = Span::secs(1);
    match rung {
        Rung::Reclaim => runway.max(RECLAIM_MIN).min(policy.effect_deadline),
        // What the API server does takes its own time, and twice that is late.
        Rung::Grow | Rung::Evict => effect.times(2).max(policy.effect_deadline),
        Rung::Brake | Rung::Warn | Rung::Kill | Rung::Sysrq => policy.effect_deadline,
    }
}

/// Whether an action at this target helps at a wall of this scope.
pub(crate) fn covers(sample: &Sample, target: Target, scope: Option<GroupId>) -> bool {
    match target {
        Target::Group(id) => {
            let index = sample.groups.iter().position(|group| group.id == id);
            index.map_or(scope.is_none(), |index| is_within(sample, index, scope))
        }
        Target::Process(_) | Target::Node => scope.is_none(),
    }
}

/// The cgroup of the pod that a target belongs to.
fn pod_of(sample: &Sample, target: Target) -> Option<GroupId> {
    let Target::Group(id) = target else { return None };
    let index = sample.groups.iter().position(|group| group.id == id)?;
    lineage(sample, index)
        .find(|group| matches!(group.kind, GroupKind::Pod(_)))
        .map(|group| group.id)
}
