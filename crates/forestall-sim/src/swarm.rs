//! Random worlds: a few nodes, some of everything on them, and faults, all from one seed.
//!
//! What checkers are fed with by the thousand. It refuses to be fair: leaks, bursts and caches meet more often here than on
//! any real node.

use forestall_decide::kubelet::{KubeletConfig, Signal, SwapBehavior, Threshold};
use forestall_decide::{
    Bytes, BytesPerSecond, CRITICAL_PRIORITY, Limit, Lru, Mode, Moment, Owner, Policy, Preset, Rung, Rungs,
    Span, Standing, Victims,
};

use crate::crowd;
use crate::memory::Part;
use crate::random::Random;
use crate::spec::{ContainerSpec, Fault, FaultKind, Load, NodeSpec, Place, PodSpec, World};

/// How long a random world runs: long enough for a leak, a fault and its end.
const DURATION: Span = Span::secs(600);
/// Faults begin before this, so that there is time to heal.
const FAULTS_UNTIL: u64 = 300_000_000;
/// The gist's minimum here: less than any machine of these worlds keeps free by itself would be none.
const GIST_MIN: Bytes = Bytes::mebi(40);

/// The policy that belongs to a seed: mostly every rung, sometimes few, seldom only a look or a public preset.
pub fn swarm_policy(seed: u64) -> Policy {
    let mut random = Random::split(seed, 0x504f_4c49);
    let rungs = match random.below(8) {
        0 => Rungs::of(&[Rung::Reclaim, Rung::Kill]),
        1 => Rungs::of(&[Rung::Reclaim, Rung::Evict, Rung::Kill]),
        2 => Rungs::of(&[Rung::Brake, Rung::Warn, Rung::Grow, Rung::Kill]),
        _ => Rungs::all(),
    };
    let victims = match random.below(6) {
        0 => Victims::Kubelet,
        1 => Victims::Priority,
        _ => Victims::Culprit,
    };
    let mode = if one_in(&mut random, 12) {
        Mode::Shadow
    } else {
        Mode::Enforce
    };
    let preset = if one_in(&mut random, 16) {
        Preset::Gist
    } else {
        Preset::Forestall
    };
    Policy {
        mode,
        preset,
        victims,
        rungs,
        gist_available_bytes_min: GIST_MIN,
        ..Policy::default()
    }
}

/// The random world of a seed.
pub fn swarm(seed: u64, policy: Option<Policy>) -> World {
    let mut random = Random::split(seed, 0x5741_524d);
    let mut nodes: Vec<NodeSpec> = (0..=random.below(3))
        .map(|index| node(&mut random, index))
        .collect();
    // Streams of their own, so that all else stays what it was.
    let mut quality = Random::split(seed, 0x4849_4748);
    for node in &mut nodes {
        node.throttling_permille = one_in(&mut quality, 8).then(|| 500 + quality.below(451));
    }
    let mut swap = Random::split(seed, 0x5357_4150);
    for node in &mut nodes {
        if one_in(&mut swap, 2) {
            give_swap(node, &mut swap);
        }
    }
    let memory = nodes.iter().map(|node| node.memory).min().unwrap_or_default();
    let count = 3 + random.below(8);
    let mut pods: Vec<PodSpec> = (0..count).map(|index| pod(&mut random, index, memory)).collect();
    let mut own = Random::split(seed, 0x4f57_4e52);
    for node in &mut nodes {
        node.kills_one_process = one_in(&mut own, 6);
    }
    for pod in &mut pods {
        ask_for_itself(pod, &mut own, memory);
    }
    let mut promises = Random::split(seed, 0x5052_4f4d);
    for pod in &mut pods {
        promise(pod, &mut promises, memory);
    }
    let mut soft = Random::split(seed, 0x534f_4654);
    for kubelet in nodes.iter_mut().filter_map(|node| node.kubelet.as_mut()) {
        soften(kubelet, &mut soft);
    }
    let many = u64::try_from(nodes.len()).unwrap_or(1);
    let mut faults: Vec<Fault> = (0..random.below(5)).map(|_| fault(&mut random, many)).collect();
    faults.extend(clock_jumps(&mut Random::split(seed, 0x434c_4f43), many));
    let mut world = World {
        title: format!("random world {seed}"),
        seed,
        duration: DURATION,
        nodes,
        pods,
        faults,
        policy,
        reschedule: Span::secs(3),
    };
    crowd::fill(&mut world, &mut Random::split(seed, 0x4352_4f57));
    world
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
        eviction_tokens: one_in(random, 3).then(|| u32::try_from(random.below(3)).unwrap_or(0)),
        host,
        ..NodeSpec::plain(&format!("node-{index}"), memory)
    }
}

