//! A small node for the rules' tests: `kubepods` with pods of one container each, a host service, a host process.
//! Memory grows as the test says; a kill takes a while; the kernel kills when a wall is really reached.

// Each test file uses its own part of it.
#![allow(dead_code)]

mod figures;

use forestall_decide::{
    Action, ActionId, Bytes, Decision, Engine, GroupId, Input, Limit, Moment, Outcome, OutcomeKind, Owner,
    PassedOver, Pod, PodContainer, PodUid, Pods, Policy, Protection, Qos, Refusal, Rung, Span, Target,
};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const KUBEPODS: GroupId = GroupId(10);
pub(crate) const SERVICE: GroupId = GroupId(20);

/// One container in a pod of its own; the pod's id is the container's plus 1000.
pub(crate) struct Container {
    pub(crate) id: GroupId,
    pub(crate) anon: u64,
    pub(crate) file: u64,
    pub(crate) rate: u64,
    pub(crate) limit: Limit,
    pub(crate) protection: Option<Protection>,
    pub(crate) qos: Qos,
    pub(crate) killed_at: Option<Moment>,
    /// What it takes lies in a volume of its pod's in memory, and stays there when it is killed.
    pub(crate) in_volume: bool,
    left: u64,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) total: u64,
    pub(crate) kubepods_limit: Limit,
    pub(crate) containers: Vec<Container>,
    pub(crate) host_anon: u64,
    pub(crate) host_rate: u64,
    pub(crate) host_process: bool,
    pub(crate) stall_full_permille: u64,
    stall_micros: u64,
    pub(crate) kernel_kills: u64,
    pub(crate) kubelet: bool,
    /// Nobody tells of pods before this moment.
    pub(crate) silent_until: Moment,
    pub(crate) kill_takes: Span,
    pub(crate) ordered: Vec<(Moment, Action)>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) gap_max: Span,
    pub(crate) verdicts: Vec<forestall_decide::AlarmEvent>,
    /// What Kubernetes knows; told again every ten seconds if there is any pod in it.
    pub(crate) pods: Pods,
    told_at: Option<Moment>,
    /// What the API server answers to an eviction.
    pub(crate) eviction_answer: OutcomeKind,
    /// The pods whose budgets let nobody go.
    pub(crate) spared_by_budget: Vec<GroupId>,
    leaving: Vec<Leaving>,
    /// A brake stops its target; else nobody has a hand for it and it is never answered.
    pub(crate) brakes_hold: bool,
    braked: Vec<Braked>,
    pub(crate) passed_over: Vec<PassedOver>,
    /// How late every look comes.
    pub(crate) wake_late: Span,
}

/// A container that stands still under a brake.
struct Braked {
    id: GroupId,
    rate: u64,
    action: ActionId,
    until: Moment,
    is_told: bool,
}

/// An evicted pod on its way out.
struct Leaving {
    at: Moment,
    ordered_at: Moment,
    action: ActionId,
    pod: GroupId,
}

/// From the end of the grace period to the pod's being gone.
const CLEANUP: Span = Span::secs(2);

impl World {
    pub(crate) fn new(total_mebi: u64, kubepods_mebi: u64) -> Self {
        Self {
            now: Moment(1_000_000),
            total: total_mebi * MIB,
            kubepods_limit: Limit::Bytes(Bytes::mebi(kubepods_mebi)),
            containers: Vec::new(),
            host_anon: 20 * MIB,
            host_rate: 0,
            host_process: true,
            stall_full_permille: 0,
            stall_micros: 0,
            kernel_kills: 0,
            kubelet: false,
            silent_until: Moment(0),
            kill_takes: Span::millis(60),
            ordered: Vec::new(),
            refused: Vec::new(),
            gap_max: Span(0),
            verdicts: Vec::new(),
            pods: Pods::default(),
            told_at: None,
            eviction_answer: OutcomeKind::Done,
            spared_by_budget: Vec::new(),
            leaving: Vec::new(),
            brakes_hold: false,
            braked: Vec::new(),
            passed_over: Vec::new(),
            wake_late: Span(500),
        }
    }

    /// A machine of 16 GiB, `kubepods` of 12,000 MiB, two quiet containers and one that leaks (2); Kubernetes knows all three.
    pub(crate) fn leaking(rate_mebi: u64) -> Self {
        let mut world = Self::new(16_384, 12_000);
        world.container(1, 4_000);
        world.container(2, 500).rate = rate_mebi * MIB;
        world.container(3, 4_000);
        for id in 1..=3 {
            world.pod(id);
        }
        world
    }

