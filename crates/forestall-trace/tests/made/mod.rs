//! Inputs made up: anything a recorder might be given, and a written trace of it.

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, SwapBehavior, Threshold};
use forestall_decide::{
    ActionId, Asks, Bytes, Cluster, Elsewhere, GroupId, GroupKind, GroupSample, Input, Limit, LimitHits,
    Mode, Moment, NodeSample, Origin as PodOrigin, Outcome, OutcomeKind, Owner, Pod, PodContainer, PodUid,
    Pods, Policy, ProcessId, ProcessSample, Protection, Qos, Rung, Rungs, Sample, Span, Stall, Standing,
};
use forestall_trace::{Encoder, Item, Names, Origin, Reader};
use proptest::prelude::*;

/// An input that owns what it says.
#[derive(Clone, Debug)]
pub(crate) enum Owned {
    Sample(Box<Sample>),
    Outcome(Outcome),
    Policy(Policy),
    Pods(Pods),
    Kubelet(KubeletConfig),
    Lost(u64),
    Segment,
}

fn figure() -> impl Strategy<Value = u64> {
    prop_oneof![6 => (0_u64..1000).prop_map(|pages| pages * 4096), 2 => 0_u64..5000, 1 => any::<u64>()]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        Just(Limit::Max),
        figure().prop_map(|bytes| Limit::Bytes(Bytes(bytes)))
    ]
}

fn stall() -> impl Strategy<Value = Option<Stall>> {
    proptest::option::of(figure().prop_map(|some| Stall {
        some_micros: some,
        full_micros: some / 3,
    }))
}

fn limit_hits() -> impl Strategy<Value = LimitHits> {
    prop_oneof![
        Just(LimitHits::Unknown),
        (figure(), figure()).prop_map(|(own, within)| LimitHits::Ooms { own, within }),
        figure().prop_map(LimitHits::Failures),
    ]
}

fn kind() -> impl Strategy<Value = GroupKind> {
    prop_oneof![
        Just(GroupKind::Kubepods),
        Just(GroupKind::Qos(Qos::BestEffort)),
        Just(GroupKind::Pod(Qos::Burstable)),
        Just(GroupKind::Container(Qos::Guaranteed)),
        Just(GroupKind::Host),
    ]
}

fn protection() -> impl Strategy<Value = Option<Protection>> {
    prop_oneof![
        Just(None),
        Just(Some(Protection::Pause)),
        Just(Some(Protection::OptedOut))
    ]
}

prop_compose! {
    fn group()(
        id in 0_u64..9, parent in proptest::option::of(0_u32..5), kind in kind(), switches in any::<(bool, bool)>(),
        protection in protection(), limits in (limit(), limit()), figures in proptest::collection::vec(figure(), 12),
        stall in stall(), limit_hits in limit_hits(),
    ) -> GroupSample {
        let bytes = |at: usize| Bytes(figures[at]);
        GroupSample {
            id: GroupId(id << 33 | id), parent, kind, leaf: switches.0, populated: switches.1, protection,
            limit: limits.0, min: bytes(9), current: bytes(0), anon: bytes(1), shmem: bytes(2), active_file: bytes(3),
            inactive_file: bytes(4), dirty: bytes(5), writeback: bytes(6), unevictable: bytes(7),
            slab_reclaimable: bytes(8), swap_current: bytes(9), swap_limit: limits.1, stall,
            refault_file_pages: figures[10], oom_kills: figures[11], limit_hits,
        }
    }
}

prop_compose! {
    fn node()(figures in proptest::collection::vec(figure(), 27), switches in any::<(bool, bool, bool)>(), stall in stall(), cpus in any::<u32>(), processor in proptest::option::of(figure().prop_map(Span))) -> NodeSample {
        let bytes = |at: usize| Bytes(figures[at]);
        NodeSample {
            total: bytes(0), free: bytes(1), available: bytes(2), cached: bytes(3), buffers: bytes(4), anon: bytes(5),
            shmem: bytes(6), active_file: bytes(7), inactive_file: bytes(8), dirty: bytes(9), writeback: bytes(10),
            unevictable: bytes(11), slab_reclaimable: bytes(12), slab_unreclaimable: bytes(13),
            kernel_stack: bytes(14), page_tables: bytes(15), percpu: bytes(16), hugetlb: bytes(17),
            swap_total: bytes(18), swap_free: bytes(19), swap_is_zram: switches.0, watermark_min: bytes(20),
            watermark_high: bytes(21), stall, refault_file_pages: figures[22], oom_kills: figures[23],
            lru: if switches.1 { forestall_decide::Lru::MultiGen } else { forestall_decide::Lru::Classic },
            kubelet_present: switches.2, kubelet_heard_at: Moment(figures[24]),
            zswap_room: bytes(24), cpus, wake_late: Span(figures[25]), sample_cost: Span(figures[26]),
            sample_processor: processor,
        }
    }
}

