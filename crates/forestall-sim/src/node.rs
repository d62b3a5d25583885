//! One node: who lives on it, the sums that its keepers watch, and the order in which things happen on it.
//!
//! Everything that may happen has its moment; the earliest comes first, and at the same moment loads turn before the kernel
//! acts, the kernel before what was under way, that before the kubelet, and the kubelet before the agent. It refuses to
//! know other nodes: who leaves is handed over.

use std::sync::Arc;

use forestall_decide::{Bytes, Elsewhere, GroupId, Limit, Moment, Protection, Sample};

use crate::agent::Agent;
use crate::cast::{Container, NEVER, Pod, State};
use crate::effect::Effects;
use crate::event::{Event, Victim, What};
use crate::kernel::Kernel;
use crate::kubelet::Kubelet;
use crate::levels::Levels;
use crate::load::Turn;
use crate::memory::{Memory, Part};
use crate::random::Random;
use crate::spec::NodeSpec;

/// The pseudo pod that holds what runs outside of `kubepods`.
pub(crate) const HOST: usize = 0;

/// A pod that left its node and wants another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaver {
    pub(crate) at: Moment,
    pub(crate) node: u32,
    pub(crate) kind: usize,
    /// It goes back to the same node (a DaemonSet's).
    pub(crate) stays: bool,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: u32,
    pub(crate) spec: Arc<NodeSpec>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) pods_sum: Memory,
    pub(crate) host_sum: Memory,
    pub(crate) kernel: Kernel,
    pub(crate) levels: Levels,
    pub(crate) kubelet: Option<Kubelet>,
    pub(crate) agent: Option<Agent>,
    pub(crate) effects: Effects,
    pub(crate) events: Vec<Event>,
    pub(crate) leavers: Vec<Leaver>,
    pub(crate) faults: crate::fault::Faults,
    pub(crate) random: Random,
    pub(crate) next_id: u64,
    pub(crate) lost: bool,
    /// What its pods request, together.
    pub(crate) requested: Bytes,
    /// The same with what counts where nothing was asked for.
    pub(crate) scored: Bytes,
    /// Pods that its kubelet has evicted.
    pub(crate) kubelet_evictions: u64,
    /// When its agent was last told of its pods.
    pub(crate) told_at: Option<Moment>,
    /// Where an evicted pod would go.
    pub(crate) elsewhere: Elsewhere,
    /// What its agent was told of that.
    pub(crate) told_elsewhere: Elsewhere,
    /// And of the tokens that are left.
    pub(crate) told_tokens: Option<u32>,
    /// When its agent took the tokens of the cluster's budget that it still holds.
    pub(crate) tokens_taken: Vec<Moment>,
    /// When it next has to be visited.
    pub(crate) due: Moment,
    /// Who writes its curves down, if anybody does.
    pub(crate) recorder: Option<Box<crate::curve::Recorder>>,
}

impl Node {
    /// Lets everything happen that is due before `end`. `sample` is room for what an agent sees.
    pub(crate) fn run_until(&mut self, end: Moment, sample: &mut Sample) {
        while self.due < end && !self.lost {
            let now = self.due;
            self.record(now);
            self.happen(now, sample);
            self.refresh(now);
            self.record(now);
        }
        if self.lost {
            self.due = NEVER;
        }
    }

    fn happen(&mut self, now: Moment, sample: &mut Sample) {
        if let Some(pod) = self.pods.iter().position(|pod| pod.due <= now) {
            self.turn_pod(pod, now);
        } else if self.kernel.contact <= now {
            self.meet_wall(now);
        } else if let Some(effect) = self.effects.pop(now) {
            self.apply(effect, now);
        } else if self.kubelet.as_ref().is_some_and(|kubelet| kubelet.due <= now) {
            self.kubelet_looks(now);
        } else if self.agent.as_ref().is_some_and(|agent| agent.tell_at <= now) {
            self.tell(now);
        } else if self.agent.as_ref().is_some_and(|agent| agent.due <= now) {
            self.agent_looks(now, sample);
        }
    }

