//! What the worlds are made of: small pods on a small node.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{Bytes, BytesPerSecond, Limit, Mode, Moment, Policy, Rung, Rungs, Span};
use forestall_sim::{ContainerSpec, Fault, FaultKind, Load, NodeSpec, Part, Place, PodSpec, World};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const KILL: &[Rung] = &[Rung::Kill];
pub(crate) const EVICT: &[Rung] = &[Rung::Evict, Rung::Kill];

/// A leak of so many kibibytes a second.
pub(crate) fn leak(kibi: u64) -> Load {
    Load::Leak {
        part: Part::Anon,
        rate: BytesPerSecond(kibi << 10),
        total: None,
        delay: Span(0),
    }
}

pub(crate) fn pod(name: &str, base_mebi: u64, load: Load) -> PodSpec {
    let container = ContainerSpec {
        base: Bytes::mebi(base_mebi),
        request: Bytes::mebi(10),
        load,
        ..ContainerSpec::plain("app")
    };
    PodSpec {
        place: Place::Node(0),
        ..PodSpec::plain(name, vec![container])
    }
}

/// The same pod with a short time to end.
pub(crate) fn quick(pod: PodSpec) -> PodSpec {
    PodSpec {
        grace: Span::secs(1),
        ..pod
    }
}

/// The same pod with a limit on its container.
pub(crate) fn limited(mut pod: PodSpec, mebi: u64) -> PodSpec {
    for container in &mut pod.containers {
        container.limit = Limit::Bytes(Bytes::mebi(mebi));
    }
    pod
}

pub(crate) fn calm(mebi: u64) -> PodSpec {
    pod("calm", mebi, Load::Steady)
}

/// Began with next to nothing, took so much at once when it had been there for 40 s, and holds still: its end gives that back.
pub(crate) fn grown(mebi: u64) -> PodSpec {
    let load = Load::Leak {
        part: Part::Anon,
        rate: BytesPerSecond(100 * MIB),
        total: Some(Bytes::mebi(mebi)),
        delay: Span::secs(40),
    };
    pod("grown", 0, load)
}

/// Reads so much again and again.
pub(crate) fn reader(file_mebi: u64, rate_mebi: u64) -> PodSpec {
    let load = Load::Reader {
        file: Bytes::mebi(file_mebi),
        rate: BytesPerSecond(rate_mebi * MIB),
    };
    pod("reader", 10, load)
}

/// A node of 1,000 MiB without a kubelet, of which a kernel keeps 44 for itself; another one with room for whatever is evicted.
pub(crate) fn world(rungs: &[Rung], pods: Vec<PodSpec>) -> World {
    let bare = |name| NodeSpec {
        kubelet: None,
        ..NodeSpec::plain(name, Bytes::mebi(1000))
    };
    World {
        title: "one rule".to_owned(),
        seed: 1,
        duration: Span::secs(120),
        nodes: vec![
            bare("a"),
            NodeSpec {
                agent: false,
                ..bare("b")
            },
        ],
        pods,
        faults: Vec::new(),
        policy: Some(Policy {
            mode: Mode::Enforce,
            rungs: Rungs::of(rungs),
            ..Policy::default()
        }),
        reschedule: Span::secs(3),
    }
}

/// The same with a kubelet on the first node that evicts below so much.
pub(crate) fn with_kubelet(mut world: World, hard_mebi: u64) -> World {
    let hard = |signal| Threshold {
        signal,
        value: Bytes::mebi(hard_mebi),
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    world.nodes[0].kubelet = Some(KubeletConfig {
        capacity: Bytes::mebi(1000),
        kube_reserved: Bytes::mebi(100),
        thresholds: vec![
            hard(Signal::MemoryAvailable),
            hard(Signal::AllocatableMemoryAvailable),
        ],
        ..KubeletConfig::default()
    });
    world
}

pub(crate) fn with_fault(mut world: World, kind: FaultKind, from_secs: u64) -> World {
    world.faults.push(Fault {
        kind,
        node: None,
        from: Moment(from_secs * 1_000_000),
        lasts: Span::secs(1000),
    });
    world
}

pub(crate) fn lasting(world: World, secs: u64) -> World {
    World {
        duration: Span::secs(secs),
        ..world
    }
}

/// What leaks beside 300 MiB that hold still.
pub(crate) fn alone(rungs: &[Rung], leaker: PodSpec) -> World {
    world(rungs, vec![leaker, calm(300)])
}

/// A fault that heals.
pub(crate) fn with_healed(mut world: World, kind: FaultKind, from_secs: u64, to_secs: u64) -> World {
    world = with_fault(world, kind, from_secs);
    for fault in &mut world.faults {
        fault.lasts = Span::secs(to_secs - from_secs);
    }
    world
}
