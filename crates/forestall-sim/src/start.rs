//! The first moment of a node: its kernel, its kubelet and its agent, each with a phase of its own, its faults to come and the
//! processes that were there before any pod.
//!
//! It refuses to start pods: those are admitted like any that come later.

use std::sync::Arc;

use forestall_decide::kubelet::LOOK;
use forestall_decide::{Bytes, Limit, Moment, Owner};

use crate::agent::Agent;
use crate::blame::settle;
use crate::cast::{Container, Hits, NEVER, Pod};
use crate::effect::{Effect, Effects};
use crate::fault::Faults;
use crate::kernel::Kernel;
use crate::kubelet::Kubelet;
use crate::levels::Levels;
use crate::memory::Memory;
use crate::node::{HOST, Node};
use crate::random::Random;
use crate::resources::qos;
use crate::spec::{Fault, NodeSpec, PodSpec, World};
use crate::world::Options;

/// A node before its first moment.
pub(crate) fn start_node(world: &World, index: u32, spec: &NodeSpec, options: Options) -> Node {
    let mut random = Random::split(world.seed, u64::from(index));
    let first_look = Moment(random.below(LOOK.0));
    let first_look = spec.first_look.unwrap_or(first_look);
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
    // Its own alone: every node would else hold those of all others.
    let is_own = |fault: &&Fault| fault.node.is_none_or(|node| node == index);
    let own: Vec<Fault> = world.faults.iter().filter(is_own).copied().collect();
    for (index, fault) in own.iter().enumerate() {
        effects.push(fault.from, Effect::Fault { index, begins: true });
        let end = fault.from + fault.lasts;
        effects.push(end, Effect::Fault { index, begins: false });
    }
    let mut node = Node {
        index,
        spec: Arc::new(spec.clone()),
        pods: Vec::new(),
        pods_sum: Memory::default(),
        host_sum: Memory::default(),
        kernel: Kernel::new(spec.memory),
        levels: Levels::default(),
        kubelet,
        agent,
        effects,
        events: Vec::new(),
        leavers: Vec::new(),
        faults: Faults {
            list: own,
            ..Faults::default()
        },
        random,
        next_id: 100,
        lost: false,
        requested: Bytes::ZERO,
        scored: Bytes::ZERO,
        kubelet_evictions: 0,
        told_at: None,
        elsewhere: forestall_decide::Elsewhere::Unknown,
        told_elsewhere: forestall_decide::Elsewhere::Unknown,
        told_tokens: None,
        tokens_taken: Vec::new(),
        due: Moment(0),
        recorder: None,
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
    let mut containers: Vec<Container> = host
        .containers
        .iter()
        .map(|container| {
            let id = node.draw_id();
            let adj = container.oom_score_adj;
            Container::new(container, id, adj, spec.lru, &mut node.random)
        })
        .collect();
    settle(&mut containers, &host);
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
        oom_kills: 0,
        hits: Hits::default(),
        leaves: false,
        due: NEVER,
    }
}
