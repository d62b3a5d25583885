//! What is under way on a node: kills that have not ended, restarts, reclaim that was ordered, pods on their way.
//!
//! A short list, searched as it is. It refuses to reorder: of two things due at the same moment the one that was asked
//! for first comes first.

use std::sync::Arc;

use forestall_decide::{Action, ActionId, Bytes, GroupId, Moment, Outcome, OutcomeKind, Owner, Rung, Span};

use crate::blame::settle;
use crate::cast::{Container, Hits, NEVER, Pod, State};
use crate::event::What;
use crate::fault;
use crate::memory::Part;
use crate::node::{HOST, Leaver, Node};
use crate::resources::{oom_score_adj, qos};
use crate::spec::PodSpec;

/// The end of a process takes this, and for each gibibyte that it held this again (measured on kernel 6.1: tens of
/// milliseconds; unmapping runs at about 20 GiB/s).
const EXIT: Span = Span::millis(10);
const EXIT_PER_GIBI: Span = Span::millis(50);

/// Something under way.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A pod starts.
    Admit {
        kind: usize,
        spec: Arc<PodSpec>,
        name: Box<str>,
    },
    /// A container, or a host's process, starts again.
    Restart { pod: u64, index: usize },
    /// A pod that was told to end is killed, or has ended by itself.
    KillPod { pod: u64 },
    /// Its memory is back.
    PodEnds { pod: u64 },
    /// A container that was told to end is killed, or has ended by itself.
    KillContainer { group: GroupId, id: ActionId },
    /// Its memory is back.
    ContainerEnds { group: GroupId, id: ActionId },
    /// A reclaim that was ordered is done.
    Reclaim { action: Action, group: GroupId },
    /// A brake that was ordered is on.
    Brake { action: Action, group: GroupId },
    /// Its time is over.
    Lift { group: GroupId },
    /// It is over, and whoever ordered it hears so.
    BrakeOver { group: GroupId, kind: OutcomeKind },
    /// An eviction that was ordered reaches the kubelet.
    Evict {
        action: Action,
        group: GroupId,
        tokens: Option<u32>,
    },
    /// A limit that was to be raised is.
    Grow { action: Action, group: GroupId },
    /// The kernel's OOM killer was called.
    Sysrq { action: Action },
    /// What lies in swap comes back, where there is room.
    SwapIn,
    /// The answer to an order arrives.
    Answer(Outcome),
    /// A fault begins or ends.
    Fault { index: usize, begins: bool },
}

/// The list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    list: Vec<(Moment, Effect)>,
}

impl Effects {
    pub(crate) fn push(&mut self, at: Moment, effect: Effect) {
        self.list.push((at, effect));
    }

    /// What is under way, and when it is due; in no order.
    pub(crate) fn list(&self) -> &[(Moment, Effect)] {
        &self.list
    }

    pub(crate) fn due(&self) -> Moment {
        self.list.iter().map(|(at, _)| *at).min().unwrap_or(NEVER)
    }

    /// The first of those that are due.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<Effect> {
        let due = self.due();
        let index = self.list.iter().position(|(at, _)| *at == due && *at <= now)?;
        Some(self.list.remove(index).1)
    }
}

impl Node {
    pub(crate) fn apply(&mut self, effect: Effect, now: Moment) {
        match effect {
            Effect::Admit { kind, spec, name } => self.admit(kind, spec, name, now),
            Effect::Restart { pod, index } => self.restart(pod, index, now),
            Effect::KillPod { pod } => self.kill_pod(pod, now),
            Effect::PodEnds { pod } => self.remove_pod(pod, now),
            Effect::KillContainer { group, id } => self.kill_container(group, id, now),
            Effect::ContainerEnds { group, id } => self.container_ends(group, id, now),
            Effect::Reclaim { action, group } => self.carry_out_reclaim(&action, group, now),
            Effect::Brake { action, group } => self.carry_out_brake(&action, group, now),
            Effect::Lift { group } => self.lift(group, now),
            Effect::BrakeOver { group, kind } => self.tell_brake_over(group, kind, now),
            Effect::Evict {
                action,
                group,
                tokens,
            } => self.carry_out_evict(&action, group, tokens, now),
            Effect::Grow { action, group } => self.carry_out_grow(&action, group, now),
            Effect::Sysrq { action } => self.carry_out_sysrq(&action, now),
            Effect::SwapIn => self.swap_in(now),
            Effect::Answer(outcome) => self.answer(outcome, now),
            Effect::Fault { index, begins } => fault::turn(self, index, begins, now),
        }
    }