fn process() -> impl Strategy<Value = ProcessSample> {
    (
        0_u32..5,
        figure(),
        0_u64..3,
        proptest::option::of(any::<u64>()),
        protection(),
    )
        .prop_map(|(pid, bytes, read_at, group, protection)| ProcessSample {
            id: ProcessId {
                pid,
                start_ticks: u64::from(pid) * 7,
            },
            group: group.map(GroupId),
            unreclaimable: Bytes(bytes),
            read_at: Moment(read_at * 1_000_000),
            protection,
        })
}

fn sample() -> impl Strategy<Value = Sample> {
    let groups = proptest::collection::vec(group(), 0..7);
    (node(), groups, proptest::collection::vec(process(), 0..4)).prop_map(|(node, groups, processes)| {
        Sample {
            node,
            groups,
            processes,
        }
    })
}

fn pods() -> impl Strategy<Value = Pods> {
    (
        0_u64..9,
        proptest::collection::vec(any::<(u128, i32, bool, u32)>(), 0..3),
        0_u8..3,
    )
        .prop_map(|(told_at, list, elsewhere)| Pods {
            told_at: Moment(told_at),
            list: list
                .into_iter()
                .map(|(uid, priority, on, count)| pod(uid, priority, on, count))
                .collect(),
            cluster: Cluster {
                api: told_at > 2,
                eviction_tokens: (told_at > 4).then_some(3),
                elsewhere: match elsewhere {
                    0 => Elsewhere::Unknown,
                    1 => Elsewhere::Room(Bytes(told_at)),
                    _ => Elsewhere::Nowhere,
                },
            },
            kubelet_evictions: told_at * 3,
        })
}

pub(crate) fn pod(uid: u128, priority: i32, on: bool, count: u32) -> Pod {
    Pod {
        uid: PodUid(uid),
        group: on.then_some(GroupId(77)),
        namespace: "shop".into(),
        name: "größe-1".into(),
        labels: vec![("app".into(), "db".into()), ("tier".into(), "".into())],
        qos: Qos::Guaranteed,
        priority,
        priority_class: "high".into(),
        request: Bytes(u64::from(count)),
        standing: Standing {
            vetoed: on,
            weight: priority,
        },
        owner: if on { Owner::DaemonSet } else { Owner::Controller },
        origin: if on { PodOrigin::Static } else { PodOrigin::Api },
        grace: Span::secs(30),
        terminating_since: on.then_some(Moment(u64::from(count))),
        memory_volumes: Bytes(5),
        asks: Asks {
            opted_out: on,
            final_eviction: !on,
            warning: on.then_some(Span(7)),
            growth: on.then_some(Bytes(11)),
            preference: priority,
        },
        containers: vec![PodContainer {
            group: GroupId(78),
            request: Bytes(1),
            limit: if on { Limit::Max } else { Limit::Bytes(Bytes(9)) },
            restarts: count,
        }],
    }
}

