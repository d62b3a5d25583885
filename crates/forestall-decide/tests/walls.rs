//! Where each wall stands, and what is left of it, by hand arithmetic: huge pages, protected memory, limits of pods and QoS
//! levels, and what the kubelet counts otherwise than the kernel.

use forestall_decide::{
    Bytes, Engine, GroupId, GroupKind, GroupSample, Input, Limit, Moment, NodeSample, Policy, Qos, Sample,
    WallKind,
};

const KUBEPODS: usize = 0;
const LEVEL: usize = 1;
const POD: usize = 2;
const LEAF: usize = 3;
const NEIGHBOUR: usize = 4;

/// 10,000 MiB, 6,000 of them available; `kubepods` with 5,000, in it a QoS level, a pod and two containers. The first holds
/// 700 MiB anonymous and 300 of cache, the second 500 of cache.
fn node() -> Sample {
    let group = |id, parent, kind, anon, file| GroupSample {
        id: GroupId(id),
        parent,
        kind,
        leaf: matches!(kind, GroupKind::Container(_)),
        populated: true,
        current: Bytes::mebi(anon + file),
        anon: Bytes::mebi(anon),
        active_file: Bytes::mebi(file),
        ..GroupSample::default()
    };
    let qos = Qos::Guaranteed;
    let mut groups = vec![
        group(1, None, GroupKind::Kubepods, 700, 800),
        group(2, Some(0), GroupKind::Qos(qos), 700, 800),
        group(3, Some(1), GroupKind::Pod(qos), 700, 800),
        group(4, Some(2), GroupKind::Container(qos), 700, 300),
        group(5, Some(2), GroupKind::Container(qos), 0, 500),
    ];
    groups[KUBEPODS].limit = Limit::Bytes(Bytes::mebi(5000));
    Sample {
        node: NodeSample {
            total: Bytes::mebi(10_000),
            free: Bytes::mebi(5500),
            available: Bytes::mebi(6000),
            anon: Bytes::mebi(3700),
            cached: Bytes::mebi(800),
            active_file: Bytes::mebi(800),
            kubelet_present: true,
            cpus: 2,
            ..NodeSample::default()
        },
        groups,
        processes: Vec::new(),
    }
}

/// Every wall: which, whose, its limit and what is left of it, in MiB.
fn walls(sample: &Sample) -> Vec<(WallKind, Option<u64>, u64, u64)> {
    let mut engine = Engine::new(Policy::default());
    let decision = engine.step(Moment(1_000_000), Input::Sample(sample));
    let readings = decision.readings.iter();
    readings
        .map(|reading| {
            let limit = reading.limit.bytes().unwrap_or_default();
            let scope = reading.scope.map(|scope| scope.0);
            (reading.wall, scope, limit.0 >> 20, reading.distance.0 >> 20)
        })
        .collect()
}

#[test]
fn each_keeper_counts_its_own() {
    let expected = [
        (WallKind::Kernel, None, 10_000, 6000),
        // The kernel would give the cache back …
        (WallKind::Kubepods, Some(1), 5000, 4300),
        // … and the kubelet counts it as used: 10,000 − 4,500 and 5,000 − 1,500, each less 100.
        (WallKind::KubeletNode, None, 9900, 5400),
        (WallKind::KubeletAllocatable, Some(1), 4900, 3400),
    ];
    assert_eq!(walls(&node()), expected);
}

#[test]
fn huge_pages_are_nobodys_memory_and_the_kubelet_does_not_see_them() {
    let mut sample = node();
    sample.node.hugetlb = Bytes::mebi(6000);
    sample.node.free = Bytes::mebi(300);
    sample.node.available = Bytes::mebi(700);
    sample.node.anon = Bytes::mebi(2900);
    let expected = [
        // 4,000 can be given to anybody, and a limit of 5,000 is beyond that.
        (WallKind::Kernel, None, 4000, 700),
        // The kubelet reads 10,000 − 3,700: full of memory, while 700 are left.
        (WallKind::KubeletNode, None, 9900, 6200),
        (WallKind::KubeletAllocatable, Some(1), 4900, 3400),
    ];
    assert_eq!(walls(&sample), expected);
}