    pub(crate) fn container(&mut self, id: u64, anon_mebi: u64) -> &mut Container {
        self.containers.push(Container {
            id: GroupId(id),
            anon: anon_mebi * MIB,
            file: 0,
            rate: 0,
            limit: Limit::Max,
            protection: None,
            qos: Qos::Burstable,
            killed_at: None,
            in_volume: false,
            left: 0,
        });
        self.containers.last_mut().expect("just pushed")
    }

    /// Kubernetes knows the pod of that container: owned by a controller, 30 s of grace, the API server is there.
    pub(crate) fn pod(&mut self, id: u64) -> &mut Pod {
        self.pods.cluster.api = true;
        self.pods.list.push(Pod {
            uid: PodUid(u128::from(id)),
            group: Some(GroupId(id + 1000)),
            owner: Owner::Controller,
            grace: Span::secs(30),
            containers: vec![PodContainer {
                group: GroupId(id),
                request: Bytes::ZERO,
                limit: Limit::Max,
                restarts: 0,
            }],
            ..Pod::default()
        });
        self.pods.list.last_mut().expect("just pushed")
    }

    pub(crate) fn of(&mut self, id: u64) -> &mut Container {
        self.containers
            .iter_mut()
            .find(|container| container.id == GroupId(id))
            .expect("known")
    }

    /// Runs for `span`, acting as the engine asks, growing as the containers' rates say; `change` may alter them at
    /// every look. Stops early when the kernel kills.
    pub(crate) fn run(&mut self, engine: &mut Engine, span: Span, mut change: impl FnMut(&mut World)) {
        let end = self.now + span;
        while self.now < end && self.kernel_kills == 0 {
            change(self);
            self.tell_in_time(engine);
            let sample = self.sample();
            let (orders, wake) = {
                let decision = engine.step(self.now, Input::Sample(&sample));
                self.note(&decision)
            };
            self.gap_max = self.gap_max.max(wake);
            for action in orders {
                if engine.policy().mode == forestall_decide::Mode::Enforce {
                    self.obey(&action);
                }
                self.ordered.push((self.now, action));
            }
            self.grow(wake);
            self.finish_kills(engine);
            self.finish_evictions(engine);
            self.finish_brakes(engine);
            if self.is_over_a_wall() {
                self.kernel_kills += 1;
            }
        }
    }

    fn note(&mut self, decision: &Decision<'_>) -> (Vec<Action>, Span) {
        self.refused.extend_from_slice(decision.refusals);
        self.verdicts.extend_from_slice(decision.alarms);
        self.passed_over.extend_from_slice(decision.passed_over);
        (decision.actions.to_vec(), decision.wake_in)
    }

    fn obey(&mut self, action: &Action) {
        let now = self.now;
        match (action.rung, action.target) {
            (Rung::Kill, Target::Group(id)) => {
                let grace = action.grace;
                for container in self.containers.iter_mut().filter(|container| container.id == id) {
                    container.killed_at = Some(now + grace);
                    if grace == Span(0) {
                        container.rate = 0;
                    }
                }
            }
            (Rung::Evict, Target::Group(pod)) => self.evict(action, pod),
            (Rung::Brake, Target::Group(id)) if self.brakes_hold => self.brake(action, id),
            (Rung::Kill, Target::Process(_)) => {
                self.host_rate = 0;
                self.host_anon = 0;
            }
            _ => {}
        }
    }

    fn brake(&mut self, action: &Action, id: GroupId) {
        for container in self.containers.iter_mut().filter(|container| container.id == id) {
            self.braked.push(Braked {
                id,
                rate: core::mem::take(&mut container.rate),
                action: action.id,
                until: self.now + action.grace,
                is_told: false,
            });
        }
    }

    /// Says of each brake that it is on, and when it is lifted.
    fn finish_brakes(&mut self, engine: &mut Engine) {
        let now = self.now;
        for braked in &mut self.braked {
            let kind = if now >= braked.until {
                for container in self.containers.iter_mut().filter(|one| one.id == braked.id) {
                    container.rate = braked.rate;
                }
                OutcomeKind::Done
            } else if braked.is_told {
                continue;
            } else {
                OutcomeKind::Progress
            };
            braked.is_told = true;
            let outcome = Outcome {
                action: braked.action,
                rung: Rung::Brake,
                kind,
                freed: Bytes::ZERO,
                took: Span(0),
                rest: Span(0),
            };
            engine.step(now, Input::Outcome(&outcome));
        }
        self.braked.retain(|braked| now < braked.until);
    }

