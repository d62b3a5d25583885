//! The whole: nodes that run by themselves for a while, and the scheduler between them.
//!
//! Nodes touch each other only through the scheduler, which works in rounds of ten seconds: what left a node is placed at the
//! first round that is late enough. So each node may run alone from one round to the next, and the order in which they are
//! visited changes nothing. It refuses to keep facts to itself: each goes to the one who watches, in order of time and node.

use std::sync::Arc;

use forestall_decide::{Moment, Span};

use crate::cast::NEVER;
use crate::effect::Effect;
use crate::error::SimError;
use crate::event::Event;
use crate::node::Node;
use crate::random::Random;
use crate::scheduler::{Waiting, round_after, wait_for};
use crate::spec::{Load, Place, PodSpec, World};
use crate::start::start_node;

/// Fewer nodes with something to do are not worth the start of threads.
const WORTH_THREADS: usize = 500;

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

/// A world in progress.
#[derive(Debug)]
pub struct Running {
    pub(crate) nodes: Vec<Node>,
    /// When each node is due, side by side: they are asked far more often than the nodes themselves.
    pub(crate) dues: Vec<Moment>,
    pub(crate) specs: Vec<Arc<PodSpec>>,
    copies: Vec<u32>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) faults: Vec<crate::spec::Fault>,
    reschedule: Span,
    threads: usize,
    now: Moment,
    end: Moment,
    pub(crate) events: Vec<Event>,
    /// When room is asked for next; never, where no agent would be told.
    pub(crate) survey: Moment,
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
    pub(crate) fn copy(&mut self, kind: usize) -> (Arc<PodSpec>, Box<str>) {
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
}
