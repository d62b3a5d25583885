//! Orders carried out: one hand for each rung.
//!
//! What the act threads, the kernel and the API server would do and how long it takes them. An order that cannot be
//! carried out is answered as they would. It refuses to look at evidence: an order is an order.

use forestall_decide::{
    Action, ActionId, Bytes, GroupId, Limit, Moment, Outcome, OutcomeKind, Rung, Span, Target, WallKind,
};

use crate::agent::{Agent, Flight};
use crate::effect::Effect;
use crate::event::{BrakeState, What};
use crate::kernel::Scope;
use crate::memory::Part;
use crate::node::{HOST, Node};
use crate::sample::process_id;

/// From an order to the signal or the write: the act thread's own time.
const ACT: Span = Span::millis(20);
/// From an order to the kubelet's start of it, by way of the API server.
const API: Span = Span::millis(300);
/// A resize in place, kubelet and runtime included.
const RESIZE: Span = Span::secs(1);
/// Reclaim frees about a gibibyte a second.
const RECLAIM_PER_SECOND: u64 = 1 << 30;
/// The first step of a reclaim; doubled as long as the working set does not fall by what was asked.
const STEP: Bytes = Bytes::mebi(2);
/// `EHOSTUNREACH`: the API server does not answer.
const NO_ROUTE: i32 = 113;

/// An answer to an order.
pub(crate) fn answer(action: &Action, kind: OutcomeKind, freed: Bytes, took: Span) -> Outcome {
    Outcome {
        action: action.id,
        rung: action.rung,
        kind,
        freed,
        took,
        rest: Span(0),
    }
}

impl Node {
    /// The table of rungs.
    pub(crate) fn carry_out(&mut self, agent: &mut Agent, now: Moment) {
        for mut action in core::mem::take(&mut agent.orders) {
            action.id = agent.stamp(action.id);
            let group = self.group_of(action.target);
            if !action.escalate {
                agent.flights.push(Flight {
                    id: action.id,
                    rung: action.rung,
                    group,
                    ordered: now,
                });
            }
            match (action.rung, group) {
                (Rung::Reclaim, Some(group)) => {
                    let takes = Span(action.bytes.0.saturating_mul(1_000_000) / RECLAIM_PER_SECOND);
                    self.effects
                        .push(now + ACT + takes, Effect::Reclaim { action, group });
                }
                (Rung::Kill, Some(group)) => self.launch_kill(&action, group, now),
                (Rung::Brake, Some(group)) => self.effects.push(now + ACT, Effect::Brake { action, group }),
                (Rung::Warn, Some(group)) => {
                    if let Some(at) = self.pods.iter().position(|pod| pod.group == group) {
                        self.let_go(at, now);
                    }
                    let heard = answer(&action, OutcomeKind::Done, Bytes::ZERO, action.grace);
                    self.effects.push(now + ACT + action.grace, Effect::Answer(heard));
                }
                (Rung::Grow | Rung::Evict, Some(group)) => self.ask_api(&action, group, now),
                (Rung::Sysrq, _) => self.effects.push(now + ACT, Effect::Sysrq { action }),
                (_, None) => {
                    let gone = answer(&action, OutcomeKind::Gone, Bytes::ZERO, ACT);
                    self.effects.push(now + ACT, Effect::Answer(gone));
                }
            }
        }
    }

    fn group_of(&self, target: Target) -> Option<GroupId> {
        match target {
            Target::Group(group) => Some(group),
            Target::Process(id) => self.pods[HOST]
                .containers
                .iter()
                .find(|container| process_id(container) == id)
                .map(|container| container.id),
            Target::Node => None,
        }
    }

    fn ask_api(&mut self, action: &Action, group: GroupId, now: Moment) {
        let refusal = if self.faults.api_away > 0 {
            Some(OutcomeKind::Failed(NO_ROUTE))
        } else if action.rung == Rung::Evict && self.faults.pdb_zero > 0 {
            Some(OutcomeKind::Blocked)
        } else {
            None
        };
        let effect = match (refusal, action.rung) {
            (Some(kind), _) => Effect::Answer(answer(action, kind, Bytes::ZERO, API)),
            (None, Rung::Evict) => Effect::Evict {
                action: *action,
                group,
                tokens: self.take_token(now),
            },
            (None, _) => Effect::Grow {
                action: *action,
                group,
            },
        };
        let takes = if action.rung == Rung::Evict { API } else { RESIZE };
        self.effects.push(now + takes, effect);
    }

    /// The eviction arrives at the kubelet: the pod is told to end and has its own grace period.
    pub(crate) fn carry_out_evict(
        &mut self,
        action: &Action,
        group: GroupId,
        tokens: Option<u32>,
        now: Moment,
    ) {
        let Some(at) = self
            .pods
            .iter()
            .position(|pod| pod.group == group && pod.kind.is_some())
        else {
            return self.answer(answer(action, OutcomeKind::Gone, Bytes::ZERO, API), now);
        };
        let victim = self.pod_victim(at, now);
        self.note(now, What::AgentEvicted { victim, tokens });
        let grace = self.pods[at].spec.grace;
        self.let_go(at, now);
        self.terminate_pod(at, grace, now);
    }

