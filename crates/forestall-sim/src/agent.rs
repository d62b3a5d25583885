//! The real engine on a node: what it sees, what it orders, and what it is told of its orders.
//!
//! Every order goes through one table by its rung; what the world has no hands for is answered as a kernel without the
//! call would answer. It refuses to soften anything: a wrong order is carried out and written down, and the checkers
//! judge it.

use forestall_decide::kubelet::{KubeletForecast, Signal};
use forestall_decide::{
    Action, ActionId, Confidence, Decision, Engine, GroupId, Input, Mode, Moment, Outcome, OutcomeKind,
    PodUid, Pods, Policy, Preset, Rung, Sample, Span, WallKind,
};

use crate::cast::NEVER;
use crate::event::{Order, Passed, What};
use crate::node::Node;
use crate::refusal::Refusals;

/// A clock starts at something.
const CLOCK_START: u64 = 1_000_000_000;
/// Above the numbers of an agent's orders stands which agent it is.
const LIFE_BITS: u32 = 32;
/// A certain leak this near (design rule 11).
const LEAK_NEAR: Span = Span::secs(60);

/// An order on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) id: ActionId,
    pub(crate) rung: Rung,
    pub(crate) group: Option<GroupId>,
    pub(crate) ordered: Moment,
}

/// One node's agent.
#[derive(Debug)]
pub(crate) struct Agent {
    engine: Engine,
    policy: Policy,
    /// How many there were before it on this node: each numbers its orders from one, and is told of its own alone.
    life: u64,
    pub(crate) due: Moment,
    /// Its looks are facts, too.
    pub(crate) watched: bool,
    pub(crate) flights: Vec<Flight>,
    clock_ahead_micros: i64,
    /// It has said that the kubelet will evict, and has not withdrawn it.
    foretold: bool,
    refusals: Refusals,
    pub(crate) orders: Vec<Action>,
    pub(crate) pods: Pods,
    /// When it is told of pods next.
    pub(crate) tell_at: Moment,
}

impl Agent {
    pub(crate) fn new(policy: Policy, first: Moment) -> Self {
        Self {
            engine: Engine::new(policy),
            policy,
            life: 0,
            due: first,
            watched: true,
            flights: Vec::new(),
            clock_ahead_micros: 0,
            foretold: false,
            refusals: Refusals::default(),
            orders: Vec::new(),
            pods: Pods::default(),
            tell_at: if policy.preset == Preset::Forestall {
                first
            } else {
                NEVER
            },
        }
    }

    pub(crate) fn jump_clock(&mut self, millis: i64) {
        self.clock_ahead_micros = self
            .clock_ahead_micros
            .saturating_add(millis.saturating_mul(1000));
    }

    /// The number of an order of its own among those of all that were ever here.
    pub(crate) fn stamp(&self, id: ActionId) -> ActionId {
        ActionId(self.life << LIFE_BITS | id.0)
    }

    /// The number that it knows an order by; none if that was another one's.
    fn own_number(&self, stamped: ActionId) -> Option<ActionId> {
        let id = stamped.0 & ((1 << LIFE_BITS) - 1);
        (self.stamp(ActionId(id)) == stamped).then_some(ActionId(id))
    }

    /// It may act, by rules of its own and not by a public preset.
    pub(crate) fn guards(&self) -> bool {
        self.policy.mode == Mode::Enforce
            && self.policy.preset == Preset::Forestall
            && self.policy.rungs.has(Rung::Kill)
    }

    /// It may act so.
    pub(crate) fn may(&self, rung: Rung) -> bool {
        self.policy.mode == Mode::Enforce && self.policy.rungs.has(rung)
    }

    /// It is told something that orders nothing.
    pub(crate) fn hear(&mut self, clock: Moment, input: Input<'_>) {
        let _ = self.engine.step(clock, input);
    }

    pub(crate) fn clock(&self, now: Moment) -> Moment {
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
        self.told_at = None;
        if let Some(agent) = &mut self.agent {
            *agent = Agent {
                life: agent.life + 1,
                clock_ahead_micros: agent.clock_ahead_micros,
                watched: agent.watched,
                ..Agent::new(agent.policy, now)
            };
        }
        self.introduce_kubelet(now);
    }

