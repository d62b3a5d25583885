//! Walls that most nodes do not have, or not there: the limits of QoS levels, what `memory.min` keeps, swap.

use forestall_decide::{Bytes, WallKind};
use forestall_sim::What;

use super::{deaths, run, run_with_curve, scenario};

#[test]
fn a_qos_levels_limit_kills_within_the_level_while_the_node_has_room() {
    let mut scenario = scenario("qos-level-limit.yaml");
    // An agent ends the same one earlier, at the same wall.
    let guarded = deaths(&run(&scenario));
    let (name, wall, at) = &guarded[0];
    assert_eq!((name.as_str(), *wall), ("batch-0/batch", None));
    assert!((40..=66).contains(at), "{guarded:?}");
    scenario.world.policy = None;
    let report = run_with_curve(&scenario);
    // (4096 − 2048 − 512 − 200) MiB at 20 MiB/s: 66.8 s.
    let deaths = deaths(&report);
    let first = ("batch-0/batch".to_owned(), Some(WallKind::Kubepods), 66);
    assert_eq!(deaths, [first]);
    // 4096 − 300 − 400 − 1536 MiB are free, and the kernel's reserve of 99 is not counted as available.
    let rows = report.curves.nodes[0].rows.iter();
    let least = rows.map(|row| row.kernel_available).min().expect("rows");
    assert!(least.0.abs_diff(Bytes::mebi(1761).0) < 2 << 20, "{least:?}");
    let killed = report.events.iter().find_map(|event| match &event.what {
        What::KernelKilled { scope, .. } => Some(*scope),
        _ => None,
    });
    assert!(killed.flatten().is_some(), "it was the level's limit");
}

#[test]
fn what_memory_min_keeps_stays_while_the_leak_beside_it_dies() {
    let mut scenario = scenario("memory-min.yaml");
    let (name, wall, ended) = deaths(&run(&scenario)).remove(0);
    assert_eq!((name.as_str(), wall), ("leak-0/app", None));
    scenario.world.policy = None;
    let report = run_with_curve(&scenario);
    let (name, wall, killed) = deaths(&report).remove(0);
    assert_eq!((name.as_str(), wall), ("leak-0/app", Some(WallKind::Kernel)));
    // (4096 − 66 − 1024) MiB at 32 MiB/s are 93.9 s; what is read back in between comes on top.
    assert!((92..=93).contains(&killed) && ended < killed, "{ended} {killed}");
    // Of what is kept MemAvailable lacks the low mark, 83 MiB, and 99 − 66 of what is free: 908 MiB.
    let rows = report.curves.nodes[0].rows.iter();
    let least = rows.map(|row| row.kernel_available).min().expect("rows");
    assert!(
        (Bytes::mebi(890)..=Bytes::mebi(960)).contains(&least),
        "{least:?}"
    );
}

#[test]
fn the_kubelets_share_of_swap_decides_who_dies_later() {
    let deaths = deaths(&run(&scenario("swap-limited.yaml")));
    // 1536 MiB at 10 MiB/s.
    let even = ("even-0/app".to_owned(), Some(WallKind::Container), 153);
    assert_eq!(deaths[0], even);
    let (name, wall, at) = &deaths[1];
    assert_eq!((name.as_str(), *wall), ("share-0/app", Some(WallKind::Container)));
    // 153.6 s, and (2048² − 1536²) / (2 × 1536 × 10) = 59.7 s for what lies in swap, and up to a batch of 96 MiB at its pace.
    assert!((213..=223).contains(at), "{deaths:?}");
}

#[test]
fn what_a_pod_requests_itself_keeps_it_from_eviction_and_its_limit_alone_is_a_request() {
    let report = run(&scenario("pod-level.yaml"));
    let deaths = deaths(&report);
    let on = |name: &str| {
        let own = deaths.iter().filter(|(victim, ..)| victim.starts_with(name));
        own.cloned().collect::<Vec<_>>()
    };
    // 8192 − 500 − 2000 − 600 MiB at 20 MiB/s: 254.6 s, and up to ten until the kubelet looks.
    let small = on("small");
    assert!(
        small.len() == 1 && (254..=264).contains(&small[0].2),
        "{deaths:?}"
    );
    assert!(on("database").is_empty() && on("filler").is_empty(), "{deaths:?}");
    // (512 − 300) MiB at 4 MiB/s; of 312 and 200 MiB with one score the larger dies.
    assert_eq!(on("shop")[0], ("shop-0/app".to_owned(), Some(WallKind::Pod), 53));
}

#[test]
fn huge_pages_are_nobodys_memory_and_the_machine_is_full_earlier() {
    let killed = |hugepages: &str| {
        let text = format!(
            "title: huge\nduration: 3m\nnodes: [{{ name: a, memory: 4Gi, kubelet: {{ {hugepages} }} }}]\npods:\n  - name: p\n    \
             node: 0\n    containers: [{{ name: c, load: {{ leak: {{ rate: 32Mi/s }} }} }}]\n"
        );
        let deaths = deaths(&run(&forestall_sim::parse_scenario(&text).expect("fine")));
        (deaths[0].1, deaths[0].2)
    };
    // (4096 − 66) and (4096 − 1024 − 66) MiB at 32 MiB/s; the kubelet, which does not see them, would not evict before.
    assert_eq!(killed("evictionHard: 1Mi"), (Some(WallKind::Kernel), 125));
    assert_eq!(killed("hugepages: 1Gi"), (Some(WallKind::Kernel), 93));
}