    /// A pod starts here.
    pub(crate) fn admit(&mut self, kind: usize, spec: Arc<PodSpec>, name: Box<str>, now: Moment) {
        let request = spec.requested();
        let node = Arc::clone(&self.spec);
        let critical = spec.is_static || spec.priority >= forestall_decide::CRITICAL_PRIORITY;
        let mut containers: Vec<Container> = spec
            .containers
            .iter()
            .map(|container| {
                let adj = oom_score_adj(&spec, container.request, node.memory);
                let id = self.draw_id();
                let high = node.memory_high(container);
                let mut own = Container::new(container, id, adj, node.lru, &mut self.random);
                own.high = high;
                own.swap_limit = node.swap_limit(container, qos(&spec), critical);
                own
            })
            .collect();
        settle(&mut containers, &spec);
        let group = self.draw_id();
        let pod = Pod {
            id: (u64::from(self.index) << 40) | group.0,
            name: name.clone(),
            group,
            kind: Some(kind),
            qos: qos(&spec),
            request,
            spec,
            containers,
            terminating: None,
            oom_kills: 0,
            hits: Hits::default(),
            leaves: false,
            due: NEVER,
        };
        self.requested += pod.request;
        self.scored += pod.spec.scored();
        self.pods.push(pod);
        self.note(now, What::PodStarted { pod: name });
        self.tell_soon(now);
        self.start_all(self.pods.len() - 1, now);
    }

    pub(crate) fn draw_id(&mut self) -> GroupId {
        self.next_id += 1;
        GroupId(self.next_id)
    }

    pub(crate) fn start_all(&mut self, at: usize, now: Moment) {
        for index in 0..self.pods[at].containers.len() {
            self.start_container(at, index, now);
        }
    }

    fn start_container(&mut self, at: usize, index: usize, now: Moment) {
        let turn = self.change(at, index, now, |container| {
            container.empty();
            container.state = State::Running;
            container.started = now;
            container.running = container.running.again();
            let turn = container.running.start(&mut container.memory, now);
            container.expect(turn)
        });
        self.take_turn(at, index, turn, now);
        if let Some((of, _)) = self.pods[at].containers[index].follows
            && of < self.pods[at].containers.len()
        {
            // Its leader may run already.
            self.change(at, of, now, |_| ());
        }
    }

    fn restart(&mut self, pod: u64, index: usize, now: Moment) {
        let Some(at) = self.find_pod(pod) else { return };
        if self.pods[at].terminating.is_some() || self.pods[at].containers[index].state != State::Waiting {
            return;
        }
        let id = self.draw_id();
        let container = &mut self.pods[at].containers[index];
        container.id = id;
        container.oom_kills = 0;
        container.hits = 0;
        container.restarted += 1;
        let (restarts, own) = (container.restarted, container.name.clone());
        let name = if at == HOST {
            own
        } else {
            format!("{}/{own}", self.pods[at].name).into()
        };
        self.note(now, What::ContainerRestarted { name, restarts });
        self.tell_soon(now);
        self.start_container(at, index, now);
    }

    /// A container is over at once; it starts again if somebody starts it.
    pub(crate) fn end_container(&mut self, at: usize, index: usize, now: Moment) {
        let comes_back = self.pods[at].containers[index].restarts && self.pods[at].terminating.is_none();
        self.lose_brake(at, index, now);
        let wait = self.change(at, index, now, |container| {
            container.empty();
            container.state = if comes_back { State::Waiting } else { State::Gone };
            container.back_off(now)
        });
        if comes_back {
            let pod = self.pods[at].id;
            self.effects.push(now + wait, Effect::Restart { pod, index });
        }
    }

