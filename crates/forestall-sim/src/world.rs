//! The whole: nodes that run by themselves for a while, and the scheduler between them.
//!
//! Nodes touch each other only through the scheduler, which works in rounds of ten seconds: what left a node is placed at the
//! first round that is late enough. So each node may run alone from one round to the next, or further (`rounds`), and the
//! order in which they are visited changes nothing. It refuses to keep facts to itself: each goes to the one who watches, in order of time and node.

use std::sync::Arc;

use forestall_decide::{Bytes, Moment, Sample, Span};

use crate::cast::NEVER;
use crate::effect::Effect;
use crate::error::SimError;
use crate::event::Event;
use crate::node::Node;
use crate::random::Random;
use crate::scheduler::Waiting;
use crate::spec::{Load, Place, PodSpec, World};
use crate::start::start_node;

/// How a world is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Every look of every kubelet is made, as by a clock, and at every round all nodes wait for each other: slow, and there to
    /// prove that skipping calm time changes nothing.
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
    pub(crate) reschedule: Span,
    /// At every round all nodes wait for each other.
    pub(crate) every_round: bool,
    /// Who has to wait for others at the next round; side by side, as `dues`.
    pub(crate) restless: Vec<bool>,
    /// Until then all others keep to themselves.
    pub(crate) promised: Moment,
    /// Who had something to do since the last time that all waited for each other.
    pub(crate) visited: Vec<usize>,
    /// Room for what an agent sees, for each thread.
    pub(crate) samples: Vec<Sample>,
    now: Moment,
    pub(crate) end: Moment,
    pub(crate) events: Vec<Event>,
    /// When room is asked for next; never, where no agent would be told.
    pub(crate) survey: Moment,
    /// What every node had to offer when that was asked last.
    pub(crate) rooms: Vec<Bytes>,
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
            every_round: options.every_look,
            restless: vec![true; world.nodes.len()],
            promised: Moment(0),
            visited: Vec::new(),
            samples: vec![Sample::default(); options.threads.max(1)],
            now: Moment(0),
            end: Moment(0) + world.duration,
            events: Vec::new(),
            survey: if world.policy.is_some() { Moment(0) } else { NEVER },
            rooms: Vec::new(),
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
        let until = self.run_apart(now, place.max(now).min(self.end));
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
}
