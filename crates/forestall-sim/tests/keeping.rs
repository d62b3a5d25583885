//! `memory.min` and `memory.low` under MemoryQoS (`memoryReservationPolicy: TieredReservation`): whose page cache is kept, and who
//! dies because it is. A node of 4 GiB has 4096 − 66 MiB before the kernel kills.

mod watched;

use forestall_decide::{AlarmVerdict, Bytes, Policy, WallKind};
use forestall_sim::{Report, Scenario, What, parse_scenario};
use watched::{first_kill, run};

const ON: &str = "memoryReservationPolicy: TieredReservation";

/// Two containers read 1 GiB each; of the first one its pod's requests are kept, if any.
fn scenario(kubelet: &str, first: &str, others: &str) -> Scenario {
    parse_scenario(&format!(
        "title: kept\nduration: 5m\nnodes: [{{ name: a, memory: 4Gi, kubelet: {{ evictionHard: 1Mi, {kubelet} }} }}]\npods:
  - {{ name: first, node: 0, containers: [{{ name: first, {first} load: {{ reader: {{ file: 1Gi, rate: 512Mi/s }} }} }}] }}
{others}"
    ))
    .expect("fine")
}

const SECOND: &str = "  - { name: second, node: 0, containers: [{ name: second, load: { reader: { file: 1Gi, rate: 512Mi/s } } }] }\n";
const LEAK: &str =
    "  - { name: leak, node: 0, containers: [{ name: leak, load: { leak: { rate: 64Mi/s } } }] }\n";
const GUARANTEED: &str = "request: 1100Mi, limit: 1100Mi,";
const BURSTABLE: &str = "request: 1100Mi,";

/// The least page cache that all pods together had before the first kill, in MiB.
fn least_cache(report: &Report, from_millis: u64, leaked_mebi_per_second: u64) -> u64 {
    let (_, _, end) = first_kill(report).expect("the leak fills the machine");
    let rows = report.curves.nodes[0].rows.iter();
    let within = rows.filter(|row| (from_millis..end).contains(&(row.at.0 / 1000)));
    let cache = within
        .map(|row| (row.pods_charged - Bytes((leaked_mebi_per_second << 20) * row.at.0 / 1_000_000)).0 >> 20);
    cache.min().expect("rows")
}

#[test]
fn what_a_guaranteed_pod_requests_is_kept_and_its_neighbours_cache_goes() {
    let others = format!("{SECOND}{LEAK}");
    let plain = run(&scenario("", GUARANTEED, &others), false);
    let kept = run(&scenario(ON, GUARANTEED, &others), false);
    // Without it all cache goes but what cannot be had and what is read back in its last moments, up to half a second of the leak:
    // (4096 − 66) MiB at 64 MiB/s are 62.97 s.
    let (name, wall, millis) = first_kill(&plain).expect("the leak fills the machine");
    assert_eq!((name.as_str(), wall), ("leak-0/leak", WallKind::Kernel));
    assert!((62_500..=62_970).contains(&millis), "{millis}");
    // Rows may lie a slice of 1.5 s apart.
    assert!(least_cache(&plain, 20_000, 64) <= 128);
    // With it 1024 MiB stay: (4096 − 66 − 1024) MiB are 46.97 s.
    let (name, wall, millis) = first_kill(&kept).expect("the leak fills the machine");
    assert_eq!((name.as_str(), wall), ("leak-0/leak", WallKind::Kernel));
    assert!((46_500..=46_970).contains(&millis), "{millis}");
    assert!((1024..=1040).contains(&least_cache(&kept, 20_000, 64)));
    assert_eq!(kept.events, run(&scenario(ON, GUARANTEED, &others), true).events);
}

#[test]
fn what_a_burstable_pod_requests_goes_last_and_then_it_goes() {
    let others = format!("{SECOND}{LEAK}");
    let report = run(&scenario(ON, BURSTABLE, &others), false);
    let (_, _, millis) = first_kill(&report).expect("the leak fills the machine");
    assert!((62_500..=62_970).contains(&millis), "{millis}");
}

#[test]
fn at_a_limit_of_its_own_nothing_is_kept() {
    // 1 GiB of file and a limit of 512 MiB: the cache gives way, nobody dies.
    let report = run(&scenario(ON, "request: 512Mi, limit: 512Mi,", ""), false);
    let killed = report
        .events
        .iter()
        .any(|event| matches!(event.what, What::KernelKilled { .. }));
    assert!(!killed);
    let most = report.curves.nodes[0]
        .rows
        .iter()
        .map(|row| row.pods_charged)
        .max();
    assert_eq!(most.expect("rows").0 >> 20, 512);
}

#[test]
fn the_agent_counts_what_is_kept_as_not_left_and_misses_no_kill() {
    let mut scenario = scenario(ON, GUARANTEED, &format!("{SECOND}{LEAK}"));
    scenario.world.policy = Some(Policy {
        mode: forestall_decide::Mode::Shadow,
        ..Policy::default()
    });
    let report = run(&scenario, false);
    let scored = |verdict| report.tally.verdicts.get(&verdict).copied().unwrap_or(0);
    assert_eq!((scored(AlarmVerdict::Missed), report.tally.missed), (0, 0));
    // It would have killed before; had it counted the 1024 MiB as left, that is 16 s of the leak, it would not.
    let ordered = report.events.iter().find_map(|event| match &event.what {
        What::Ordered(order) if order.rung == forestall_decide::Rung::Kill => Some(event.at.0 / 1000),
        _ => None,
    });
    let (_, _, killed) = first_kill(&report).expect("the leak fills the machine");
    assert!(
        ordered.is_some_and(|ordered| ordered < killed),
        "{ordered:?} {killed}"
    );
}
