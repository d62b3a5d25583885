//! `Engine::step` over 256 containers in 110 pods that Kubernetes knows: with hardly a change, with every figure changed,
//! with a wall so near that everybody is ranked, and with the kubelet's next step forecast as well. Criterion prints means of
//! batches by the clock on the wall; the line before is the median and the p99 of single steps, in time on a processor.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use forestall_decide::kubelet::{ConfigSource, KubeletConfig};
use forestall_decide::{
    Bytes, Engine, GroupId, GroupKind, GroupSample, Input, Limit, Mode, Moment, NodeSample, Owner, Pod,
    PodUid, Pods, Policy, Qos, Rung, Rungs, Sample, Span,
};
use rustix::time::{ClockId, clock_gettime};

const CONTAINERS: u64 = 256;
const PODS: u64 = 110;
const TICK: Span = Span::millis(100);

/// The engine with its windows filled, and what it is fed.
struct Node {
    engine: Engine,
    sample: Sample,
    now: Moment,
    turn: u64,
}

impl Node {
    /// `left`: what is left of `kubepods`' limit. `kubelet`: there is one, and what it was told is known.
    fn new(left: Bytes, kubelet: bool) -> Self {
        let policy = Policy {
            mode: Mode::Shadow,
            rungs: Rungs::of(&[Rung::Reclaim, Rung::Evict, Rung::Kill]),
            ..Policy::default()
        };
        let mut node = Self {
            engine: Engine::new(policy),
            sample: sample(left),
            now: Moment(1_000_000),
            turn: 0,
        };
        node.sample.node.kubelet_present = kubelet;
        if kubelet {
            let config = KubeletConfig {
                source: ConfigSource::Configz,
                capacity: node.sample.node.total,
                ..KubeletConfig::default()
            };
            node.engine.step(node.now, Input::KubeletConfig(&config));
        }
        let pods = pods();
        for _ in 0..700 {
            if node.turn.is_multiple_of(100) {
                let told = Pods {
                    told_at: node.now,
                    ..pods.clone()
                };
                node.engine.step(node.now, Input::Pods(&told));
            }
            node.step(1);
        }
        node
    }

    /// One look at which `changed` containers hold something else than before.
    fn step(&mut self, changed: usize) {
        self.turn += 1;
        self.now = self.now + TICK;
        let swing = Bytes(4096 * (self.turn % 3));
        let leaves = self.sample.groups.iter_mut().filter(|group| group.leaf);
        for group in leaves.take(changed) {
            group.current = group.anon + swing;
        }
        let decision = self.engine.step(self.now, Input::Sample(&self.sample));
        black_box((decision.wake_in, decision.kubelet));
    }
}

fn sample(left: Bytes) -> Sample {
    let each = Bytes::mebi(100);
    let held = Bytes(each.0 * CONTAINERS);
    let mut groups = vec![GroupSample {
        id: GroupId(1),
        kind: GroupKind::Kubepods,
        populated: true,
        limit: Limit::Bytes(held + left),
        current: held,
        anon: held,
        ..GroupSample::default()
    }];
    let mut next = 0;
    for pod in 0..PODS {
        let at = u32::try_from(groups.len()).expect("few");
        // 256 in 110 pods: 36 with three and 74 with two.
        let count = if pod < CONTAINERS - 2 * PODS { 3 } else { 2 };
        groups.push(GroupSample {
            id: GroupId(10_000 + pod),
            parent: Some(0),
            kind: GroupKind::Pod(Qos::Burstable),
            populated: true,
            current: Bytes(each.0 * count),
            anon: Bytes(each.0 * count),
            ..GroupSample::default()
        });
        for _ in 0..count {
            next += 1;
            groups.push(GroupSample {
                id: GroupId(20_000 + next),
                parent: Some(at),
                kind: GroupKind::Container(Qos::Burstable),
                leaf: true,
                populated: true,
                limit: Limit::Bytes(Bytes::mebi(400)),
                current: each,
                anon: each,
                ..GroupSample::default()
            });
        }
    }
    assert_eq!(next, CONTAINERS);
    let total = held + left + Bytes::mebi(8_192);
    let node = NodeSample {
        total,
        free: total - held,
        available: total - held,
        anon: held,
        cpus: 8,
        ..NodeSample::default()
    };
    Sample {
        node,
        groups,
        processes: Vec::new(),
    }
}

fn pods() -> Pods {
    let pod = |pod| Pod {
        uid: PodUid(u128::from(pod) + 1),
        group: Some(GroupId(10_000 + pod)),
        owner: Owner::Controller,
        grace: Span::secs(30),
        ..Pod::default()
    };
    let mut pods = Pods {
        list: (0..PODS).map(pod).collect(),
        ..Pods::default()
    };
    pods.cluster.api = true;
    pods
}

/// Time of this thread on a processor, so that other work on the machine does not count.
fn cpu_nanos() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn measure(criterion: &mut Criterion) {
    let cases = [
        ("few changes, walls far", Bytes::mebi(20_000), 3, false),
        ("every figure changed, walls far", Bytes::mebi(20_000), 256, false),
        ("every figure changed, a wall near", Bytes::mebi(60), 256, false),
        (
            "few changes, and the kubelet forecast",
            Bytes::mebi(20_000),
            3,
            true,
        ),
        (
            "every figure changed, the kubelet evicts",
            Bytes::mebi(60),
            256,
            true,
        ),
    ];
    for (name, left, changed, kubelet) in cases {
        let mut node = Node::new(left, kubelet);
        let mut took: Vec<i64> = (0..10_000)
            .map(|_| {
                let start = cpu_nanos();
                node.step(changed);
                (cpu_nanos() - start) / 10
            })
            .collect();
        took.sort_unstable();
        let at = |permille: usize| {
            let hundredths = took[(took.len() - 1) * permille / 1000];
            format!("{}.{:02} µs", hundredths / 100, hundredths % 100)
        };
        println!("{name}: median {}, p99 {}", at(500), at(990));
        criterion.bench_function(name, |bencher| bencher.iter(|| node.step(changed)));
    }
}

criterion_group!(benches, measure);
criterion_main!(benches);