/// A quarter of the machine's memory to twice as much. Whether pods may use it their kubelet is told, or else nobody is.
fn give_swap(node: &mut NodeSpec, random: &mut Random) {
    node.swap = node.memory.permille(250 + random.below(1751));
    if let Some(kubelet) = &mut node.kubelet
        && one_in(random, 2)
    {
        kubelet.swap = SwapBehavior::LimitedSwap;
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
    // Shorter ones are there so that evictions fit, too.
    let grace = [1, 5, 10, 30];
    let owner = owners.get(usize::try_from(random.below(4)).unwrap_or(0));
    PodSpec {
        place: if one_in(random, 2) {
            Place::Node(0)
        } else {
            Place::Anywhere
        },
        start: Moment(random.below(120_000_000)),
        priority: if one_in(random, 20) {
            CRITICAL_PRIORITY
        } else {
            i32::try_from(random.below(3)).unwrap_or(0) * 100
        },
        owner: owner.copied().unwrap_or_default(),
        is_static: one_in(random, 12),
        opted_out: one_in(random, 12),
        final_eviction: one_in(random, 3),
        warning: one_in(random, 3).then(|| Span::secs(1 + random.below(10))),
        grow_max: one_in(random, 3).then(|| memory.permille(200 + random.below(500))),
        preference: i32::try_from(random.below(3)).unwrap_or(0) - 1,
        preferred: Standing {
            vetoed: one_in(random, 20),
            weight: 0,
        },
        grace: Span::secs(
            grace
                .get(usize::try_from(random.below(4)).unwrap_or(0))
                .copied()
                .unwrap_or(30),
        ),
        limit: if one_in(random, 6) {
            Limit::Bytes(memory.permille(150 + random.below(400)))
        } else {
            Limit::Max
        },
        term: Span::millis(random.below(8000)),
        ..PodSpec::plain(&format!("pod{index}"), containers)
    }
}

/// One pod in four requests memory at its own level, and one container in three has several processes.
fn ask_for_itself(pod: &mut PodSpec, random: &mut Random, memory: Bytes) {
    if one_in(random, 4) {
        let request = pod.requested_by_containers() + memory.permille(random.below(150));
        pod.request = Some(request.min(pod.limit.bytes().unwrap_or(request)));
    }
    for container in &mut pod.containers {
        if one_in(random, 3) {
            container.largest_process = Some(memory.permille(5 + random.below(200)));
        }
    }
}

/// One pod in three is promised all that it will ever take, and one heap in three never comes to its plateau.
fn promise(pod: &mut PodSpec, random: &mut Random, memory: Bytes) {
    let keeps = one_in(random, 3);
    for container in &mut pod.containers {
        if let Load::Heap { plateau, .. } = &mut container.load
            && one_in(random, 3)
        {
            *plateau = memory + memory;
        }
        if let Some(most) = container.load.most(container.volume).filter(|_| keeps) {
            let promised = container.base + most + memory.permille(random.below(30));
            container.request = promised.min(container.limit.bytes().unwrap_or(promised));
        }
    }
}

/// One kubelet in three has a soft threshold, too, and one in four asks for more than it lacked.
fn soften(kubelet: &mut KubeletConfig, random: &mut Random) {
    let hard = kubelet.thresholds.clone();
    if one_in(random, 3) {
        let grace = Span::secs(20 + random.below(100));
        let more = kubelet.capacity.permille(10 + random.below(60));
        let soft = hard.iter().map(|threshold| Threshold {
            value: threshold.value + more,
            grace,
            ..*threshold
        });
        kubelet.thresholds.extend(soft);
    }
    if one_in(random, 4) {
        let reclaim = kubelet.capacity.permille(random.below(100));
        for threshold in &mut kubelet.thresholds {
            threshold.min_reclaim = reclaim;
        }
    }
}

fn fault(random: &mut Random, nodes: u64) -> Fault {
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
        node: one_in(random, 3).then(|| u32::try_from(random.below(nodes)).unwrap_or(0)),
        from: Moment(random.below(FAULTS_UNTIL)),
        lasts: Span::secs(1 + random.below(60)),
    }
}

/// In one world of three, clocks that jump to and fro, up to three times in all.
fn clock_jumps(random: &mut Random, nodes: u64) -> Vec<Fault> {
    let jumps = if one_in(random, 3) { 1 + random.below(3) } else { 0 };
    let node = one_in(random, 2).then(|| u32::try_from(random.below(nodes)).unwrap_or(0));
    let mut back = one_in(random, 2);
    let jump = |_| {
        back = !back;
        let millis = i64::try_from(1 + random.below(100_000)).unwrap_or(1);
        Fault {
            kind: FaultKind::ClockJump(if back { -millis } else { millis }),
            node,
            from: Moment(random.below(FAULTS_UNTIL)),
            lasts: Span::secs(1),
        }
    };
    (0..jumps).map(jump).collect()
}
