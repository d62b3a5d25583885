//! The engine: one input in, one decision out.

use crate::alarm::Alarms;
use crate::culprit::find_culprit;
use crate::decision::{
    Action, AlarmEvent, Confidence, Decision, Evidence, Refusal, RefusalReason, Rung, Target, WallKind,
    WallReading,
};
use crate::flight::Flights;
use crate::history::History;
use crate::input::{Input, Outcome, OutcomeKind, Sample};
use crate::kill::{check_target, is_imminent, judge_kill, time_to_effect};
use crate::pace::next_look;
use crate::policy::{Policy, Preset, Victims};
use crate::preset::{judge_preset, lowest_priority};
use crate::reclaim::judge_reclaim;
use crate::units::{Bytes, Moment, Span};
use crate::wall::{noise, read_walls};

/// Culprits are looked for when a wall is nearer than this; until then nobody has done anything.
const CULPRIT_WITHIN: Span = Span::secs(120);

/// How late the guard woke is judged by the median of so many looks: one hiccup is no starvation.
const LATE_KEPT: usize = 5;
/// Culprits are looked for, too, when this little of a wall is left (permille).
const CULPRIT_BAND_PERMILLE: u64 = 60;

/// A certain leak this near is not hidden from the kubelet by reclaim (rule 11).
const LEAK_NEAR: Span = Span::secs(60);

