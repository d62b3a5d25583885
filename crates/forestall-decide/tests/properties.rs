//! Whatever the engine is told, it does not panic, touches nobody who is protected or outside its rules, and looks again
//! in time. Sequences of arbitrary samples, outcomes and clock jumps.

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, Threshold};
use forestall_decide::{
    Action, ActionId, Bytes, BytesPerSecond, CRITICAL_PRIORITY, Cluster, Elsewhere, Engine, GroupId,
    GroupKind, GroupSample, Ignored, Input, Limit, Mode, Moment, NodeSample, Outcome, OutcomeKind, Owner,
    Pod, PodUid, Pods, Policy, ProcessId, ProcessSample, Protection, Qos, Rung, Rungs, Sample, Span, Stall,
    Standing, Target, WallKind,
};
use proptest::prelude::*;

/// Small figures mostly, so that walls are really met; sometimes anything at all.
fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => (0_u64..600).prop_map(Bytes::mebi), 1 => any::<u64>().prop_map(Bytes)]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![1 => Just(Limit::Max), 3 => bytes().prop_map(Limit::Bytes)]
}

fn protection() -> impl Strategy<Value = Option<Protection>> {
    prop_oneof![3 => Just(None), 1 => Just(Some(Protection::NodeAgent)), 1 => Just(Some(Protection::StaticPod))]
}

fn kind() -> impl Strategy<Value = GroupKind> {
    prop_oneof![
        1 => Just(GroupKind::Kubepods),
        1 => Just(GroupKind::Qos(Qos::Burstable)),
        1 => Just(GroupKind::Pod(Qos::BestEffort)),
        4 => Just(GroupKind::Container(Qos::Burstable)),
        1 => Just(GroupKind::Host),
    ]
}

prop_compose! {
    fn group()(
        id in 0_u64..12, parent in proptest::option::of(0_u32..8), kind in kind(), leaf in any::<bool>(),
        populated in any::<bool>(), protection in protection(), limit in limit(), current in bytes(), anon in bytes(),
        file in bytes(), swap in bytes(), stall in any::<u64>(), kills in 0_u64..3,
    ) -> GroupSample {
        GroupSample {
            id: GroupId(id), parent, kind, leaf, populated, protection, limit, current, anon,
            active_file: file, inactive_file: file,
            swap_current: swap, swap_limit: limit, min: swap,
            stall: Some(Stall { some_micros: stall, full_micros: stall / 2 }), oom_kills: kills,
            ..GroupSample::default()
        }
    }
}

prop_compose! {
    fn sample()(
        total in bytes(), free in bytes(), available in bytes(), anon in bytes(), swap in bytes(), zram in any::<bool>(),
        kills in 0_u64..3, kubelet in any::<bool>(), odd in proptest::bool::weighted(0.1), hugetlb in bytes(),
        (zswap, heard) in (bytes(), any::<u64>()), cost in 0_u64..200_000, processor in proptest::option::of(0_u64..200_000), late in 0_u64..2_000_000,
        groups in proptest::collection::vec(group(), 0..8),
        processes in proptest::collection::vec((0_u32..5, bytes(), protection()), 0..4),
    ) -> Sample {
        // Mostly a machine that may exist, else nothing would be believed.
        let part = |bytes: Bytes| if odd { bytes } else { bytes.min(total) };
        let (free, available, anon, hugetlb) = (part(free), part(available), part(anon), part(hugetlb));
        let node = NodeSample {
            total, free, available, anon, swap_total: swap, swap_free: swap, swap_is_zram: zram, oom_kills: kills,
            kubelet_present: kubelet, kubelet_heard_at: Moment(heard), zswap_room: zswap, hugetlb, cpus: 2, wake_late: Span(late), sample_cost: Span(cost), sample_processor: processor.map(Span), ..NodeSample::default()
        };
        let processes = processes.into_iter().map(|(pid, unreclaimable, protection)| ProcessSample {
            id: ProcessId { pid, start_ticks: 1 }, group: None, unreclaimable, read_at: Moment(0), protection,
        }).collect();
        Sample { node, groups, processes }
    }
}

prop_compose! {
    fn pod()(
        uid in any::<u128>(), group in proptest::option::of(0_u64..12), priority in any::<i32>(), request in bytes(),
        owner in prop_oneof![1 => Just(Owner::Nobody), 1 => Just(Owner::DaemonSet), 3 => Just(Owner::Controller)],
        grace in any::<u32>(), going in proptest::option::of(any::<u32>()), vetoed in any::<bool>(), weight in any::<i32>(),
        warning in proptest::option::of(any::<u32>()), growth in proptest::option::of(bytes()),
    ) -> Pod {
        let mut pod = Pod {
            uid: PodUid(uid), group: group.map(GroupId), priority, request, owner, grace: Span(u64::from(grace)),
            terminating_since: going.map(|at| Moment(u64::from(at))), standing: Standing { vetoed, weight },
            ..Pod::default()
        };
        pod.asks.warning = warning.map(|span| Span(u64::from(span)));
        pod.asks.growth = growth;
        pod
    }
}