    /// Finds out what is due next.
    pub(crate) fn refresh(&mut self, now: Moment) {
        self.kernel.contact = self.wall_contact(now);
        self.kubelet_refresh(now);
        let pods = self.pods.iter().map(|pod| pod.due).min().unwrap_or(NEVER);
        let kubelet = self.kubelet.as_ref().map_or(NEVER, |kubelet| kubelet.due);
        let agent = self
            .agent
            .as_ref()
            .map_or(NEVER, |agent| agent.due.min(agent.tell_at));
        let due = pods
            .min(self.kernel.contact)
            .min(self.effects.due())
            .min(kubelet)
            .min(agent);
        self.due = due.max(now);
    }

    /// The turns and limits that are due in one pod.
    fn turn_pod(&mut self, at: usize, now: Moment) {
        for index in 0..self.pods[at].containers.len() {
            let container = &self.pods[at].containers[index];
            if container.turn.is_some_and(|turn| turn <= now) {
                let turn = self.change(at, index, now, |container| {
                    // Its load reckons at full pace.
                    let stood = container.hasten(now);
                    let turn = container.running.turn(&mut container.memory, now);
                    (container.expect(turn), stood)
                });
                let (turn, stood) = turn;
                self.kernel.stall_for(stood);
                self.take_turn(at, index, turn, now);
            }
            if self.pods[at].containers[index]
                .contact
                .is_some_and(|contact| contact <= now)
            {
                self.meet_container_limit(at, index, now);
            }
            if self.pods[at].containers[index]
                .high_contact
                .is_some_and(|contact| contact <= now)
            {
                self.meet_high(at, index, now);
            }
        }
        if self.pod_contact(at, now).is_some_and(|contact| contact <= now) {
            self.meet_pod_limit(at, now);
        }
        self.refresh_pod(at, now);
    }

    pub(crate) fn take_turn(&mut self, at: usize, index: usize, turn: Turn, now: Moment) {
        match turn {
            Turn::Next(_) => self.refresh_pod(at, now),
            Turn::Exits => {
                let victim = self.victim(at, index, now);
                self.note(
                    now,
                    What::ContainerEnded {
                        victim,
                        by_agent: false,
                    },
                );
                self.end_container(at, index, now);
            }
        }
    }

    /// Changes one container's memory and keeps the sums, its followers and what is due right.
    pub(crate) fn change<R>(
        &mut self,
        at: usize,
        index: usize,
        now: Moment,
        change: impl FnOnce(&mut Container) -> R,
    ) -> R {
        let sum = if at == HOST {
            &mut self.host_sum
        } else {
            &mut self.pods_sum
        };
        let container = &mut self.pods[at].containers[index];
        if now > container.memory.at {
            container.earlier = container.memory;
        }
        container.note_end_of_line(now);
        container.memory.rebase(now);
        sum.rebase(now);
        sum.subtract(&container.memory);
        let swapped = container.swapped;
        container.bring_back();
        let result = change(container);
        container.put_away();
        self.kernel.swapped = (self.kernel.swapped + container.swapped) - swapped;
        let stood = container.rethrottle(now);
        container.note_new_line(now);
        sum.add(&container.memory);
        container.high_contact = container.high_contact(now, crate::kernel::plenty);
        container.contact = container
            .limit
            .bytes()
            .filter(|_| container.state == State::Running)
            .and_then(|limit| container.memory.line(&Part::ALL).reaches(limit, now));
        self.kernel.stall_for(stood);
        self.lead_followers(at, index, now);
        self.refresh_pod(at, now);
        result
    }

    /// Who follows the changed container follows it from here on.
    fn lead_followers(&mut self, at: usize, leader: usize, now: Moment) {
        for index in 0..self.pods[at].containers.len() {
            let follower = &self.pods[at].containers[index];
            let Some((of, permille)) = follower.follows else {
                continue;
            };
            if of != leader || index == leader || follower.state != State::Running {
                continue;
            }
            let lead = &self.pods[at].containers[leader].memory;
            let swapped = self.pods[at].containers[leader].swapped;
            let held = (lead.sum(&Part::HARD, now) + swapped).permille(permille);
            let slope: i64 = Part::HARD.iter().map(|part| lead.slope(*part)).sum();
            let slope = slope.saturating_mul(i64::try_from(permille).unwrap_or(i64::MAX)) / 1000;
            self.change(at, index, now, |container| {
                container.memory.set(Part::Anon, held);
                container.memory.set_slope(Part::Anon, slope);
            });
        }
    }