    fn exit_takes(&self, held: Bytes) -> Span {
        let gibi = Span(EXIT_PER_GIBI.0.saturating_mul(held.0 >> 20) / 1024);
        EXIT + gibi + self.faults.slow_victim()
    }

    /// A pod is told to end and has so long to do it. The first word counts.
    pub(crate) fn terminate_pod(&mut self, at: usize, grace: Span, now: Moment) {
        let pod = &mut self.pods[at];
        if pod.terminating.is_some() {
            return;
        }
        pod.terminating = Some(now);
        pod.leaves = pod.is_replaced();
        // Whoever is held by a brake cannot end by itself; the kubelet, which knows of none, waits for it and then kills.
        let is_held = pod.containers.iter().any(Container::is_paused);
        let ends = now + if is_held { grace } else { grace.min(pod.spec.term) };
        let pod = pod.id;
        self.tell_soon(now);
        self.effects.push(ends, Effect::KillPod { pod });
    }

    fn kill_pod(&mut self, pod: u64, now: Moment) {
        let Some(at) = self.find_pod(pod) else { return };
        for index in 0..self.pods[at].containers.len() {
            self.stop_growing(at, index, now);
        }
        let takes = self.exit_takes(self.pods[at].used(&Part::HARD, now));
        self.effects.push(now + takes, Effect::PodEnds { pod });
    }

    fn stop_growing(&mut self, at: usize, index: usize, now: Moment) {
        self.change(at, index, now, |container| {
            container.throttle = None;
            container.memory.freeze();
            container.turn = None;
            if container.state == State::Running {
                container.state = State::Ending;
            }
        });
    }

    fn remove_pod(&mut self, pod: u64, now: Moment) {
        let Some(at) = self.find_pod(pod) else { return };
        let freed = self.pods[at].used(&Part::HARD, now);
        for index in 0..self.pods[at].containers.len() {
            self.lose_brake(at, index, now);
            self.change(at, index, now, |container| {
                container.volume = false;
                container.empty();
            });
        }
        let pod = self.pods.remove(at);
        self.requested = self.requested - pod.request;
        self.scored = self.scored - pod.spec.scored();
        self.note(
            now,
            What::PodEnded {
                pod: pod.name.clone(),
            },
        );
        if let Some(kind) = pod.kind.filter(|_| pod.leaves) {
            self.leavers.push(Leaver {
                at: now,
                node: self.index,
                kind,
                stays: pod.spec.owner == Owner::DaemonSet,
            });
        }
        self.tell_soon(now);
        self.kubelet_saw_end(pod.id, now);
        let ours =
            |flight: &crate::agent::Flight| flight.rung == Rung::Evict && flight.group == Some(pod.group);
        self.victim_is_gone(ours, freed, now);
    }

    fn kill_container(&mut self, group: GroupId, id: ActionId, now: Moment) {
        let Some((at, index)) = self.find(group) else {
            return self.answer_id(id, Rung::Kill, OutcomeKind::Gone, Bytes::ZERO, Span(0), now);
        };
        match self.pods[at].containers[index].state {
            State::Running => {}
            // Somebody else's hand was quicker: the act thread looks until it is empty.
            State::Ending => return self.effects.push(now + EXIT, Effect::KillContainer { group, id }),
            State::Waiting | State::Gone => return self.hear_of_nobody(id, now),
        }
        self.stop_growing(at, index, now);
        let held = self.pods[at].containers[index].memory.sum(&Part::HARD, now);
        let takes = self.exit_takes(held);
        self.effects
            .push(now + takes, Effect::ContainerEnds { group, id });
    }

    /// Whom a kill was for is gone already, and whoever ordered it hears so once.
    fn hear_of_nobody(&mut self, id: ActionId, now: Moment) {
        let mut flights = self.agent.iter().flat_map(|agent| &agent.flights);
        if let Some(flight) = flights.find(|flight| flight.id == id).copied() {
            let took = now.since(flight.ordered);
            self.answer_id(id, Rung::Kill, OutcomeKind::Gone, Bytes::ZERO, took, now);
        }
    }

