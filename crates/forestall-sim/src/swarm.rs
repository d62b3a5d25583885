//! Random worlds: a few nodes, some of everything on them, and faults, all from one seed.
//!
//! What checkers are fed with by the thousand. It refuses to be fair: leaks, bursts and caches meet more often here than on
//! any real node.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{Bytes, BytesPerSecond, Limit, Lru, Moment, Owner, Policy, Span};

use crate::memory::Part;
use crate::random::Random;
use crate::spec::{ContainerSpec, Fault, FaultKind, Load, NodeSpec, Place, PodSpec, World};

/// How long a random world runs: long enough for a leak, a fault and its end.
const DURATION: Span = Span::secs(600);
/// Faults begin before this, so that there is time to heal.
const FAULTS_UNTIL: u64 = 300_000_000;

/// The random world of a seed.
pub fn swarm(seed: u64, policy: Option<Policy>) -> World {
    let mut random = Random::split(seed, 0x5741_524d);
    let nodes: Vec<NodeSpec> = (0..=random.below(2))
        .map(|index| node(&mut random, index))
        .collect();
    let memory = nodes.iter().map(|node| node.memory).min().unwrap_or_default();
    let count = 3 + random.below(8);
    let pods = (0..count).map(|index| pod(&mut random, index, memory)).collect();
    let faults = (0..random.below(4)).map(|_| fault(&mut random)).collect();
    World {
        title: format!("random world {seed}"),
        seed,
        duration: DURATION,
        nodes,
        pods,
        faults,
        policy,
        reschedule: Span::secs(3),
    }
}

fn one_in(random: &mut Random, many: u64) -> bool {
    random.below(many) == 0
}

fn node(random: &mut Random, index: u64) -> NodeSpec {
    let memory = Bytes::mebi(512 << random.below(6));
    let hard = memory.permille(20 + random.below(80));
    let threshold = |signal| Threshold {
        signal,
        value: hard,
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    let kubelet = KubeletConfig {
        capacity: memory,
        kube_reserved: memory.permille(random.below(200)),
        thresholds: vec![
            threshold(Signal::MemoryAvailable),
            threshold(Signal::AllocatableMemoryAvailable),
        ],
        ..KubeletConfig::default()
    };
    let mut host = vec![ContainerSpec {
        base: memory.permille(20),
        oom_score_adj: -999,
        ..ContainerSpec::plain("kubelet")
    }];
    if one_in(random, 6) {
        host.push(ContainerSpec {
            load: leak(random, memory),
            restarts: false,
            ..ContainerSpec::plain("daemon")
        });
    }
    NodeSpec {
        lru: if one_in(random, 2) {
            Lru::Classic
        } else {
            Lru::MultiGen
        },
        kubelet: (!one_in(random, 8)).then_some(kubelet),
        kernel: memory.permille(10 + random.below(30)),
        host,
        ..NodeSpec::plain(&format!("node-{index}"), memory)
    }
}

fn leak(random: &mut Random, memory: Bytes) -> Load {
    let parts = [Part::Anon, Part::Anon, Part::Shmem, Part::Kernel];
    let part = parts.get(usize::try_from(random.below(4)).unwrap_or(0));
    // The whole node in 1 s to 17 minutes, every scale alike.
    let secs = 1 << random.below(11);
    Load::Leak {
        part: part.copied().unwrap_or(Part::Anon),
        rate: BytesPerSecond(memory.0 / secs),
        total: one_in(random, 3).then(|| memory.permille(100 + random.below(700))),
        delay: Span::secs(random.below(200)),
    }
}

fn load(random: &mut Random, memory: Bytes) -> Load {
    let size = memory.permille(20 + random.below(250));
    match random.below(9) {
        0..=2 => leak(random, memory),
        3 => Load::Burst {
            size,
            rise: Span::millis(50 + random.below(5000)),
            hold: Span::secs(random.below(60)),
            every: Span::secs(60 + random.below(200)),
        },
        4 => Load::Periodic {
            size,
            period: Span::secs(5 + random.below(300)),
        },
        5 => Load::Heap {
            step: Bytes(size.0 / 4),
            interval: Span::secs(1 + random.below(60)),
            freed_permille: random.below(1000),
            plateau: size,
        },
        6 | 7 => Load::Reader {
            file: memory.permille(50 + random.below(1500)),
            rate: BytesPerSecond((1 + random.below(300)) << 20),
        },
        _ => Load::Steps {
            block: Bytes((size.0 / 10).max(1 << 20)),
            interval: Span::millis(100 + random.below(6000)),
            total: one_in(random, 2).then_some(size),
            aborts: one_in(random, 2),
        },
    }
}

fn pod(random: &mut Random, index: u64, memory: Bytes) -> PodSpec {
    let base = memory.permille(random.below(80));
    let limit = if one_in(random, 3) {
        Limit::Bytes(memory.permille(150 + random.below(400)))
    } else {
        Limit::Max
    };
    let mut containers = vec![ContainerSpec {
        base,
        limit,
        request: if one_in(random, 3) { Bytes::ZERO } else { base },
        load: load(random, memory),
        volume: one_in(random, 4),
        jitter_permille: random.below(100),
        ..ContainerSpec::plain("app")
    }];
    if one_in(random, 4) {
        containers.push(ContainerSpec {
            load: Load::Follow {
                of: 0,
                permille: random.below(400),
            },
            ..ContainerSpec::plain("sidecar")
        });
    }
    let owners = [
        Owner::Controller,
        Owner::Controller,
        Owner::DaemonSet,
        Owner::Nobody,
    ];
    let owner = owners.get(usize::try_from(random.below(4)).unwrap_or(0));
    PodSpec {
        place: if one_in(random, 2) {
            Place::Node(0)
        } else {
            Place::Anywhere
        },
        start: Moment(random.below(120_000_000)),
        priority: i32::try_from(random.below(3)).unwrap_or(0) * 100,
        owner: owner.copied().unwrap_or_default(),
        is_static: one_in(random, 12),
        opted_out: one_in(random, 12),
        term: Span::millis(random.below(8000)),
        ..PodSpec::plain(&format!("pod{index}"), containers)
    }
}

fn fault(random: &mut Random) -> Fault {
    let kind = match random.below(7) {
        0 => FaultKind::ApiAway,
        1 => FaultKind::AgentRestart,
        2 => FaultKind::ClockJump(i64::try_from(random.below(200_000)).unwrap_or(0) - 100_000),
        3 => FaultKind::SamplesLost,
        4 => FaultKind::SlowVictim(Span::secs(random.below(30))),
        5 => FaultKind::PdbZero,
        _ => FaultKind::KubeletAway,
    };
    Fault {
        kind,
        node: None,
        from: Moment(random.below(FAULTS_UNTIL)),
        lasts: Span::secs(1 + random.below(60)),
    }
}
