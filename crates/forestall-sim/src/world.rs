//! The whole: nodes that run by themselves for a while, and the scheduler between them.
//!
//! Nodes touch each other only through the scheduler, which works in rounds of ten seconds: what left a node is placed at the
//! first round that is late enough. So each node may run alone from one round to the next, and the order in which they are
//! visited changes nothing. It refuses to keep facts to itself: each goes to the one who watches, in order of time and node.

use std::sync::Arc;

use forestall_decide::kubelet::LOOK;
use forestall_decide::{Bytes, Limit, Moment, Owner, Span};

use crate::agent::Agent;
use crate::cast::{NEVER, Pod, qos};
use crate::effect::{Effect, Effects};
use crate::error::SimError;
use crate::event::{Event, What};
use crate::fault::Faults;
use crate::kernel::Kernel;
use crate::kubelet::Kubelet;
use crate::memory::Memory;
use crate::node::{HOST, Leaver, Node};
use crate::random::Random;
use crate::spec::{FaultKind, Load, NodeSpec, Place, PodSpec, World};

/// A pod without a place is asked about again after this.
const RETRY: Span = Span::secs(10);
/// From one round of the scheduler to the next; agents are told of room on other nodes as often.
const ROUND: Span = Span::secs(10);
/// Fewer nodes with something to do are not worth the start of threads.
const WORTH_THREADS: usize = 100;
/// The kubelet takes so many pods (`maxPods`).
const PODS_MAX: usize = 110;

/// How a world is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Every look of every kubelet is made, as by a clock: slow, and there to prove that skipping calm time changes nothing.
    pub every_look: bool,
    /// The agents' looks are facts, too; what checkers need and nobody else.
    pub watch_looks: bool,
    /// How many threads share the nodes; 0 and 1 are one. It changes nothing but the time it takes.
    pub threads: usize,
}

/// A pod that waits for a place.
#[derive(Clone, Debug)]
struct Waiting {
    at: Moment,
    kind: usize,
    /// It must go there.
    node: Option<u32>,
    announced: bool,
}

/// A world in progress.
#[derive(Debug)]
pub struct Running {
    nodes: Vec<Node>,
    /// When each node is due, side by side: they are asked far more often than the nodes themselves.
    dues: Vec<Moment>,
    specs: Vec<Arc<PodSpec>>,
    copies: Vec<u32>,
    waiting: Vec<Waiting>,
    faults: Vec<crate::spec::Fault>,
    reschedule: Span,
    threads: usize,
    now: Moment,
    end: Moment,
    events: Vec<Event>,
    /// When room is asked for next; never, where no agent would be told.
    survey: Moment,
}

impl World {
    /// Looks for what cannot be run.
    pub fn check(&self) -> Result<(), SimError> {
        if self.nodes.is_empty() {
            return Err(SimError::NoNodes);
        }
        for pod in &self.pods {
            if let Place::Node(node) = pod.place
                && node as usize >= self.nodes.len()
            {
                return Err(SimError::NoSuchNode {
                    pod: pod.name.to_string(),
                    node,
                    nodes: self.nodes.len(),
                });
            }
            for (start, container) in pod.containers.iter().enumerate() {
                follow_to_the_end(pod, start).map_err(|found| {
                    let (pod, container) = (pod.name.to_string(), container.name.to_string());
                    match found {
                        Broken::Circle => SimError::Cycle { pod, container },
                        Broken::Nobody => SimError::NoLeader { pod, container },
                    }
                })?;
            }
        }
        Ok(())
    }
}

enum Broken {
    Circle,
    Nobody,
}

fn follow_to_the_end(pod: &PodSpec, start: usize) -> Result<(), Broken> {
    let mut at = start;
    for _ in 0..=pod.containers.len() {
        match pod.containers.get(at).map(|container| container.load) {
            Some(Load::Follow { of, .. }) => at = of,
            Some(_) => return Ok(()),
            None => return Err(Broken::Nobody),
        }
    }
    Err(Broken::Circle)
}

