//! `Engine::step` over 256 containers in 110 pods that Kubernetes knows: with hardly a change, with every figure changed,
//! with a wall so near that everybody is ranked, and with the kubelet's next step forecast as well. Criterion prints means of
//! batches by the clock on the wall; the line before is the median and the p99 of single steps, in time on a processor.
//!
//! With `--judged` it only prints the line that `cargo xtask bench` judges, `step median p99 copy copy_best` in nanoseconds: the
//! median of a step with hardly a change, the p99 of one with every figure changed, and what it takes to copy the sample, in
//! the middle and in the best of the rounds: it is always the same work, so what it takes longer is somebody else's doing.

use std::hint::black_box;

use criterion::{Criterion, criterion_group};
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

/// Single steps of each round, and rounds that are judged.
const STEPS: usize = 10_000;
const ROUNDS: usize = 20;

/// Nanoseconds that `work` takes on a processor, again and again, in order of size.
fn time(count: usize, mut work: impl FnMut()) -> Vec<i64> {
    let mut took: Vec<i64> = (0..count)
        .map(|_| {
            let start = cpu_nanos();
            work();
            cpu_nanos() - start
        })
        .collect();
    took.sort_unstable();
    took
}

fn at_permille(sorted: &[i64], permille: usize) -> i64 {
    sorted[(sorted.len() - 1) * permille / 1000]
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
        let took = time(STEPS, || node.step(changed));
        let at = |permille| {
            let hundredths = at_permille(&took, permille) / 10;
            format!("{}.{:02} µs", hundredths / 100, hundredths % 100)
        };
        println!("{name}: median {}, p99 {}", at(500), at(990));
        criterion.bench_function(name, |bencher| bencher.iter(|| node.step(changed)));
    }
}

/// Rounds in turn, so that whatever disturbs one kind of work disturbs the other; of each kind the round in the middle.
fn judge() {
    const FEW: usize = 3;
    let every = usize::try_from(CONTAINERS).expect("few");
    let far = Bytes::mebi(20_000);
    let (mut few, mut all) = (Node::new(far, false), Node::new(far, false));
    let (from, mut to) = (sample(far), Sample::default());
    let (mut medians, mut tails, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let steps = STEPS / ROUNDS;
        medians.push(at_permille(&time(steps, || few.step(FEW)), 500));
        tails.push(at_permille(&time(steps, || all.step(every)), 990));
        let copy = || black_box(&mut to).clone_from(black_box(&from));
        copies.push(at_permille(&time(steps, copy), 500));
    }
    for rounds in [&mut medians, &mut tails, &mut copies] {
        rounds.sort_unstable();
    }
    let middle = |rounds: &[i64]| at_permille(rounds, 500);
    let (median, p99, copy) = (middle(&medians), middle(&tails), middle(&copies));
    println!("step {median} {p99} {copy} {}", copies[0]);
}

criterion_group!(benches, measure);

fn main() {
    if std::env::args().any(|argument| argument == "--judged") {
        return judge();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
