//! The real engine on a node: what it sees, what it orders, and what it is told of its orders.
//!
//! Every order goes through one table by its rung; what the world has no hands for is answered as a kernel without the
//! call would answer. It refuses to soften anything: a wrong order is carried out and written down, and the checkers
//! judge it.

use forestall_decide::{
    Action, ActionId, Bytes, Confidence, Decision, Engine, GroupId, Input, Mode, Moment, Outcome,
    OutcomeKind, Policy, Preset, RefusalReason, Rung, Sample, Span, Target, WallKind,
};

use crate::cast::NEVER;
use crate::effect::Effect;
use crate::event::{Aim, AimKind, Look, Order, Victim, WallTruth, What};
use crate::kernel::Scope;
use crate::memory::Part;
use crate::node::{HOST, Node};
use crate::sample::{KUBEPODS, process_id};

/// From an order to the signal: the act thread's own time.
const ACT: Span = Span::millis(20);
/// Reclaim frees about a gibibyte a second.
const RECLAIM_PER_SECOND: u64 = 1 << 30;
/// The first step of a reclaim; doubled as long as the working set does not fall by what was asked.
const STEP: Bytes = Bytes::mebi(2);
/// `ENOSYS`: what this world has no hands for.
const NO_SUCH_CALL: i32 = 38;
/// A clock starts at something.
const CLOCK_START: u64 = 1_000_000_000;
/// A certain leak this near (design rule 11).
const LEAK_NEAR: Span = Span::secs(60);

/// A kill on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    id: ActionId,
    rung: Rung,
    ordered: Moment,
}

/// One node's agent.
#[derive(Debug)]
pub(crate) struct Agent {
    engine: Engine,
    policy: Policy,
    pub(crate) due: Moment,
    /// Its looks are facts, too.
    pub(crate) watched: bool,
    sample: Sample,
    flights: Vec<Flight>,
    clock_ahead_micros: i64,
    refused: Option<(RefusalReason, WallKind)>,
    orders: Vec<Action>,
}

impl Agent {
    pub(crate) fn new(policy: Policy, first: Moment) -> Self {
        Self {
            engine: Engine::new(policy),
            policy,
            due: first,
            watched: true,
            sample: Sample::default(),
            flights: Vec::new(),
            clock_ahead_micros: 0,
            refused: None,
            orders: Vec::new(),
        }
    }

    pub(crate) fn jump_clock(&mut self, millis: i64) {
        self.clock_ahead_micros = self
            .clock_ahead_micros
            .saturating_add(millis.saturating_mul(1000));
    }

    /// It may act, by rules of its own and not by a public preset.
    pub(crate) fn guards(&self) -> bool {
        self.policy.mode == Mode::Enforce
            && self.policy.preset == Preset::Forestall
            && self.policy.rungs.has(Rung::Kill)
    }

    fn clock(&self, now: Moment) -> Moment {
        Moment(
            now.0
                .saturating_add(CLOCK_START)
                .saturating_add_signed(self.clock_ahead_micros),
        )
    }
}

impl Node {
    /// The agent starts, with an empty memory.
    pub(crate) fn agent_starts(&mut self, now: Moment) {
        if let Some(agent) = &mut self.agent {
            let (ahead, watched) = (agent.clock_ahead_micros, agent.watched);
            *agent = Agent::new(agent.policy, now);
            (agent.clock_ahead_micros, agent.watched) = (ahead, watched);
        }
    }

