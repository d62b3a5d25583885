//! What an eviction is put down to: page cache alone, or memory that nobody could have taken back.

use forestall_sim::{Options, Running, What, parse_scenario};

/// Whom the kubelet evicts, and whether for page cache alone.
fn evicted(kubelet: &str, pods: &str) -> Vec<(String, bool)> {
    let text = format!(
        "title: t\nduration: 10m\nnodes: [{{ name: w, memory: 4Gi, kubelet: {{ {kubelet} }} }}]\npods:\n{pods}"
    );
    let world = parse_scenario(&text).expect(&text).world;
    let mut running = Running::start(&world, Options::default()).expect("a sound world");
    let mut evicted = Vec::new();
    while running.go_on(&mut |event| {
        if let What::Evicting {
            victim, for_cache, ..
        } = &event.what
        {
            evicted.push((victim.name.to_string(), *for_cache));
        }
    }) {}
    evicted
}

const SOFT: &str = "evictionHard: 200Mi, evictionSoft: 1Gi, evictionSoftGrace: 30s, evictionMaxPodGrace: 20s";

#[test]
fn a_soft_threshold_that_memory_without_cache_meets_is_not_met_for_cache() {
    // 8 MiB/s until 3,200 MiB: 896 MiB are left, less than 1 GiB and more than 200 MiB, and there is no cache at all.
    let leak = "  - { name: leak, node: 0, containers: [{ name: a, load: { leak: { rate: 8Mi/s, total: 3200Mi } } }] }\n";
    assert_eq!(evicted(SOFT, leak).first(), Some(&("leak-0".to_owned(), false)));
    // 1,000 MiB and 2,500 MiB of a file that is read again and again: 596 MiB are left, and 3,096 MiB without the file.
    let reader = "  - { name: reader, node: 0, containers: [{ name: a, base: 1000Mi, load: { reader: { file: 2500Mi, \
                  rate: 64Mi/s } } }] }\n";
    assert_eq!(
        evicted(SOFT, reader).first(),
        Some(&("reader-0".to_owned(), true))
    );
}

#[test]
fn an_eviction_for_a_minimum_reclaim_is_for_cache_only_if_that_would_hold_without_it() {
    // 2,400 MiB and up to 1,400 MiB more leave 296 MiB of 4,096, less than 500: the small one goes first, and then whoever is
    // left, until 1,300 MiB are left. After small 496 + about 20 that the leak took, after mid some 700 more.
    let pod = |name: &str, priority: u32, base: u32| {
        format!(
            "  - {{ name: {name}, node: 0, owner: nobody, priority: {priority}, containers: [{{ name: a, base: {base}Mi }}] }}\n"
        )
    };
    let rest = "  - { name: leak, node: 0, owner: nobody, priority: 100, containers: [{ name: a, load: { leak: { rate: 8Mi/s, \
                total: 1400Mi } } }] }\n";
    let pods = pod("big", 5, 1500) + &pod("mid", 1, 700) + &pod("small", 0, 200) + rest;
    let told = ["small-0", "mid-0", "big-0"].map(|name| (name.to_owned(), false));
    assert_eq!(evicted("evictionHard: 500Mi, minimumReclaim: 800Mi", &pods), told);
}

#[test]
fn who_is_killed_holds_no_more_than_there_is() {
    // 900 MiB asked for under a limit of 100, and 3 GiB on a machine of 512 MiB.
    let text = "title: t\nduration: 1m\nnodes: [{ name: w, memory: 512Mi, kubelet: {}, host: [{ name: h, base: 3Gi }] }]\n\
                pods: [{ name: p, node: 0, containers: [{ name: a, limit: 100Mi, base: 900Mi }] }]\n";
    let world = parse_scenario(text).expect("fine").world;
    let mut running = Running::start(&world, Options::default()).expect("a sound world");
    let mut held = std::collections::BTreeMap::new();
    while running.go_on(&mut |event| {
        if let What::KernelKilled { victim, .. } = &event.what {
            held.insert(victim.name.to_string(), victim.held.0 >> 20);
        }
    }) {}
    assert_eq!(held, [("h".to_owned(), 512), ("p-0/a".to_owned(), 100)].into());
}