    /// The agent reads what the kubelet was told.
    pub(crate) fn introduce_kubelet(&mut self, now: Moment) {
        if let (Some(agent), Some(kubelet)) = (&mut self.agent, &self.kubelet) {
            let clock = agent.clock(now);
            agent.hear(clock, Input::KubeletConfig(&kubelet.config));
        }
    }

    /// The pods were told no longer than a minute ago.
    pub(crate) fn agent_knows_pods(&self, now: Moment) -> bool {
        self.told_at.is_some_and(|told| now.since(told) <= Span::secs(60))
    }

    /// One look. What is in `sample` does not matter: it is room to write to, shared by many nodes.
    pub(crate) fn agent_looks(&mut self, now: Moment, sample: &mut Sample) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        if self.faults.agent_away > 0 {
            agent.due = NEVER;
        } else if self.faults.samples_lost > 0 {
            agent.due = now + agent.policy.tick_calm;
        } else {
            let clock = agent.clock(now);
            self.fill_sample(sample, now, clock);
            let decision = agent.engine.step(clock, Input::Sample(sample));
            agent.due = now + Span(decision.wake_in.0.max(1));
            if agent.watched {
                let look = self.look(&agent.policy, decision.wake_in, sample, now);
                self.note(now, What::Looked(look));
            }
            if let Some(forecast) = decision.kubelet {
                self.take_forecast(forecast, &mut agent.foretold, now);
            }
            self.take_decision(
                &decision,
                &agent.policy,
                &mut agent.refusals,
                &mut agent.orders,
                now,
            );
            self.carry_out(&mut agent, now);
        }
        self.agent = Some(agent);
    }

    /// The first look at which the kubelet's eviction is announced is a fact; until it is withdrawn the others are none.
    fn take_forecast(&mut self, forecast: &KubeletForecast, foretold: &mut bool, now: Moment) {
        *foretold &= !forecast.withdraws();
        let Some(crossing) = forecast.crossing.filter(|_| forecast.announces()) else {
            return;
        };
        if *foretold {
            return;
        }
        *foretold = true;
        let name = |uid: PodUid| {
            let pod = self.pods.iter().find(|pod| u128::from(pod.id) == uid.0)?;
            Some(pod.name.clone())
        };
        let victims = forecast.victims.iter();
        let foretold = What::Foretold {
            wall: match crossing.threshold.signal {
                Signal::MemoryAvailable => WallKind::KubeletNode,
                Signal::AllocatableMemoryAvailable => WallKind::KubeletAllocatable,
            },
            acts: crossing.acts,
            victims: victims.filter_map(|victim| name(victim.uid)).collect(),
            unmended: forecast.unmended.clone(),
        };
        self.note(now, foretold);
    }

    /// The agent is told what came of an order.
    pub(crate) fn answer(&mut self, outcome: Outcome, now: Moment) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        // Nobody hears what became of the orders of an agent that is gone.
        let number = agent.own_number(outcome.action);
        if let Some(number) = number.filter(|_| self.faults.agent_away == 0) {
            let stamped = outcome.action;
            let outcome = Outcome {
                action: number,
                ..outcome
            };
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
                &mut agent.refusals,
                &mut agent.orders,
                now,
            );
            if outcome.kind != OutcomeKind::Progress {
                agent.flights.retain(|flight| flight.id != stamped);
            }
            self.carry_out(&mut agent, now);
        }
        self.agent = Some(agent);
    }

    fn take_decision(
        &mut self,
        decision: &Decision<'_>,
        policy: &Policy,
        refusals: &mut Refusals,
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
                    horizon: alarm.horizon,
                },
            );
        }
        self.note_refusals(decision, policy, refusals, now);
        let leak_is_near = decision.readings.iter().any(|reading| {
            matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods)
                && reading.confidence == Confidence::High
                && reading.runway.p50 <= LEAK_NEAR
        });
        for action in decision.actions {
            let reading = &action.evidence.reading;
            let passed = if action.rung.ends_somebody() {
                self.passed_at(decision, policy, (reading.wall, reading.scope), now)
            } else {
                Passed::default()
            };
            let order = Order {
                beside: self.beside(action, decision.actions, policy, now),
                ..self.order(action, policy, leak_is_near, passed, now)
            };
            self.note(now, What::Ordered(order));
            if policy.mode == Mode::Enforce {
                orders.push(*action);
            }
        }
    }
}