impl Running {
    /// A world at its first moment.
    pub fn start(world: &World, options: Options) -> Result<Self, SimError> {
        world.check()?;
        let mut running = Self {
            nodes: Vec::with_capacity(world.nodes.len()),
            dues: Vec::new(),
            specs: world.pods.iter().cloned().map(Arc::new).collect(),
            copies: vec![0; world.pods.len()],
            waiting: Vec::new(),
            faults: world.faults.clone(),
            reschedule: Span(world.reschedule.0.max(1)),
            threads: options.threads,
            now: Moment(0),
            end: Moment(0) + world.duration,
            events: Vec::new(),
            survey: if world.policy.is_some() { Moment(0) } else { NEVER },
        };
        for (index, spec) in world.nodes.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            running.nodes.push(start_node(world, index, spec, options));
        }
        running.start_pods(world);
        for node in &mut running.nodes {
            node.refresh(Moment(0));
        }
        running.dues = running.nodes.iter().map(|node| node.due).collect();
        Ok(running)
    }

    fn start_pods(&mut self, world: &World) {
        let mut random = Random::split(world.seed, u64::MAX);
        for kind in 0..self.specs.len() {
            let spec = Arc::clone(&self.specs[kind]);
            for _ in 0..spec.count {
                let targets: Vec<Option<usize>> = match spec.place {
                    Place::Node(node) => vec![Some(node as usize)],
                    Place::Each => (0..self.nodes.len()).map(Some).collect(),
                    Place::Anywhere => vec![None],
                };
                for target in targets {
                    let at = spec.start + Span(random.below(spec.spread.0.saturating_add(1)));
                    match target {
                        Some(node) => {
                            let (spec, name) = self.copy(kind);
                            self.nodes[node]
                                .effects
                                .push(at, Effect::Admit { kind, spec, name });
                        }
                        None => self.waiting.push(Waiting {
                            at,
                            kind,
                            node: None,
                            announced: false,
                        }),
                    }
                }
            }
        }
    }

    /// One more pod of a kind; each has a name of its own.
    fn copy(&mut self, kind: usize) -> (Arc<PodSpec>, Box<str>) {
        let number = self.copies[kind];
        self.copies[kind] += 1;
        let spec = Arc::clone(&self.specs[kind]);
        let name = format!("{}-{number}", spec.name).into();
        (spec, name)
    }

    /// When everything ends.
    pub fn end(&self) -> Moment {
        self.end
    }

    /// How far it is.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Goes on for a while; hands every fact to `watch`. False when it is over.
    pub fn go_on(&mut self, watch: &mut dyn FnMut(&Event)) -> bool {
        let node = self.dues.iter().copied().min().unwrap_or(NEVER);
        let place = self.waiting.iter().map(|pod| pod.at).min().unwrap_or(NEVER);
        let now = node.min(place);
        self.ask_for_room(now);
        if now >= self.end {
            self.now = self.end;
            return false;
        }
        // Nothing that leaves a node from now on is placed before the next round.
        let until = round_after(now).min(place.max(now)).min(self.end);
        self.run_nodes(until);
        if place <= until && place < self.end {
            self.place_all(place);
        }
        self.events.sort_by_key(|event| (event.at, event.node));
        for event in self.events.drain(..) {
            watch(&event);
        }
        self.now = until;
        true
    }

    /// Lets every node run alone until then.
    fn run_nodes(&mut self, until: Moment) {
        let run = |nodes: &mut [Node], dues: &mut [Moment]| {
            for (node, due) in nodes.iter_mut().zip(dues) {
                if *due < until {
                    node.run_until(until);
                    *due = node.due;
                }
            }
        };
        let due = self.dues.iter().enumerate().filter(|(_, due)| **due < until);
        let busy: Vec<usize> = due.map(|(index, _)| index).collect();
        if self.threads > 1 && busy.len() >= WORTH_THREADS {
            let part = self.nodes.len().div_ceil(self.threads);
            std::thread::scope(|scope| {
                for (nodes, dues) in self.nodes.chunks_mut(part).zip(self.dues.chunks_mut(part)) {
                    scope.spawn(move || run(nodes, dues));
                }
            });
        } else {
            for index in &busy {
                run(
                    core::slice::from_mut(&mut self.nodes[*index]),
                    core::slice::from_mut(&mut self.dues[*index]),
                );
            }
        }
        for index in busy {
            let node = &mut self.nodes[index];
            let leavers = node
                .leavers
                .drain(..)
                .map(|leaver| wait_for(leaver, self.reschedule));
            self.waiting.extend(leavers);
            self.events.append(&mut node.events);
        }
    }

    /// Finds out where there is room, at even times: what is told must not depend on who happened to be visited.
    fn ask_for_room(&mut self, now: Moment) {
        if self.survey > now {
            return;
        }
        self.survey = round_after(now);
        let room = |node: &Node| {
            let pressed = node.kubelet.as_ref().is_some_and(Kubelet::is_pressed);
            if pressed || node.lost {
                Bytes::ZERO
            } else {
                allocatable(node) - requested(node)
            }
        };
        let rooms: Vec<Bytes> = self.nodes.iter().map(room).collect();
        let first = rooms.iter().enumerate().max_by_key(|(_, room)| **room);
        let Some((widest, most)) = first.map(|(index, room)| (index, *room)) else {
            return;
        };
        let others = rooms.iter().enumerate().filter(|(index, _)| *index != widest);
        let second = others.map(|(_, room)| *room).max().unwrap_or_default();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let room = if index == widest { second } else { most };
            node.elsewhere = crate::told::elsewhere(room);
        }
    }

    fn api_is_away(&self, now: Moment) -> bool {
        self.faults.iter().any(|fault| {
            fault.kind == FaultKind::ApiAway
                && fault.node.is_none()
                && (fault.from..fault.from + fault.lasts).contains(&now)
        })
    }

    /// Finds a place for everybody who waits for one now.
    fn place_all(&mut self, now: Moment) {
        let away = self.api_is_away(now);
        let due = |pod: &Waiting| pod.at <= now;
        let (mut ready, later): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.waiting).into_iter().partition(due);
        self.waiting = later;
        for mut pod in ready.drain(..) {
            let target = if away { None } else { self.find_place(&pod) };
            if let Some(target) = target {
                let (spec, name) = self.copy(pod.kind);
                let node = &mut self.nodes[target];
                node.admit(pod.kind, spec, name, now);
                node.refresh(now);
                self.dues[target] = node.due;
                self.events.append(&mut node.events);
                continue;
            }
            if !pod.announced {
                pod.announced = true;
                let name = self.specs[pod.kind].name.clone();
                let what = What::PodPending { pod: name };
                self.events.push(Event {
                    at: now,
                    node: 0,
                    what,
                });
            }
            pod.at = now + RETRY;
            self.waiting.push(pod);
        }
    }

    /// The scheduler's choice: room for the request, no memory pressure, and then the least requested share.
    fn find_place(&self, pod: &Waiting) -> Option<usize> {
        let spec = &self.specs[pod.kind];
        let request: Bytes = spec.containers.iter().map(|container| container.request).sum();
        if let Some(node) = pod.node {
            return Some(node as usize);
        }
        let fits = |node: &&Node| {
            let pressed = node.kubelet.as_ref().is_some_and(Kubelet::is_pressed);
            let tolerated = spec.owner == Owner::DaemonSet;
            !node.lost
                && (!pressed || tolerated)
                && node.pods.len() <= PODS_MAX
                && requested(node) + request <= allocatable(node)
        };
        let share = |node: &&Node| requested(node).permille_of(allocatable(node));
        let found = self
            .nodes
            .iter()
            .filter(fits)
            .min_by_key(|node| (share(node), node.index))?;
        Some(found.index as usize)
    }
}