#[test]
fn protected_cache_is_left_neither_to_the_machine_nor_to_the_levels_above() {
    let mut sample = node();
    // Without protection all the way up the machine may take it; kubepods may not, whose own level does not count.
    sample.groups[LEVEL].min = Bytes::mebi(1300);
    sample.groups[POD].min = Bytes::mebi(1300);
    sample.groups[LEAF].min = Bytes::mebi(900);
    sample.groups[NEIGHBOUR].min = Bytes::mebi(400);
    let left = |sample: &Sample| -> Vec<u64> { walls(sample).iter().map(|wall| wall.3).collect() };
    // The first container's 900 hold 700 anonymous and 200 of its cache, the neighbour's 400 as much of its own: 600 kept.
    assert_eq!(left(&sample), [6000, 4300 - 600, 5400, 3400]);
    sample.groups[KUBEPODS].min = Bytes::mebi(1300);
    assert_eq!(left(&sample), [6000 - 600, 4300 - 600, 5400, 3400]);
    // Children cannot keep more than their parent: 250 at the QoS level, which the 700 anonymous use up by themselves.
    sample.groups[LEVEL].min = Bytes::mebi(250);
    assert_eq!(left(&sample), [6000 - 600, 4300 - 250, 5400, 3400]);
    // At the pod's own limit the pod's protection says nothing, its containers' does.
    sample.groups[POD].limit = Limit::Bytes(Bytes::mebi(2000));
    let pod = walls(&sample).into_iter().find(|wall| wall.0 == WallKind::Pod);
    assert_eq!(pod, Some((WallKind::Pod, Some(3), 2000, 2000 - 700 - 600)));
    // And at a container's own, nothing.
    sample.groups[NEIGHBOUR].limit = Limit::Bytes(Bytes::mebi(600));
    let own = walls(&sample).pop();
    assert_eq!(own, Some((WallKind::Container, Some(5), 600, 600)));
}

#[test]
fn a_limit_for_a_pod_as_a_whole_is_a_wall_and_so_is_one_of_a_qos_level() {
    let mut sample = node();
    // resources.limits.memory of the pod itself, and of its two containers only one has any.
    sample.groups[POD].limit = Limit::Bytes(Bytes::mebi(1600));
    sample.groups[LEAF].limit = Limit::Bytes(Bytes::mebi(1000));
    sample.groups[LEVEL].limit = Limit::Bytes(Bytes::mebi(3000));
    let expected = [
        (WallKind::Kernel, None, 10_000, 6000),
        (WallKind::Kubepods, Some(1), 5000, 4300),
        (WallKind::Kubepods, Some(2), 3000, 2300),
        (WallKind::KubeletNode, None, 9900, 5400),
        (WallKind::KubeletAllocatable, Some(1), 4900, 3400),
        (WallKind::Pod, Some(3), 1600, 900),
        (WallKind::Container, Some(4), 1000, 300),
    ];
    assert_eq!(walls(&sample), expected);
}

#[test]
fn swap_makes_the_kernels_walls_farther_and_not_the_kubelets() {
    let mut sample = node();
    sample.node.swap_total = Bytes::mebi(1000);
    sample.node.swap_free = Bytes::mebi(1000);
    // NoSwap: the kubelet gives no container any, so that only the host's 3,000 may go, and 1,000 of them fit.
    for group in &mut sample.groups {
        if group.leaf {
            group.swap_limit = Limit::Bytes(Bytes::ZERO);
        }
    }
    let left = |sample: &Sample| -> Vec<u64> { walls(sample).iter().map(|wall| wall.3).collect() };
    assert_eq!(left(&sample), [7000, 4300, 5400, 3400]);
    // LimitedSwap: 200 for the first container.
    sample.groups[LEAF].swap_limit = Limit::Bytes(Bytes::mebi(200));
    assert_eq!(left(&sample), [7000, 4500, 5400, 3400]);
    // zswap keeps half of it in memory, as long as its pool of 300 MiB takes it.
    sample.node.zswap_room = Bytes::mebi(300);
    assert_eq!(left(&sample), [6700, 4400, 5400, 3400]);
}