prop_compose! {
    fn pods()(
        list in proptest::collection::vec(pod(), 0..8), api in any::<bool>(), tokens in proptest::option::of(0_u32..3),
        room in prop_oneof![Just(Elsewhere::Unknown), Just(Elsewhere::Nowhere), bytes().prop_map(Elsewhere::Room)],
        evicted in 0_u64..3,
    ) -> Pods {
        let cluster = Cluster { api, eviction_tokens: tokens, elsewhere: room };
        Pods { told_at: Moment(0), list, cluster, kubelet_evictions: evicted }
    }
}

prop_compose! {
    fn threshold()(allocatable in any::<bool>(), value in bytes(), grace in any::<u64>(), min_reclaim in bytes()) -> Threshold {
        let signal = if allocatable { Signal::AllocatableMemoryAvailable } else { Signal::MemoryAvailable };
        Threshold { signal, value, grace: Span(grace), min_reclaim }
    }
}

prop_compose! {
    fn config()(
        thresholds in proptest::collection::vec(threshold(), 0..4), capacity in bytes(), transition in any::<u64>(),
        grace in any::<u64>(), known in any::<bool>(),
    ) -> KubeletConfig {
        KubeletConfig {
            source: if known { ConfigSource::Configz } else { ConfigSource::Default },
            capacity, thresholds, pressure_transition: Span(transition), pod_grace_max: Span(grace),
            ..KubeletConfig::default()
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Look(u64, Box<Sample>),
    Tell(Pods),
    Configure(KubeletConfig),
    Answer(u64, u8, u64),
    Again,
    JumpBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u64..2_000_000, sample()).prop_map(|(later, sample)| Step::Look(later, Box::new(sample))),
        2 => pods().prop_map(Step::Tell),
        2 => (0_u64..6, any::<u8>(), any::<u64>()).prop_map(|(id, kind, took)| Step::Answer(id, kind, took)),
        1 => config().prop_map(Step::Configure),
        1 => Just(Step::Again),
        1 => Just(Step::JumpBack),
    ]
}