/// The first round after `now`.
const fn round_after(now: Moment) -> Moment {
    Moment((now.0 / ROUND.0).saturating_add(1).saturating_mul(ROUND.0))
}

fn wait_for(leaver: Leaver, reschedule: Span) -> Waiting {
    Waiting {
        // At a round itself it is not too late.
        at: round_after(Moment((leaver.at + reschedule).0.saturating_sub(1))),
        kind: leaver.kind,
        node: leaver.stays.then_some(leaver.node),
        announced: false,
    }
}

fn allocatable(node: &Node) -> Bytes {
    node.kubelet
        .as_ref()
        .map_or(node.spec.memory, |kubelet| kubelet.config.allocatable())
}

const fn requested(node: &Node) -> Bytes {
    node.requested
}

fn start_node(world: &World, index: u32, spec: &NodeSpec, options: Options) -> Node {
    let mut random = Random::split(world.seed, u64::from(index));
    let first_look = Moment(random.below(LOOK.0));
    let agent = world.policy.filter(|_| spec.agent).map(|policy| {
        let hard = spec
            .kubelet
            .as_ref()
            .map(|config| config.hard(forestall_decide::kubelet::Signal::MemoryAvailable));
        let policy = forestall_decide::Policy {
            kubelet_eviction_hard: hard.unwrap_or(policy.kubelet_eviction_hard),
            ..policy
        };
        let mut agent = Agent::new(policy, Moment(random.below(policy.tick_calm.0.max(1))));
        agent.watched = options.watch_looks;
        agent
    });
    let kubelet = spec.kubelet.clone().map(|config| {
        let mut kubelet = Kubelet::new(config, first_look);
        kubelet.every_look = options.every_look;
        kubelet
    });
    let mut effects = Effects::default();
    for (at, fault) in world.faults.iter().enumerate() {
        if fault.node.is_none_or(|node| node == index) {
            effects.push(
                fault.from,
                Effect::Fault {
                    index: at,
                    begins: true,
                },
            );
            let end = fault.from + fault.lasts;
            effects.push(
                end,
                Effect::Fault {
                    index: at,
                    begins: false,
                },
            );
        }
    }
    let mut node = Node {
        index,
        spec: Arc::new(spec.clone()),
        pods: Vec::new(),
        pods_sum: Memory::default(),
        host_sum: Memory::default(),
        kernel: Kernel::new(spec.memory),
        kubelet,
        agent,
        effects,
        events: Vec::new(),
        leavers: Vec::new(),
        faults: Faults {
            list: world.faults.clone(),
            ..Faults::default()
        },
        random,
        next_id: 100,
        lost: false,
        requested: Bytes::ZERO,
        kubelet_evictions: 0,
        told_at: None,
        elsewhere: forestall_decide::Elsewhere::Unknown,
        due: Moment(0),
    };
    let host = host_pod(&mut node, spec);
    node.pods.push(host);
    node.start_all(HOST, Moment(0));
    node.introduce_kubelet(Moment(0));
    node
}

fn host_pod(node: &mut Node, spec: &NodeSpec) -> Pod {
    let host = PodSpec {
        limit: Limit::Max,
        owner: Owner::Nobody,
        ..PodSpec::plain("host", spec.host.clone())
    };
    let containers = host
        .containers
        .iter()
        .map(|container| {
            let id = node.draw_id();
            let adj = container.oom_score_adj;
            crate::cast::Container::new(container, id, adj, spec.lru, &mut node.random)
        })
        .collect();
    Pod {
        id: u64::from(node.index) << 40,
        name: "host".into(),
        group: forestall_decide::GroupId(0),
        kind: None,
        qos: qos(&host),
        request: Bytes::ZERO,
        spec: Arc::new(host),
        containers,
        terminating: None,
        leaves: false,
        due: NEVER,
    }
}
