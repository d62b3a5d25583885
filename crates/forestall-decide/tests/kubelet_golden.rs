//! Known nodes, to the byte: the arithmetic and the evictions of the article on AKS nodes ("Standard_DS2_v2", 7120616 Ki),
//! in its two configurations.

use forestall_decide::kubelet::{
    Candidate, KubeletConfig, Manager, Observation, Reading, Signal, ThresholdTexts, Verdict,
};
use forestall_decide::{Bytes, Moment, PodUid, Span};

const KIB: u64 = 1 << 10;
const CAPACITY: Bytes = Bytes(7_120_616 * KIB);
const KUBEPODS_LIMIT: Bytes = Bytes(5_573_943_296);

/// `kube-reserved=memory=1638Mi`, no system reservation, `enforceNodeAllocatable: [pods]`.
fn node(eviction_hard: &str) -> KubeletConfig {
    let mut config = KubeletConfig {
        capacity: CAPACITY,
        kube_reserved: Bytes::mebi(1638),
        ..KubeletConfig::default()
    };
    let texts = ThresholdTexts {
        hard: Some(eviction_hard),
        ..ThresholdTexts::default()
    };
    config.set_thresholds(&texts).expect("a plain threshold");
    config
}

/// Both signals at these working sets.
fn observed(root: Bytes, pods: Bytes, at: Moment) -> Observation {
    Observation {
        memory: Some(Reading {
            available: CAPACITY - root,
            capacity: CAPACITY,
            at,
        }),
        allocatable: Some(Reading {
            available: KUBEPODS_LIMIT - pods,
            capacity: KUBEPODS_LIMIT,
            at,
        }),
    }
}

fn pod(uid: u128, working_set: Bytes) -> Candidate {
    Candidate {
        uid: PodUid(uid),
        priority: 0,
        request: Bytes::ZERO.into(),
        working_set: Some(working_set),
        critical: false,
        grace: Span::secs(30),
    }
}

/// What a first look at these working sets does: the threshold's signal and the victim.
fn evicts(
    config: KubeletConfig,
    root: Bytes,
    pods: Bytes,
    candidates: &[Candidate],
) -> Option<(Signal, u128)> {
    let mut manager = Manager::new(config, Moment(0));
    let sync = manager.sync(Moment(0), &observed(root, pods, Moment(0)), candidates, |_| 0);
    match sync.verdict {
        Verdict::Evict(eviction) => Some((eviction.threshold.signal, eviction.victim.0)),
        _ => None,
    }
}

#[test]
fn capacity_allocatable_and_limit_come_out_to_the_kibibyte() {
    assert_eq!(CAPACITY, Bytes(7_291_510_784));
    let allocatable = |hard| node(hard).allocatable().0 / KIB;
    assert_eq!(allocatable("750Mi"), 4_675_304);
    assert_eq!(allocatable("1000Mi"), 4_419_304);
    for hard in ["750Mi", "1000Mi"] {
        assert_eq!(node(hard).kubepods_limit(), KUBEPODS_LIMIT);
        assert_eq!(node(hard).allocatable().0 % KIB, 0);
    }
    // 65.66 % and 62.06 % of the machine.
    let hundredths = |hard| (node(hard).allocatable().0 * 10_000 + CAPACITY.0 / 2) / CAPACITY.0;
    assert_eq!((hundredths("750Mi"), hundredths("1000Mi")), (6566, 6206));
}

#[test]
fn pods_are_evicted_one_byte_above_allocatable_and_not_at_it() {
    // 4565.73 MiB and 4315.73 MiB: working sets of `kubepods` at which allocatable is used up.
    for (hard, kibibytes) in [("750Mi", 4_675_304), ("1000Mi", 4_419_304)] {
        let level = Bytes(kibibytes * KIB);
        let pods = [pod(1, level)];
        assert_eq!(evicts(node(hard), level, level, &pods), None, "{hard}");
        let above = level + Bytes(1);
        let expected = Some((Signal::AllocatableMemoryAvailable, 1));
        assert_eq!(evicts(node(hard), level, above, &pods), expected, "{hard}");
    }
}

#[test]
fn the_machine_evicts_above_6203_and_5953_mebibytes() {
    for (hard, mebibytes, threshold) in [("750Mi", 6203, 750), ("1000Mi", 5953, 1000)] {
        let level = CAPACITY - Bytes::mebi(threshold);
        assert_eq!(level.0 >> 20, mebibytes);
        let pods = [pod(1, Bytes::mebi(100))];
        assert_eq!(evicts(node(hard), level, Bytes::mebi(100), &pods), None);
        let expected = Some((Signal::MemoryAvailable, 1));
        let above = level + Bytes(1);
        assert_eq!(evicts(node(hard), above, Bytes::mebi(100), &pods), expected);
    }
}

#[test]
fn the_pod_that_allocates_is_evicted_before_those_at_200_mebibytes() {
    // Its own message: 4694576 Ki, which is 18.8 MiB above what allocatable allows to all.
    let leaking = Bytes(4_694_576 * KIB);
    let pods = [
        pod(1, Bytes::mebi(200)),
        pod(2, leaking),
        pod(3, Bytes::mebi(180)),
    ];
    let expected = Some((Signal::AllocatableMemoryAvailable, 2));
    assert_eq!(evicts(node("750Mi"), leaking, leaking, &pods), expected);
    assert_eq!((leaking - node("750Mi").allocatable()).0 / KIB, 19_272);
}

#[test]
fn old_figures_can_name_the_wrong_pod() {
    // Evicted 12 s after its start with 54852 Ki to its name: the figure was from before it allocated 4600 MiB. Another
    // pod with more than that in the kubelet's old figures would have gone in its place.
    let believed = Bytes(54_852 * KIB);
    let total = Bytes::mebi(4800);
    let pods = [pod(1, believed), pod(2, Bytes::mebi(53))];
    let expected = |uid| Some((Signal::AllocatableMemoryAvailable, uid));
    assert_eq!(evicts(node("750Mi"), total, total, &pods), expected(1));
    let pods = [pod(1, believed), pod(2, Bytes::mebi(54))];
    assert_eq!(evicts(node("750Mi"), total, total, &pods), expected(2));
}

#[test]
fn pressure_lasts_five_minutes_and_up_to_two_looks() {
    // "Insufficient 6m3s ago, Sufficient 50s ago": 5 min 13 s from the first crossing to its end. The first look evicts, the
    // next one comes when the victim is cleaned up, three seconds later, and still sees too little; then every ten.
    let mut manager = Manager::new(node("750Mi"), Moment(0));
    let pods = [pod(1, Bytes::mebi(4700))];
    let mut ends = None;
    let looks = [0, 3].into_iter().chain((1..40).map(|look| 3 + 10 * look));
    for secs in looks {
        let at = Moment(secs * 1_000_000);
        let used = Bytes::mebi(if secs < 13 { 4700 } else { 4000 });
        let sync = manager.sync(at, &observed(used, used, at), &pods, |_| 0);
        if !sync.pressure && ends.is_none() {
            ends = Some(secs);
        }
    }
    assert_eq!(ends, Some(303));
    // Seen once more at 13 s it is 313: the article's figure.
    let mut manager = Manager::new(node("750Mi"), Moment(0));
    let end = (0..40).map(|look| 3 + 10 * look).find(|secs| {
        let at = Moment(secs * 1_000_000);
        let used = Bytes::mebi(if *secs <= 13 { 4700 } else { 4000 });
        !manager.sync(at, &observed(used, used, at), &pods, |_| 0).pressure
    });
    assert_eq!(end, Some(313));
}