    /// One look.
    pub(crate) fn agent_looks(&mut self, now: Moment) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        if self.faults.agent_away > 0 {
            agent.due = NEVER;
        } else if self.faults.samples_lost > 0 {
            agent.due = now + agent.policy.tick_calm;
        } else {
            let clock = agent.clock(now);
            let mut sample = core::mem::take(&mut agent.sample);
            self.fill_sample(&mut sample, now, clock);
            let decision = agent.engine.step(clock, Input::Sample(&sample));
            agent.due = now + Span(decision.wake_in.0.max(1));
            if agent.watched {
                let look = self.look(&agent.policy, decision.wake_in, &sample, now);
                self.note(now, What::Looked(look));
            }
            self.take_decision(
                &decision,
                &agent.policy,
                &mut agent.refused,
                &mut agent.orders,
                now,
            );
            agent.sample = sample;
            self.carry_out(&mut agent, now);
        }
        self.agent = Some(agent);
    }

    /// The agent is told what came of an order.
    pub(crate) fn answer(&mut self, outcome: Outcome, now: Moment) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        if self.faults.agent_away == 0 {
            self.note(
                now,
                What::Landed {
                    id: outcome.action,
                    rung: outcome.rung,
                    kind: outcome.kind,
                    freed: outcome.freed,
                },
            );
            let clock = agent.clock(now);
            let decision = agent.engine.step(clock, Input::Outcome(&outcome));
            agent.due = agent.due.min(now + Span(decision.wake_in.0.max(1)));
            self.take_decision(
                &decision,
                &agent.policy,
                &mut agent.refused,
                &mut agent.orders,
                now,
            );
            if outcome.kind != OutcomeKind::Progress {
                agent.flights.retain(|flight| flight.id != outcome.action);
            }
            self.carry_out(&mut agent, now);
        }
        self.agent = Some(agent);
    }

    fn take_decision(
        &mut self,
        decision: &Decision<'_>,
        policy: &Policy,
        refused: &mut Option<(RefusalReason, WallKind)>,
        orders: &mut Vec<Action>,
        now: Moment,
    ) {
        for alarm in decision.alarms {
            self.note(
                now,
                What::Alarm {
                    wall: alarm.reading.wall,
                    scope: alarm.reading.scope,
                    verdict: alarm.verdict,
                    age: alarm.age,
                },
            );
        }
        for refusal in decision.refusals {
            let said = (refusal.reason, refusal.evidence.reading.wall);
            // The same refusal at every look is one fact.
            if *refused != Some(said) {
                *refused = Some(said);
                self.note(
                    now,
                    What::Refused {
                        reason: said.0,
                        wall: said.1,
                    },
                );
            }
        }
        let leak_is_near = decision.readings.iter().any(|reading| {
            matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods)
                && reading.confidence == Confidence::High
                && reading.runway.p50 <= LEAK_NEAR
        });
        for action in decision.actions {
            let order = self.order(action, leak_is_near, now);
            self.note(now, What::Ordered(order));
            if policy.mode == Mode::Enforce {
                orders.push(*action);
            }
        }
    }

    /// The table of rungs.
    fn carry_out(&mut self, agent: &mut Agent, now: Moment) {
        for action in core::mem::take(&mut agent.orders) {
            let group = match action.target {
                Target::Group(group) => Some(group),
                Target::Process(id) => self.pods[HOST]
                    .containers
                    .iter()
                    .find(|container| process_id(container) == id)
                    .map(|container| container.id),
                Target::Node => None,
            };
            match (action.rung, group) {
                (Rung::Reclaim, Some(group)) => {
                    let takes = Span(action.bytes.0.saturating_mul(1_000_000) / RECLAIM_PER_SECOND);
                    self.effects
                        .push(now + ACT + takes, Effect::Reclaim { action, group });
                }
                (Rung::Kill, Some(group)) => self.launch_kill(agent, &action, group, now),
                (Rung::Sysrq, _) => self.effects.push(now + ACT, Effect::Sysrq { action }),
                _ => self.effects.push(
                    now + ACT,
                    Effect::Answer(answer(
                        &action,
                        OutcomeKind::Failed(NO_SUCH_CALL),
                        Bytes::ZERO,
                        ACT,
                    )),
                ),
            }
        }
    }

    fn launch_kill(&mut self, agent: &mut Agent, action: &Action, group: GroupId, now: Moment) {
        let id = action.id;
        if !action.escalate {
            agent.flights.push(Flight {
                id,
                rung: action.rung,
                ordered: now,
            });
        }
        let Some((at, _)) = self.find(group) else {
            let gone = answer(action, OutcomeKind::Gone, Bytes::ZERO, ACT);
            return self.effects.push(now + ACT, Effect::Answer(gone));
        };
        let own = self.pods[at].spec.term;
        let grace = Span(action.grace.0.min(own.0));
        if action.grace > Span(0) {
            let told = answer(action, OutcomeKind::Progress, Bytes::ZERO, ACT);
            self.effects.push(now + ACT, Effect::Answer(told));
        }
        self.effects
            .push(now + ACT + grace, Effect::KillContainer { group, id });
    }

    /// A kill's victim is gone.
    pub(crate) fn kill_is_done(&mut self, id: ActionId, freed: Bytes, now: Moment) {
        let flight = self
            .agent
            .as_ref()
            .and_then(|agent| agent.flights.iter().find(|flight| flight.id == id).copied());
        if let Some(flight) = flight {
            let outcome = Outcome {
                action: id,
                rung: flight.rung,
                kind: OutcomeKind::Done,
                freed,
                took: now.since(flight.ordered),
            };
            self.answer(outcome, now);
        }
    }

    /// Reclaim by steps, until the working set fell by what was asked or so much was freed.
    pub(crate) fn carry_out_reclaim(&mut self, action: &Action, group: GroupId, now: Moment) {
        let Some((at, index)) = self.find(group) else {
            return self.answer(answer(action, OutcomeKind::Gone, Bytes::ZERO, ACT), now);
        };
        let working = |node: &Self| {
            node.pods[at].containers[index]
                .memory
                .sum(&Part::WORKING_SET, now)
        };
        let before = working(self);
        let (mut freed, mut step) = (Bytes::ZERO, STEP);
        while freed < action.bytes && before - working(self) < action.bytes {
            let got = self.reclaim_written(at, index, step.min(action.bytes - freed), now);
            if got == Bytes::ZERO {
                break;
            }
            freed += got;
            step = step + step;
        }
        let gain = freed.max(before - working(self));
        let kind = if gain == Bytes::ZERO {
            OutcomeKind::NoEffect
        } else {
            OutcomeKind::Done
        };
        self.answer(answer(action, kind, gain, ACT), now);
    }

    pub(crate) fn carry_out_sysrq(&mut self, action: &Action, now: Moment) {
        let before = self.held(&Part::HARD, now);
        self.oom(Scope::Machine, WallKind::Kernel, self.spec.memory, now);
        let freed = before - self.held(&Part::HARD, now);
        self.answer(answer(action, OutcomeKind::Done, freed, ACT), now);
    }

    fn look(&self, policy: &Policy, wake_in: Span, sample: &Sample, now: Moment) -> Look {
        let cost = sample.node.sample_cost;
        // A preset looks when its document says.
        let own = policy.preset == Preset::Forestall;
        let wall = |wall| self.truth(wall, now).filter(|_| own);
        Look {
            wake_in,
            fill_rate: policy.fill_rate.0,
            floor: policy.tick_min.max(cost.times(8)),
            walls: [wall(WallKind::Kernel), wall(WallKind::Kubepods)],
        }
    }

    fn truth(&self, wall: WallKind, now: Moment) -> Option<WallTruth> {
        match wall {
            WallKind::Kernel => {
                let size = self.spec.memory;
                let hard = self.held(&Part::HARD, now) + self.spec.kernel;
                Some(WallTruth {
                    wall,
                    size,
                    left: size - hard - self.kernel.watermark_min,
                })
            }
            WallKind::Kubepods => {
                let size = self.kubepods_limit()?;
                let left = size - self.pods_sum.line(&Part::HARD).bytes(now);
                Some(WallTruth { wall, size, left })
            }
            _ => None,
        }
    }

    fn order(&self, action: &Action, leak_is_near: bool, now: Moment) -> Order {
        let reading = &action.evidence.reading;
        Order {
            id: action.id,
            rung: action.rung,
            wall: reading.wall,
            scope: reading.scope,
            truth: self.truth(reading.wall, now),
            target: self.aim(action.target, now),
            grace: action.grace,
            deadline: action.deadline,
            escalate: action.escalate,
            rule: action.evidence.rule,
            share_permille: reading
                .culprit
                .filter(|culprit| culprit.target == action.target)
                .map(|culprit| culprit.share_permille),
            leak_is_near,
            pods_known: false,
        }
    }

    fn aim(&self, target: Target, now: Moment) -> Option<Aim> {
        let other = |name: &str, group| {
            Some(Aim {
                victim: Victim {
                    name: name.into(),
                    group,
                    innocent: true,
                    protection: None,
                    held: Bytes::ZERO,
                },
                kind: AimKind::Other,
            })
        };
        match target {
            Target::Node => None,
            Target::Group(KUBEPODS) => other("kubepods", KUBEPODS),
            Target::Group(group) => {
                if let Some((at, index)) = self.find(group) {
                    let kind = if at == HOST {
                        AimKind::Other
                    } else {
                        AimKind::Container
                    };
                    return Some(Aim {
                        victim: self.victim(at, index, now),
                        kind,
                    });
                }
                let at = self.pods.iter().position(|pod| pod.group == group)?;
                Some(Aim {
                    victim: self.pod_victim(at, now),
                    kind: AimKind::Pod,
                })
            }
            Target::Process(id) => {
                let host = &self.pods[HOST].containers;
                let index = host.iter().position(|container| process_id(container) == id)?;
                Some(Aim {
                    victim: self.victim(HOST, index, now),
                    kind: AimKind::Process,
                })
            }
        }
    }
}

fn answer(action: &Action, kind: OutcomeKind, freed: Bytes, took: Span) -> Outcome {
    Outcome {
        action: action.id,
        rung: action.rung,
        kind,
        freed,
        took,
    }
}
