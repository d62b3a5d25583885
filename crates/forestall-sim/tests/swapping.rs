//! Swap: how much later somebody dies for it, who may use it, and what becomes of it. Times follow by hand from one rule: a holder of
//! *T* of whom *R* are in memory runs at *R* / *T* of its pace, so that it takes (*T*² − *R*²) / 2 *R* to come from *R* to *T* at one a second.

mod watched;

use forestall_decide::{AlarmVerdict, Bytes, Mode, Policy, WallKind};
use forestall_sim::{Scenario, What, parse_scenario, swarm};
use watched::{first_kill, run};

fn scenario(node: &str, rest: &str) -> Scenario {
    parse_scenario(&format!(
        "title: swapped\nduration: 5m\nnodes:\n  - {{ name: a, {node} }}\npods:\n{rest}"
    ))
    .expect("fine")
}

/// Who is killed first, where, after how many milliseconds; the same when every look is made.
fn killed_first(scenario: &Scenario) -> (String, WallKind, u64) {
    let report = run(scenario, false);
    assert_eq!(report.events, run(scenario, true).events);
    first_kill(&report).expect("somebody dies")
}

const LEAK: &str =
    "  - { name: leak, node: 0, containers: [{ name: app, load: { leak: { rate: 10Mi/s } } }] }\n";

#[test]
fn a_leak_fills_memory_and_then_swap_ever_slower_and_dies_later() {
    // A machine of 1 GiB without a kubelet keeps 44 MiB: 980 MiB at 10 MiB/s.
    let plain = scenario("memory: 1Gi, kubernetes: false", LEAK);
    assert_eq!(
        killed_first(&plain),
        ("leak-0/app".into(), WallKind::Kernel, 98_000)
    );
    // (1492² − 980²) / (2 × 980 × 10) = 64.6 s more, and up to 2 % for what is written out at once.
    let swapping = scenario("memory: 1Gi, kubernetes: false, swap: 512Mi", LEAK);
    let (name, wall, millis) = killed_first(&swapping);
    assert_eq!((name.as_str(), wall), ("leak-0/app", WallKind::Kernel));
    assert!((162_000..=164_500).contains(&millis), "{millis}");
}

/// One container with a limit of 512 MiB that leaks 10 MiB/s.
fn limited(behavior: &str, request: &str) -> u64 {
    let node = format!("memory: 4Gi, swap: 2Gi, kubelet: {{ {behavior} }}");
    let pod = format!(
        "  - {{ name: leak, node: 0, containers: [{{ name: app, {request} limit: 512Mi, load: {{ leak: {{ rate: 10Mi/s }} }} }}] }}\n"
    );
    let (_, wall, millis) = killed_first(&scenario(&node, &pod));
    assert_eq!(wall, WallKind::Container);
    millis
}

#[test]
fn only_who_requests_less_than_its_limit_gets_swap_and_only_under_limited_swap() {
    // 2048 × 256 / 4096 = 128 MiB: (640² − 512²) / (2 × 512 × 10) = 14.4 s after 51.2 s, and up to a batch of 32 MiB at its pace.
    let burstable = limited("swapBehavior: LimitedSwap", "request: 256Mi,");
    assert!((65_600..=67_500).contains(&burstable), "{burstable}");
    assert_eq!(limited("swapBehavior: LimitedSwap", "request: 512Mi,"), 51_200);
    assert_eq!(limited("swapBehavior: LimitedSwap", ""), 51_200);
    assert_eq!(limited("swapBehavior: NoSwap", "request: 256Mi,"), 51_200);
    assert_eq!(limited("", "request: 256Mi,"), 51_200);
}

#[test]
fn what_was_written_out_comes_back_once_there_is_room() {
    let node = "memory: 1Gi, kubernetes: false, swap: 512Mi, host: [{ name: daemon, restarts: false, oomScoreAdj: 1000, load: { leak: { rate: 20Mi/s } } }]";
    let calm = "  - { name: calm, node: 0, containers: [{ name: app, base: 400Mi }] }\n";
    let report = run(&scenario(node, calm), false);
    let rows = &report.curves.nodes[0].rows;
    let held = |row: &forestall_sim::CurveRow| row.pods_charged.0 >> 20;
    assert!(rows.iter().map(held).min().expect("rows") < 300);
    assert_eq!(rows.last().map(held), Some(400));
    let killed = report
        .events
        .iter()
        .filter(|event| matches!(event.what, What::KernelKilled { .. }));
    assert_eq!(killed.count(), 1);
}

#[test]
fn page_cache_goes_before_anybody_is_written_out() {
    let node = "memory: 1Gi, kubernetes: false, swap: 512Mi";
    let pods = "  - { name: calm, node: 0, containers: [{ name: app, base: 400Mi }] }
  - { name: reader, node: 0, containers: [{ name: app, load: { reader: { file: 4Gi, rate: 100Mi/s } } }] }\n";
    let report = run(&scenario(node, pods), false);
    let rows = report.curves.nodes[0].rows.iter();
    // 400 MiB of the calm one and at least some cache: nothing of it was ever written out.
    let least = rows
        .filter(|row| row.at.0 > 0)
        .map(|row| row.pods_charged)
        .min()
        .expect("rows");
    assert!(least >= Bytes::mebi(400), "{least:?}");
}

#[test]
fn the_agent_reckons_with_swap_and_misses_no_kill() {
    let mut scenario = scenario("memory: 1Gi, kubernetes: false, swap: 512Mi", LEAK);
    scenario.world.policy = Some(Policy {
        mode: Mode::Shadow,
        ..Policy::default()
    });
    let report = run(&scenario, false);
    let scored = |verdict| report.tally.verdicts.get(&verdict).copied().unwrap_or(0);
    assert_eq!((scored(AlarmVerdict::Missed), report.tally.missed), (0, 0));
    // While swap is nearly empty nobody is near: nothing is ordered before the machine's memory is full, after 98 s.
    let ordered = report.events.iter().find_map(|event| match event.what {
        What::Ordered(_) => Some(event.at.0 / 1_000_000),
        _ => None,
    });
    assert!(ordered.is_some_and(|at| (98..165).contains(&at)), "{ordered:?}");
}

#[test]
fn random_worlds_with_swap_and_kept_memory_and_limited_levels_are_the_same_when_every_look_is_made() {
    let mut happened = 0;
    for seed in 0..20 {
        let mut world = swarm(seed, None);
        world.duration = forestall_decide::Span::secs(120);
        for (node, index) in world.nodes.iter_mut().zip(seed..) {
            node.swap = node.memory.permille(100 + 200 * (index % 3));
            node.reserves_requests = index % 2 == 0;
            node.qos_reserved_permille = (index % 4 > 1).then_some(500);
            if let Some(kubelet) = &mut node.kubelet
                && index % 5 > 0
            {
                kubelet.swap = forestall_decide::kubelet::SwapBehavior::LimitedSwap;
            }
        }
        let scenario = Scenario {
            world,
            about: String::new(),
            reproduces: Vec::new(),
            does_not_hold: Vec::new(),
        };
        let skipped = run(&scenario, false).events;
        assert_eq!(skipped, run(&scenario, true).events, "seed {seed}");
        happened += skipped.len();
    }
    assert!(happened > 100, "only {happened} facts in all");
}