fn kubelet() -> impl Strategy<Value = KubeletConfig> {
    (figure(), any::<bool>()).prop_map(|(bytes, on)| KubeletConfig {
        source: ConfigSource::Configz,
        capacity: Bytes(bytes),
        kube_reserved: Bytes(1),
        system_reserved: Bytes(2),
        hugepages: Bytes(3),
        enforces_pods: on,
        thresholds: vec![Threshold {
            signal: Signal::AllocatableMemoryAvailable,
            value: Bytes(bytes / 2),
            grace: Span(4),
            min_reclaim: Bytes(5),
        }],
        pressure_transition: Span(6),
        pod_grace_max: Span(7),
        single_process_oom_kill: on,
        swap: SwapBehavior::LimitedSwap,
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (any::<u64>(), 0_u8..6, any::<i32>()).prop_map(|(number, kind, errno)| Outcome {
        action: ActionId(number),
        rung: Rung::Kill,
        kind: match kind {
            0 => OutcomeKind::Progress,
            1 => OutcomeKind::Done,
            2 => OutcomeKind::NoEffect,
            3 => OutcomeKind::Gone,
            4 => OutcomeKind::Vetoed,
            _ => OutcomeKind::Failed(errno),
        },
        freed: Bytes(number / 3),
        took: Span(number / 5),
        rest: Span(number / 7),
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    (figure(), any::<bool>()).prop_map(|(number, on)| Policy {
        mode: Mode::Enforce,
        rungs: Rungs::all().with(Rung::Kill, on),
        culprit_share_permille: number,
        kubelet_eviction_hard: Bytes(number),
        ..Policy::default()
    })
}

/// An input and how much later than the one before it comes; the clock may jump.
pub(crate) fn input() -> impl Strategy<Value = (i32, Owned)> {
    let what = prop_oneof![
        12 => sample().prop_map(|sample| Owned::Sample(Box::new(sample))),
        2 => outcome().prop_map(Owned::Outcome),
        1 => policy().prop_map(Owned::Policy),
        2 => pods().prop_map(Owned::Pods),
        1 => kubelet().prop_map(Owned::Kubelet),
        1 => (1_u64..5).prop_map(Owned::Lost),
        1 => Just(Owned::Segment),
    ];
    (any::<i32>(), what)
}

/// What a reader should say: one line each, so that everything counts.
pub(crate) fn line(at: Moment, recorded: Input<'_>) -> String {
    format!("{} {recorded:?}", at.0)
}

/// Writes a trace in segments; the lines are what is to be read from it.
pub(crate) fn write(inputs: &[(i32, Owned)]) -> (Vec<Vec<u8>>, Vec<String>) {
    let origin = Origin {
        run: 42,
        node: "node-1".into(),
        ..Origin::default()
    };
    let mut encoder = Encoder::new(origin, Policy::default());
    let mut at = Moment(1 << 40);
    let mut segments = vec![Vec::new()];
    let mut lines = Vec::new();
    encoder.open_segment(at, 1_790_000_000_000_000, &mut segments[0]);
    for (later, owned) in inputs {
        at = Moment(at.0.saturating_add_signed(i64::from(*later)));
        let recorded = match owned {
            Owned::Segment => {
                segments.push(Vec::new());
                let out = segments.last_mut().expect("just pushed");
                encoder.open_segment(at, 1_790_000_000_000_000 + at.0, out);
                continue;
            }
            Owned::Lost(count) => {
                encoder.lost(*count, segments.last_mut().expect("there is one"));
                lines.push(format!("lost {count}"));
                continue;
            }
            Owned::Sample(sample) => Input::Sample(sample),
            Owned::Outcome(outcome) => Input::Outcome(outcome),
            Owned::Policy(policy) => Input::Policy(policy),
            Owned::Pods(pods) => Input::Pods(pods),
            Owned::Kubelet(config) => Input::KubeletConfig(config),
        };
        if let Owned::Sample(sample) = owned {
            let mut names = Names::default();
            for group in &sample.groups {
                names.name_group(group.id, format!("/kubepods/{}", group.id.0).as_bytes());
            }
            encoder.name(&names);
        }
        encoder.input(at, recorded, segments.last_mut().expect("there is one"));
        lines.push(line(at, recorded));
    }
    (segments, lines)
}

/// Reads a segment to its end and appends what it says.
pub(crate) fn read_segment(reader: &mut Reader<'_>, lines: &mut Vec<String>) {
    while let Some(item) = reader.read() {
        lines.push(match item {
            Item::Begin(begin) => format!("begin {:?} {}", begin.cause, begin.at.0),
            Item::Input(at, recorded) => line(at, recorded),
            Item::End => "end".to_owned(),
            Item::Lost(count) => format!("lost {count}"),
            Item::Unknown(kind) => format!("unknown {kind}"),
            Item::Damaged { bytes, .. } => format!("damaged {bytes}"),
            Item::Torn { bytes, .. } => format!("torn {bytes}"),
        });
    }
}