    fn container_ends(&mut self, group: GroupId, id: ActionId, now: Moment) {
        let Some((at, index)) = self.find(group) else {
            return self.answer_id(id, Rung::Kill, OutcomeKind::Gone, Bytes::ZERO, Span(0), now);
        };
        if self.pods[at].containers[index].state != State::Ending {
            return;
        }
        let victim = self.victim(at, index, now);
        let held = victim.held;
        self.note(
            now,
            What::ContainerEnded {
                victim,
                by_agent: true,
            },
        );
        self.end_container(at, index, now);
        let freed = held - self.pods[at].containers[index].memory.sum(&Part::HARD, now);
        self.victim_is_gone(|flight| flight.id == id, freed, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Flight;
    use crate::{Options, Running, parse_scenario};

    /// What is heard of a kill, within half a second, whose container somebody else had brought into this state.
    fn heard(state: State) -> Vec<OutcomeKind> {
        let scenario = parse_scenario(
            "title: late\nduration: 1m\npolicy: { mode: enforce }\nnodes: [{ name: a, memory: 1Gi }]\npods:\n  - { name: victim, node: 0, containers: [{ name: app, base: 400Mi }] }\n",
        );
        let world = scenario.expect("fine").world;
        let mut running = Running::start(&world, Options::default()).expect("a sound world");
        while running.now() < Moment(1_000_000) {
            running.go_on(&mut |_| ());
        }
        let now = running.now();
        let node = &mut running.nodes[0];
        node.events.clear();
        let (group, id) = (node.pods[1].containers[0].id, ActionId(7));
        node.pods[1].containers[0].state = state;
        let flight = Flight {
            id,
            rung: Rung::Kill,
            group: Some(group),
            ordered: now,
        };
        node.agent.as_mut().expect("an agent").flights.push(flight);
        node.effects.push(now, Effect::KillContainer { group, id });
        if state == State::Ending {
            node.effects.push(
                now + Span::millis(95),
                Effect::ContainerEnds {
                    group,
                    id: ActionId(6),
                },
            );
        }
        node.refresh(now);
        node.run_until(now + Span::millis(500), &mut forestall_decide::Sample::default());
        let landed = |event: &crate::Event| match event.what {
            What::Landed { id: own, kind, .. } if own == id => Some(kind),
            _ => None,
        };
        node.events.iter().filter_map(landed).collect()
    }

    #[test]
    fn the_agent_is_told_at_once_that_a_pod_is_gone() {
        let scenario = parse_scenario(
            "title: gone\nduration: 1m\npolicy: {}\nnodes: [{ name: a, memory: 1Gi }]\npods:\n  - { name: one, node: 0, containers: [{ name: app, base: 400Mi }] }\n",
        );
        let world = scenario.expect("fine").world;
        let mut running = Running::start(&world, Options::default()).expect("a sound world");
        let node = &mut running.nodes[0];
        let mut sample = forestall_decide::Sample::default();
        node.run_until(Moment(5_000_000), &mut sample);
        let told = |node: &Node| node.agent.as_ref().map(|agent| agent.pods.list.len());
        assert_eq!(told(node), Some(1));
        node.terminate_pod(1, Span::secs(1), Moment(5_000_000));
        node.refresh(Moment(5_000_000));
        node.run_until(Moment(7_000_000), &mut sample);
        assert_eq!(told(node), Some(0));
    }

    #[test]
    fn whoever_ordered_a_kill_hears_once_that_another_was_quicker() {
        assert_eq!(heard(State::Running), [OutcomeKind::Done]);
        assert_eq!(heard(State::Ending), [OutcomeKind::Gone]);
        assert_eq!(heard(State::Waiting), [OutcomeKind::Gone]);
        assert_eq!(heard(State::Gone), [OutcomeKind::Gone]);
    }
}