const fn outcome_kind(pick: u8) -> OutcomeKind {
    match pick % 7 {
        0 => OutcomeKind::Progress,
        1 => OutcomeKind::Done,
        2 => OutcomeKind::NoEffect,
        3 => OutcomeKind::Gone,
        4 => OutcomeKind::Vetoed,
        5 => OutcomeKind::Blocked,
        _ => OutcomeKind::Failed(1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_it_panic_or_break_a_rule(steps in proptest::collection::vec(step(), 1..60)) {
        let fill_rate = BytesPerSecond(100 << 20);
        let rungs = Rungs::all().with(Rung::Sysrq, false);
        let policy = Policy { mode: Mode::Enforce, fill_rate, rungs, ..Policy::default() };
        let mut engine = Engine::new(policy);
        let mut told = Pods::default();
        let (mut last, mut looked) = (Box::<Sample>::default(), false);
        let mut now = Moment(10_000_000);
        for step in &steps {
            match step {
                Step::Look(later, sample) => {
                    now = now + Span(*later);
                    check(&mut engine, now, sample, &policy, &told)?;
                    looked = !matches!(sample.node.total, Bytes::ZERO) && sample.node.impossible().is_none();
                    last.clone_from(sample);
                }
                Step::Tell(pods) => {
                    told = Pods { told_at: now, ..pods.clone() };
                    engine.step(now, Input::Pods(&told));
                }
                Step::Answer(id, kind, took) => {
                    let outcome = Outcome {
                        action: ActionId(*id), rung: Rung::Kill, kind: outcome_kind(*kind), freed: Bytes::ZERO,
                        took: Span(*took),
                        rest: Span(0),
                    };
                    engine.step(now, Input::Outcome(&outcome));
                }
                Step::Configure(config) => {
                    engine.step(now, Input::KubeletConfig(config));
                }
                Step::Again => {
                    // The same moment and the same sample once more: a duplicate.
                    let sample = last.clone();
                    let decision = engine.step(now, Input::Sample(&sample));
                    let said = decision.ignored.iter().any(|what| {
                        matches!(what, Ignored::SameMoment | Ignored::NoMachine | Ignored::ImpossibleMachine(_))
                    });
                    prop_assert!(!looked || said && decision.actions.is_empty());
                    looked = sample.node.impossible().is_none() && sample.node.total > Bytes::ZERO;
                }
                Step::JumpBack => {
                    now = Moment(now.0 / 2);
                    looked = false;
                }
            }
        }
    }
}

fn check(
    engine: &mut Engine,
    now: Moment,
    sample: &Sample,
    policy: &Policy,
    pods: &Pods,
) -> Result<(), TestCaseError> {
    let decision = engine.step(now, Input::Sample(sample));
    prop_assert!(decision.wake_in >= policy.tick_min);
    let believed = !decision.ignored.iter().any(|what| {
        matches!(
            what,
            Ignored::NoMachine | Ignored::ImpossibleMachine(_) | Ignored::SameMoment
        )
    });
    let cost = sample.node.sample_processor.unwrap_or(sample.node.sample_cost);
    prop_assert!(!believed || decision.wake_in <= policy.tick_idle.max(cost.times(8)));
    prop_assert!(believed || decision.actions.is_empty());
    if let Some(seen) = decision.kubelet {
        let crossing = seen.crossing.iter();
        for bounds in crossing.flat_map(|crossing| [crossing.crosses, crossing.acts]) {
            prop_assert!(
                bounds.earliest <= bounds.middle && bounds.middle <= bounds.latest,
                "{bounds:?}"
            );
        }
        prop_assert!(seen.frees_min <= seen.frees_max);
    }
    for action in decision.actions {
        let impossible = match action.target {
            Target::Group(id) => find(sample, id).current > sample.node.total + sample.node.swap_total,
            Target::Process(id) => sample.processes.iter().any(|process| {
                process.id == id && process.unreclaimable > sample.node.total + sample.node.swap_total
            }),
            Target::Node => false,
        };
        prop_assert!(
            !impossible || action.rung != Rung::Kill,
            "killed for figures that cannot be"
        );
    }
    for reading in decision.readings {
        prop_assert!(reading.runway.p10 <= reading.runway.p50 && reading.runway.p50 <= reading.runway.p90);
    }
    for action in decision.actions.iter().filter(|action| !action.escalate) {
        match action.rung {
            Rung::Reclaim => {}
            Rung::Kill => check_kill(action, sample, policy, pods)?,
            Rung::Evict => check_eviction(action, sample, pods)?,
            Rung::Brake | Rung::Warn | Rung::Grow => check_spared(action.target, sample, pods)?,
            Rung::Sysrq => prop_assert!(false, "nobody asked for it"),
        }
    }
    Ok(())
}

fn check_kill(action: &Action, sample: &Sample, policy: &Policy, pods: &Pods) -> Result<(), TestCaseError> {
    let reading = action.evidence.reading;
    prop_assert!(
        matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods),
        "killed at {:?}",
        reading.wall
    );
    if pods.list.is_empty() {
        let culprit = reading.culprit.expect("no kill without a culprit or knowledge");
        prop_assert!(culprit.share_permille >= policy.culprit_share_permille);
    }
    check_spared(action.target, sample, pods)?;
    match action.target {
        Target::Group(id) => {
            let group = find(sample, id);
            prop_assert!(group.protection.is_none() && group.populated);
            prop_assert!(!matches!(
                group.kind,
                GroupKind::Host | GroupKind::Kubepods | GroupKind::Qos(_)
            ));
        }
        Target::Process(id) => {
            let process = sample
                .processes
                .iter()
                .find(|process| process.id == id)
                .expect("it is there");
            prop_assert!(process.protection.is_none());
        }
        Target::Node => prop_assert!(false, "nobody in particular is killed"),
    }
    Ok(())
}

fn check_eviction(action: &Action, sample: &Sample, pods: &Pods) -> Result<(), TestCaseError> {
    prop_assert!(pods.cluster.api && pods.cluster.elsewhere != Elsewhere::Nowhere);
    prop_assert!(pods.cluster.eviction_tokens != Some(0));
    let Target::Group(id) = action.target else {
        return Err(TestCaseError::fail("only pods are evicted"));
    };
    let pod = pods.of_group(id).expect("a pod of ours");
    prop_assert!(pod.terminating_since.is_none());
    prop_assert!(find(sample, id).protection.is_none());
    check_spared(action.target, sample, pods)
}

/// Nobody is touched whose pod, as far as it is known, may not be.
fn check_spared(target: Target, sample: &Sample, pods: &Pods) -> Result<(), TestCaseError> {
    let Target::Group(id) = target else { return Ok(()) };
    let mut at = sample.groups.iter().position(|group| group.id == id);
    while let Some(index) = at {
        let group = &sample.groups[index];
        if let Some(pod) = pods.of_group(group.id) {
            let last = pod.owner == Owner::DaemonSet || pod.owner == Owner::Nobody;
            let critical = pod.priority >= CRITICAL_PRIORITY;
            prop_assert!(!pod.standing.vetoed && !critical && !last, "touched {pod:?}");
            return Ok(());
        }
        at = group
            .parent
            .map(|parent| parent as usize)
            .filter(|parent| *parent < index);
    }
    Ok(())
}

fn find(sample: &Sample, id: GroupId) -> &GroupSample {
    let mut groups = sample.groups.iter();
    groups.find(|group| group.id == id).expect("it is there")
}
