//! `memory.high` under MemoryQoS: who is above it is slowed down, and page cache is taken first. Times are worked out by hand
//! from the kernel's own rule: 64 s × the square of the excess for each 256 KiB.

mod watched;

use forestall_decide::{AlarmVerdict, Bytes, Policy, WallKind};
use forestall_sim::{Report, Scenario, What, parse_scenario};
use watched::run;

fn scenario(kubelet: &str, container: &str) -> Scenario {
    parse_scenario(&format!(
        "title: throttled\nduration: 5m\nnodes: [{{ name: a, memory: 4Gi, kubelet: {{ {kubelet} }} }}]\npods:\n  - name: p\n    \
         node: 0\n    containers: [{{ name: app, request: 256Mi, limit: 1Gi, {container} }}]\n"
    ))
    .expect("fine")
}

const ON: &str = "memoryThrottlingFactor: 90%";
const LEAK: &str = "load: { leak: { rate: 16Mi/s } }";

fn killed_after_millis(report: &Report) -> Option<u64> {
    report.events.iter().find_map(|event| match event.what {
        What::KernelKilled { wall, .. } => {
            assert_eq!(wall, WallKind::Container);
            Some(event.at.0 / 1000)
        }
        _ => None,
    })
}

#[test]
fn a_leak_above_memory_high_gets_slower_and_dies_later_at_its_limit() {
    // 1024 MiB at 16 MiB/s.
    assert_eq!(
        killed_after_millis(&run(&scenario("", LEAK), false)),
        Some(64_000)
    );
    // 256 + 0.9 × 768 = 947.2 MiB. The kernel's rule lets 16 MiB/s through up to 1.56 % above that, after 60.1 s; from there to
    // 8.1 % it takes 947.2 MiB × (0.0811³ − 0.0156³) / 12 KiB = 42.8 s.
    let report = run(&scenario(ON, LEAK), false);
    let after = killed_after_millis(&report).expect("it dies");
    assert!((101_000..=105_000).contains(&after), "{after}");
    assert_eq!(report.events, run(&scenario(ON, LEAK), true).events);
}

#[test]
fn whoever_stops_above_memory_high_holds_what_it_wanted_only_later() {
    let stopping = "load: { leak: { rate: 16Mi/s, total: 990Mi } }";
    let reached = |kubelet| {
        let report = run(&scenario(kubelet, stopping), false);
        assert_eq!(killed_after_millis(&report), None);
        let rows = &report.curves.nodes[0].rows;
        assert_eq!(
            rows.last().map(|row| row.pods_working_set),
            Some(Bytes::mebi(990))
        );
        let there = rows.iter().find(|row| row.pods_working_set >= Bytes::mebi(990));
        there.expect("it gets there").at.0 / 1000
    };
    assert_eq!(reached(""), 61_875);
    // To 4.52 % above: 947.2 MiB × (0.0452³ − 0.0156³) / 12 KiB = 7.2 s after 60.1 s.
    let later = reached(ON);
    assert!((65_500..=69_500).contains(&later), "{later}");
}

#[test]
fn page_cache_is_taken_at_memory_high_before_anybody_is_slowed_down() {
    let reader = "load: { reader: { file: 3Gi, rate: 100Mi/s } }";
    let most = |kubelet| {
        let report = run(&scenario(kubelet, reader), false);
        assert_eq!(killed_after_millis(&report), None);
        let rows = report.curves.nodes[0].rows.iter();
        rows.map(|row| row.pods_charged).max().expect("rows")
    };
    assert_eq!(most("").0 >> 20, 1024);
    assert_eq!(most(ON).0 >> 20, 947);
}

#[test]
fn who_has_no_room_between_request_and_limit_is_not_slowed_down() {
    let mut scenario = scenario(ON, LEAK);
    scenario.world.pods[0].containers[0].request = Bytes::mebi(1024);
    assert_eq!(killed_after_millis(&run(&scenario, false)), Some(64_000));
}

#[test]
fn an_alarm_at_a_limit_that_a_slowed_leak_reaches_later_is_right_or_withdrawn_and_none_is_missed() {
    let mut scenario = scenario(ON, LEAK);
    scenario.world.policy = Some(Policy::default());
    let tally = run(&scenario, false).tally;
    let scored = |verdict| tally.verdicts.get(&verdict).copied().unwrap_or(0);
    assert_eq!((scored(AlarmVerdict::Missed), tally.missed), (0, 0));
    assert!(scored(AlarmVerdict::True) > 0);
}