/// Decides. Holds all state there is between two inputs; two engines fed alike answer alike.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    history: History,
    alarms: Alarms,
    flights: Flights,
    kernel_kills: Option<u64>,
    kernel_killed_at: Option<Moment>,
    last_reclaim_at: Option<Moment>,
    polled_at: Option<Moment>,
    looked_at: Option<Moment>,
    late: [Span; LATE_KEPT],
    looks: usize,
    wake_in: Span,
    readings: Vec<WallReading>,
    alarm_events: Vec<AlarmEvent>,
    actions: Vec<Action>,
    refusals: Vec<Refusal>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            wake_in: policy.tick_calm,
            policy,
            history: History::default(),
            alarms: Alarms::default(),
            flights: Flights::default(),
            kernel_kills: None,
            kernel_killed_at: None,
            last_reclaim_at: None,
            polled_at: None,
            looked_at: None,
            late: [Span(0); LATE_KEPT],
            looks: 0,
            readings: Vec::new(),
            alarm_events: Vec::new(),
            actions: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes one input and answers. `now` never goes back; where it does, histories restart and nothing is concluded
    /// from the jump.
    pub fn step(&mut self, now: Moment, input: Input<'_>) -> Decision<'_> {
        self.readings.clear();
        self.alarm_events.clear();
        self.actions.clear();
        self.refusals.clear();
        match input {
            Input::Sample(sample) => self.take_sample(now, sample),
            Input::Outcome(outcome) => self.take_outcome(now, outcome),
            Input::Policy(policy) => self.take_policy(policy),
        }
        Decision {
            readings: &self.readings,
            alarms: &self.alarm_events,
            actions: &self.actions,
            refusals: &self.refusals,
            wake_in: self.wake_in,
        }
    }

    fn take_policy(&mut self, policy: &Policy) {
        // What was only announced in shadow must not keep the same target from being acted upon now.
        if policy.mode != self.policy.mode {
            self.flights.forget();
        }
        self.policy = *policy;
    }

    /// After a jump back of the clock every remembered time lies in the future and would refuse for as long.
    fn forget_times(&mut self) {
        self.flights.forget();
        self.kernel_killed_at = None;
        self.last_reclaim_at = None;
        self.polled_at = None;
    }

    fn take_outcome(&mut self, now: Moment, outcome: &Outcome) {
        if self.flights.land(now, outcome, &self.policy) {
            self.history.restart_growth();
        }
        if outcome.kind != OutcomeKind::Progress {
            self.wake_in = self.policy.tick_near;
        }
    }

    fn take_sample(&mut self, now: Moment, sample: &Sample) {
        self.late[self.looks % LATE_KEPT] = sample.node.wake_late;
        self.looks = self.looks.wrapping_add(1);
        if self.looked_at.is_some_and(|at| now < at) {
            self.forget_times();
        }
        self.looked_at = Some(now);
        let explained = self.history.kills_by_own_limit(sample);
        self.history.push(now, sample);
        self.note_kernel_kills(now, sample, explained);
        self.flights.prune(now, &self.policy);
        read_walls(sample, &self.history, &self.policy, &mut self.readings);
        for reading in &mut self.readings {
            let harmful = matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods);
            let band = reading
                .limit
                .bytes()
                .map_or(Bytes::ZERO, |limit| limit.permille(CULPRIT_BAND_PERMILLE));
            let plain = if reading.wall == WallKind::Kernel {
                sample.node.available
            } else {
                reading.distance
            };
            if harmful && (reading.runway.p10 <= CULPRIT_WITHIN || plain <= band) {
                let share = self.policy.culprit_share_permille;
                reading.culprit =
                    find_culprit(sample, &self.history, reading.scope, share, noise(&sample.node));
            }
        }
        self.alarms
            .update(now, sample, &mut self.readings, &mut self.alarm_events);
        if self.policy.preset == Preset::Forestall {
            self.climb(now, sample);
            let busy = self.flights.kills(now).next().is_some();
            self.wake_in = next_look(&self.readings, sample, &self.policy, busy);
        } else {
            self.wake_in = self.poll_preset(now, sample);
        }
    }

    /// A kill by the kernel at a wall of ours counts as one of ours: its victim's memory is on its way. One at a container's
    /// or pod's own limit is that pod's affair and says nothing of the rest.
    fn note_kernel_kills(&mut self, now: Moment, sample: &Sample, explained: u64) {
        let kills = sample.node.oom_kills;
        let fresh = self.kernel_kills.map_or(0, |before| kills.saturating_sub(before));
        if fresh > explained {
            self.kernel_killed_at = Some(now);
            // The victim's growth is over, whoever it was.
            self.history.restart_growth();
        }
        self.kernel_kills = Some(kills);
    }

    /// The ladder: the mildest rung that is due and still fits, for each wall.
    fn climb(&mut self, now: Moment, sample: &Sample) {
        let leak_is_near = self.readings.iter().any(|reading| {
            matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods)
                && reading.confidence == Confidence::High
                && reading.runway.p50 <= LEAK_NEAR
        });
        for index in 0..self.readings.len() {
            let Some(reading) = self.readings.get(index).copied() else {
                continue;
            };
            self.consider_kill(now, sample, reading);
            self.consider_reclaim(now, sample, reading, leak_is_near);
        }
    }

    fn consider_reclaim(&mut self, now: Moment, sample: &Sample, reading: WallReading, leak_is_near: bool) {
        if !self.policy.reclaim || self.flights.is_reclaiming(now) {
            return;
        }
        let Some(due) = judge_reclaim(
            &reading,
            sample,
            &self.flights,
            leak_is_near,
            self.policy.kubelet_eviction_hard,
        ) else {
            return;
        };
        self.last_reclaim_at = Some(now);
        self.order(
            now,
            Rung::Reclaim,
            Target::Group(due.target),
            due.bytes,
            Span(0),
            Evidence {
                reading,
                time_to_effect: self.time_to_effect(sample),
                rule: due.rule,
            },
        );
    }

    fn consider_kill(&mut self, now: Moment, sample: &Sample, reading: WallReading) {
        // While a reclaim of ours runs, and a second after, stalls confirm nothing (rule 3).
        let ours = self.flights.is_reclaiming(now)
            || self
                .last_reclaim_at
                .is_some_and(|at| now.since(at) <= Span::secs(1));
        let effect = self.time_to_effect(sample);
        let Some(due) = judge_kill(&reading, sample, &self.history, &self.policy, effect, ours) else {
            return;
        };
        let evidence = Evidence {
            reading,
            time_to_effect: due.time_to_effect,
            rule: due.rule,
        };
        let imminent = self
            .history
            .scope(reading.scope)
            .is_some_and(|scope| is_imminent(&reading, scope, effect, &self.policy, noise(&sample.node)));
        if !self.policy.kill {
            return self.refuse(RefusalReason::RungOff, evidence);
        }
        if self.escalate(now, imminent, evidence) {
            return;
        }
        if self
            .kernel_killed_at
            .is_some_and(|at| now.since(at) <= self.policy.kill_cooldown)
        {
            return self.refuse(RefusalReason::KernelKilled, evidence);
        }
        let target = match (reading.culprit, self.policy.victims) {
            (Some(culprit), _) => match culprit.protection {
                Some(why) => return self.refuse(RefusalReason::Protected(why), evidence),
                None => culprit.target,
            },
            (None, Victims::Priority) => match lowest_priority(sample) {
                Some(target) => target,
                None => return self.refuse(RefusalReason::NothingToKill, evidence),
            },
            (None, Victims::Culprit) => return self.refuse(RefusalReason::NoCulprit, evidence),
        };
        let in_flight = self.flights.kills(now).next().is_some();
        let settled = !in_flight && !self.flights.has_just_killed(now);
        // One at a time, unless the runway cannot wait and it is somebody else who grows now.
        if self.flights.concerns(Rung::Kill, target) || !(settled || imminent) {
            return self.refuse(RefusalReason::Waiting, evidence);
        }
        match check_target(sample, target) {
            Err(reason) => self.refuse(reason, evidence),
            Ok(freed) => {
                let grace = if in_flight { Span(0) } else { due.grace };
                self.order(now, Rung::Kill, target, freed, grace, evidence);
            }
        }
    }

    /// A kill that still waits after TERM is finished at once when the wall comes too near. True while a kill is in
    /// flight at this wall and its victim still has to go.
    fn escalate(&mut self, now: Moment, imminent: bool, evidence: Evidence) -> bool {
        let Some(flight) = self.flights.kills(now).find(|flight| !flight.is_final).copied() else {
            return false;
        };
        let same_wall = (flight.wall, flight.scope) == (evidence.reading.wall, evidence.reading.scope);
        if !imminent || !same_wall {
            return same_wall;
        }
        self.flights.escalate(flight.id);
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

    /// A preset looks at even intervals and at nothing in between: a trigger or a report that wakes the guard early is no
    /// look of its own. Returns the time to its next one.
    fn poll_preset(&mut self, now: Moment, sample: &Sample) -> Span {
        let interval = self.policy.tick_calm;
        // A timer may fire a little early; a tenth of the interval is no look of its own either.
        let early = Span(interval.0 / 10);
        let passed = self.polled_at.map_or(interval, |at| now.since(at));
        if passed + early < interval {
            return Span(interval.0.saturating_sub(passed.0));
        }
        self.polled_at = Some(now);
        self.follow_preset(now, sample);
        interval
    }

    fn follow_preset(&mut self, now: Moment, sample: &Sample) {
        let Some(wish) = judge_preset(sample, &self.policy) else {
            return;
        };
        let Some(reading) = self.readings.first().copied() else {
            return;
        };
        let evidence = Evidence {
            reading,
            time_to_effect: Span(0),
            rule: wish.rule,
        };
        let allowed = match wish.rung {
            Rung::Sysrq => self.policy.sysrq,
            Rung::Kill => self.policy.kill,
            Rung::Reclaim => self.policy.reclaim,
        };
        if !allowed {
            return self.refuse(RefusalReason::RungOff, evidence);
        }
        if self.flights.kills(now).next().is_some() {
            return self.refuse(RefusalReason::Waiting, evidence);
        }
        match wish.target {
            None => self.refuse(RefusalReason::NothingToKill, evidence),
            Some(target) => self.order(
                now,
                wish.rung,
                target,
                Bytes::ZERO,
                self.policy.term_grace,
                evidence,
            ),
        }
    }

    fn order(
        &mut self,
        now: Moment,
        rung: Rung,
        target: Target,
        bytes: Bytes,
        grace: Span,
        evidence: Evidence,
    ) {
        let action = Action {
            id: self.flights.next_id(),
            rung,
            target,
            bytes,
            grace,
            deadline: grace + self.deadline(rung, evidence.reading.runway.p10),
            escalate: false,
            evidence,
        };
        self.flights.launch(now, &action, &self.policy);
        self.alarms
            .mark_intervened(evidence.reading.wall, evidence.reading.scope);
        self.actions.push(action);
    }

    fn time_to_effect(&self, sample: &Sample) -> Span {
        let mut late = self.late;
        late.sort_unstable();
        time_to_effect(sample, late[LATE_KEPT / 2], self.flights.answer())
    }

    /// Reclaim has to be done before the wall is reached, so that the act crate may weigh its price against its hurry.
    fn deadline(&self, rung: Rung, runway: Span) -> Span {
        const RECLAIM_MIN: Span = Span::secs(1);
        match rung {
            Rung::Reclaim => runway.max(RECLAIM_MIN).min(self.policy.effect_deadline),
            Rung::Kill | Rung::Sysrq => self.policy.effect_deadline,
        }
    }

    fn refuse(&mut self, reason: RefusalReason, evidence: Evidence) {
        self.refusals.push(Refusal { reason, evidence });
    }
}