    /// Whatever of ours holds a pod up is lifted before it is told to end or to save its state.
    fn let_go(&mut self, at: usize, now: Moment) {
        let groups: Vec<GroupId> = self.pods[at].containers.iter().map(|own| own.id).collect();
        for group in groups {
            self.lift(group, now);
        }
    }

    /// A limit is raised in place.
    pub(crate) fn carry_out_grow(&mut self, action: &Action, group: GroupId, now: Moment) {
        let Some((at, index)) = self.find(group) else {
            return self.answer(answer(action, OutcomeKind::Gone, Bytes::ZERO, RESIZE), now);
        };
        // The pod says how far its limits may be raised, and one that is higher is not lowered.
        let most = self.pods[at].spec.grow_max.unwrap_or(action.bytes);
        self.change(at, index, now, |container| {
            if let Limit::Bytes(limit) = container.limit {
                container.limit = Limit::Bytes(action.bytes.min(most).max(limit));
            }
        });
        self.tell_soon(now);
        self.answer(answer(action, OutcomeKind::Done, Bytes::ZERO, RESIZE), now);
    }

    /// `memory.high` on a container: above it whoever allocates hardly gets on, so its time stands still.
    pub(crate) fn carry_out_brake(&mut self, action: &Action, group: GroupId, now: Moment) {
        let Some((at, index)) = self.find(group) else {
            return self.answer(answer(action, OutcomeKind::Gone, Bytes::ZERO, ACT), now);
        };
        self.change(at, index, now, |container| container.pause(now));
        // Of a container that waits for its next start, or is on its way out, the cgroup is gone or about to go.
        if !self.pods[at].containers[index].is_paused() {
            return self.answer(answer(action, OutcomeKind::Gone, Bytes::ZERO, ACT), now);
        }
        let state = BrakeState::On;
        self.note(now, What::Brake { group, state });
        self.effects.push(now + action.grace, Effect::Lift { group });
        self.answer(answer(action, OutcomeKind::Progress, Bytes::ZERO, ACT), now);
    }

    /// A brake's time is over, or something harsher comes.
    pub(crate) fn lift(&mut self, group: GroupId, now: Moment) {
        if let Some((at, index)) = self.find(group)
            && self.pods[at].containers[index].is_paused()
        {
            let held = self.change(at, index, now, |container| container.resume(now));
            self.kernel.stall_for(held);
            self.close_brake(group, BrakeState::Lifted, now);
        }
    }

    /// A container's cgroup is about to be removed: a brake that it has goes with it, and there is nothing to lift.
    pub(crate) fn lose_brake(&mut self, at: usize, index: usize, now: Moment) {
        let container = &self.pods[at].containers[index];
        if container.is_paused() {
            self.close_brake(container.id, BrakeState::Gone, now);
        }
    }

    /// A brake is over, however it came.
    fn close_brake(&mut self, group: GroupId, state: BrakeState, now: Moment) {
        self.note(now, What::Brake { group, state });
        let kind = match state {
            BrakeState::Gone => OutcomeKind::Gone,
            BrakeState::On | BrakeState::Lifted => OutcomeKind::Done,
        };
        self.effects.push(now, Effect::BrakeOver { group, kind });
    }

    /// Whoever ordered a brake is told that it is over.
    pub(crate) fn tell_brake_over(&mut self, group: GroupId, kind: OutcomeKind, now: Moment) {
        let of_it = |flight: &&Flight| flight.rung == Rung::Brake && flight.group == Some(group);
        let flights = self.agent.iter().flat_map(|agent| &agent.flights);
        let over: Vec<_> = flights.filter(of_it).copied().collect();
        for Flight {
            id, rung, ordered, ..
        } in over
        {
            self.answer_id(id, rung, kind, Bytes::ZERO, now.since(ordered), now);
        }
    }

    fn launch_kill(&mut self, action: &Action, group: GroupId, now: Moment) {
        let id = action.id;
        self.lift(group, now);
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

    /// A victim of the agent's is gone, with so much that is free again.
    pub(crate) fn victim_is_gone(&mut self, by: impl Fn(&Flight) -> bool, freed: Bytes, now: Moment) {
        let flight = self
            .agent
            .as_ref()
            .and_then(|agent| agent.flights.iter().find(|flight| by(flight)).copied());
        if let Some(flight) = flight {
            self.answer_id(
                flight.id,
                flight.rung,
                OutcomeKind::Done,
                freed,
                now.since(flight.ordered),
                now,
            );
        }
    }

    /// Answers an order by its number.
    pub(crate) fn answer_id(
        &mut self,
        action: ActionId,
        rung: Rung,
        kind: OutcomeKind,
        freed: Bytes,
        took: Span,
        now: Moment,
    ) {
        self.answer(
            Outcome {
                action,
                rung,
                kind,
                freed,
                took,
                rest: Span(0),
            },
            now,
        );
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
        let kind = if freed > Bytes::ZERO {
            OutcomeKind::Done
        } else {
            OutcomeKind::NoEffect
        };
        self.answer(answer(action, kind, freed, ACT), now);
    }
}