    fn evict(&mut self, action: &Action, pod: GroupId) {
        let (now, takes, answer) = (self.now, action.grace + CLEANUP, self.answer_of(pod));
        if answer == OutcomeKind::Done
            && let Some(known) = self.pods.list.iter_mut().find(|known| known.group == Some(pod))
        {
            known.terminating_since = Some(now);
            self.told_at = None;
        }
        let at = if answer == OutcomeKind::Done {
            now + takes
        } else {
            now + Span::millis(20)
        };
        self.leaving.push(Leaving {
            at,
            ordered_at: now,
            action: action.id,
            pod,
        });
    }

    fn answer_of(&self, pod: GroupId) -> OutcomeKind {
        if self.spared_by_budget.contains(&pod) {
            OutcomeKind::Blocked
        } else {
            self.eviction_answer
        }
    }

    /// Tells the pods if ten seconds have passed since they were told last.
    pub(crate) fn tell_in_time(&mut self, engine: &mut Engine) {
        let due = self.told_at.is_none_or(|at| self.now.since(at) >= Span::secs(10));
        if due && self.now >= self.silent_until && !self.pods.list.is_empty() {
            self.told_at = Some(self.now);
            self.pods.told_at = self.now;
            engine.step(self.now, Input::Pods(&self.pods));
        }
    }

    /// Tells the pods now.
    pub(crate) fn tell_once(&mut self, engine: &mut Engine) {
        self.told_at = None;
        self.tell_in_time(engine);
    }

    fn finish_evictions(&mut self, engine: &mut Engine) {
        let now = self.now;
        let due = self.leaving.iter().position(|leaving| leaving.at <= now);
        let Some(leaving) = due.map(|index| self.leaving.remove(index)) else {
            return;
        };
        let answer = self.answer_of(leaving.pod);
        if answer == OutcomeKind::Done {
            self.pods.list.retain(|pod| pod.group != Some(leaving.pod));
            self.containers
                .retain(|container| GroupId(container.id.0 + 1000) != leaving.pod);
        }
        let outcome = Outcome {
            action: leaving.action,
            rung: Rung::Evict,
            kind: answer,
            freed: Bytes::mebi(1),
            took: now.since(leaving.ordered_at),
            rest: Span(0),
        };
        engine.step(now, Input::Outcome(&outcome));
    }

    pub(crate) fn grow(&mut self, wake: Span) {
        for container in &mut self.containers {
            container.anon += container.rate * wake.0 / 1_000_000;
        }
        self.host_anon += self.host_rate * wake.0 / 1_000_000;
        self.stall_micros += wake.0 * self.stall_full_permille / 1000;
        self.now = self.now + wake;
    }

    fn finish_kills(&mut self, engine: &mut Engine) {
        let now = self.now;
        let takes = self.kill_takes;
        let done: Vec<GroupId> = self
            .containers
            .iter_mut()
            .filter(|container| container.killed_at.is_some_and(|at| now >= at + takes))
            .map(|container| {
                if container.in_volume {
                    container.left += container.anon;
                }
                (container.anon, container.rate, container.killed_at) = (0, 0, None);
                container.id
            })
            .collect();
        for id in done {
            let is_its = |(_, action): &&(Moment, Action)| action.target == Target::Group(id);
            let order = self.ordered.iter().rev().find(is_its);
            let Some((_, action)) = order else { continue };
            let outcome = Outcome {
                action: action.id,
                rung: Rung::Kill,
                kind: OutcomeKind::Done,
                freed: Bytes::mebi(1),
                took: takes,
                rest: Span(0),
            };
            engine.step(now, Input::Outcome(&outcome));
        }
    }

    fn is_over_a_wall(&self) -> bool {
        let pods: u64 = self.containers.iter().map(|one| one.anon + one.left).sum();
        let over = self.kubepods_limit.bytes().is_some_and(|limit| pods > limit.0);
        over || pods + self.host_anon + self.total / 100 > self.total
    }

    /// What was ordered of one rung, in order.
    pub(crate) fn targets_of(&self, rung: Rung) -> Vec<Target> {
        let orders = self.ordered.iter().filter(|(_, action)| action.rung == rung);
        orders.map(|(_, action)| action.target).collect()
    }

    /// Who was killed by us, in order.
    pub(crate) fn killed(&self) -> Vec<Target> {
        let is_kill = |(_, action): &&(Moment, Action)| action.rung == Rung::Kill && !action.escalate;
        self.ordered
            .iter()
            .filter(is_kill)
            .map(|(_, action)| action.target)
            .collect()
    }
}

/// An engine that acts.
pub(crate) fn enforcing() -> Engine {
    Engine::new(Policy {
        mode: forestall_decide::Mode::Enforce,
        ..Policy::default()
    })
}