    /// When the pod reaches its own limit.
    pub(crate) fn pod_contact(&self, at: usize, now: Moment) -> Option<Moment> {
        let pod = &self.pods[at];
        let limit = pod.spec.limit.bytes().filter(|_| at != HOST)?;
        let mut line = crate::memory::Line {
            at: now,
            ..crate::memory::Line::default()
        };
        for container in &pod.containers {
            line = line.plus(&container.memory.line(&Part::ALL));
        }
        line.reaches(limit, now)
    }

    fn refresh_pod(&mut self, at: usize, now: Moment) {
        let contact = self.pod_contact(at, now);
        let pod = &mut self.pods[at];
        let own = pod
            .containers
            .iter()
            .flat_map(|container| [container.turn, container.contact, container.high_contact]);
        pod.due = own.flatten().chain(contact).min().unwrap_or(NEVER);
    }

    /// Everything that lies on the node at `now`, by parts.
    pub(crate) fn held(&self, parts: &[Part], now: Moment) -> Bytes {
        self.pods_sum
            .line(parts)
            .plus(&self.host_sum.line(parts))
            .bytes(now)
    }

    /// Where a container is.
    pub(crate) fn find(&self, group: GroupId) -> Option<(usize, usize)> {
        self.pods.iter().enumerate().find_map(|(at, pod)| {
            let index = pod
                .containers
                .iter()
                .position(|container| container.id == group)?;
            Some((at, index))
        })
    }

    /// Where a pod is.
    pub(crate) fn find_pod(&self, id: u64) -> Option<usize> {
        self.pods.iter().position(|pod| pod.id == id)
    }

    /// Why nobody may touch this container.
    pub(crate) fn protection(&self, at: usize, index: usize) -> Option<Protection> {
        let pod = &self.pods[at];
        let container = &pod.containers[index];
        let by_score = container.oom_score_adj <= -900;
        container
            .protection
            .or(pod.protection().filter(|_| at != HOST))
            .or(by_score.then_some(Protection::OomScoreAdj))
    }

    /// A container as the one who dies.
    pub(crate) fn victim(&self, at: usize, index: usize, now: Moment) -> Victim {
        let pod = &self.pods[at];
        let container = &pod.containers[index];
        let name = if at == HOST {
            container.name.clone()
        } else {
            format!("{}/{}", pod.name, container.name).into()
        };
        Victim {
            name,
            group: container.id,
            innocent: !container.is_culprit,
            protection: self.protection(at, index),
            held: self.could_hold(pod, container, now),
            limited: container.limit != Limit::Max || pod.spec.limit != Limit::Max,
        }
    }

    /// What a container holds, which is not what it asked for at the moment that it met a limit or the machine's end.
    fn could_hold(&self, pod: &Pod, container: &Container, now: Moment) -> Bytes {
        let asked = container.memory.sum(&Part::HARD, now);
        let limit = container.limit.bytes().unwrap_or(asked);
        asked.min(limit).min(self.most_of(pod))
    }

    /// No pod holds more: its own limit, that of `kubepods`, what the machine has for everybody.
    fn most_of(&self, pod: &Pod) -> Bytes {
        let machine = self.spec.memory - self.spec.set_aside();
        let most = pod.spec.limit.bytes().unwrap_or(machine).min(machine);
        self.kubepods_limit()
            .filter(|_| pod.id != self.pods[HOST].id)
            .map_or(most, |limit| most.min(limit))
    }

    /// A pod as the one who dies.
    pub(crate) fn pod_victim(&self, at: usize, now: Moment) -> Victim {
        let pod = &self.pods[at];
        Victim {
            name: pod.name.clone(),
            group: pod.group,
            innocent: !pod.is_culprit(),
            protection: pod.protection(),
            held: {
                let containers = pod.containers.iter();
                let held: Bytes = containers
                    .map(|container| self.could_hold(pod, container, now))
                    .sum();
                held.min(self.most_of(pod))
            },
            limited: pod.spec.limit != Limit::Max,
        }
    }

    /// Writes down a fact.
    pub(crate) fn note(&mut self, at: Moment, what: What) {
        self.events.push(Event {
            at,
            node: self.index,
            what,
        });
    }
}
