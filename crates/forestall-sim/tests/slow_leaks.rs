//! A leak so slow that no window shows much of it: who ends where the next turn of a job beside it is what reaches the wall, and when
//! it is evicted where it is given minutes to end.

use forestall_decide::Rung;
use forestall_sim::{Report, RunOptions, What, parse_scenario};

const KILL: &str = "{ rungs: { reclaim: false, kill: true } }";
const DEFAULT: &str = "{}";
const EVICT: &str = "{ rungs: { evict: true } }";

/// A node of 8 GiB with those pods, and one to go to.
fn run(policy: &str, pods: &[&str]) -> Report {
    let pods = pods.join(" }\n  - { ");
    let text = format!(
        "\
title: a slow leak
duration: 22m
policy: {policy}
nodes:
  - {{ name: full, memory: 8Gi, kubelet: {{ evictionHard: 100Mi }} }}
  - {{ name: empty, memory: 16Gi, kubelet: {{ evictionHard: 100Mi }} }}
pods:
  - {{ {pods} }}
"
    );
    let world = parse_scenario(&text).expect("fine").world;
    let options = RunOptions {
        keep: 100_000,
        checkers: true,
        ..RunOptions::default()
    };
    let report = world.run(options, &mut |_| ()).expect("a sound world");
    let by_others = report.tally.kernel_kills_all() + report.tally.evictions;
    assert_eq!(report.violations, [], "every rule is kept");
    assert_eq!(by_others, 0, "neither the kernel nor the kubelet acts");
    report
}

/// What the agent ordered, of whom, and when.
fn endings(report: &Report) -> Vec<(Rung, String, u64)> {
    let ordered = report.events.iter().filter_map(|event| match &event.what {
        What::Ordered(order) if order.rung.ends_somebody() => {
            let target = order.target.as_ref().expect("somebody");
            Some((order.rung, target.victim.name.to_string(), event.at.0 / 1_000_000))
        }
        _ => None,
    });
    ordered.collect()
}

const BATCH: &str = "name: batch, node: 0, containers: [ { name: c, request: 1Gi, \
    load: { burst: { size: 2500Mi, rise: 20s, hold: 40s, every: 130s } } } ]";
const SWING: &str = "name: swing, node: 0, containers: [ { name: c, request: 1Gi, load: { periodic: { size: 2Gi, period: 170s } } } ]";
const LEAK: &str =
    "name: leak, node: 0, containers: [ { name: c, base: 2Gi, load: { leak: { rate: 3Mi/s } } } ]";

// Ten seconds of a turn take 1250 MiB, and a minute one turn of 2500: the leak's 30 and 180 are less than an eighth of either.
#[test]
fn a_slow_leak_ends_before_the_jobs_beside_it() {
    for policy in [KILL, DEFAULT] {
        for pods in [&[BATCH, LEAK][..], &[BATCH, SWING, LEAK]] {
            let endings = endings(&run(policy, pods));
            let all_leaks = endings.iter().all(|(_, name, _)| name.starts_with("leak"));
            assert!(all_leaks && !endings.is_empty(), "{policy}: {endings:?}");
        }
    }
}

// At 3 MiB/s an eviction that takes 5 s and its grace period begins no sooner than at twice that, and ends before the wall:
// 300 s are begun with 610 s to go, 1830 MiB; 120 s with 250 s. The leak has 8192 MiB less what the two hold from the start (1024
// and 4096) and the 100 of the kubelet's threshold.
#[test]
fn a_slow_leak_that_takes_minutes_to_end_is_evicted_in_time() {
    for grace in [30, 120, 300] {
        let leak = format!(
            "name: leak, node: 0, grace: {grace}s, containers: [ {{ name: c, base: 4Gi, load: {{ leak: {{ rate: 3Mi/s }} }} }} ]"
        );
        let calm = "name: calm, node: 0, containers: [ { name: c, base: 1Gi, request: 1Gi } ]";
        let report = run(EVICT, &[calm, &leak]);
        let endings = endings(&report);
        let Some([(Rung::Evict, name, at)]) = endings.first_chunk::<1>() else {
            panic!("{grace}: {endings:?}");
        };
        let wall = (8192 - 1024 - 4096 - 100) / 3;
        let left = wall - *at;
        assert!(
            name.starts_with("leak") && endings.len() == 1,
            "{grace}: {endings:?}"
        );
        assert!(
            (grace + 5..=2 * (grace + 5)).contains(&left),
            "{grace}: {left} s to go"
        );
        assert_eq!(report.tally.agent_kills, 0);
    }
}

// The burst takes 1500 MiB within a minute, the start 1000 at 5 MiB/s, and the heap comes to 1500 in half an hour: six of eight
// gibibytes, and each of them would reach the wall within ten minutes if it went on.
#[test]
fn what_ends_by_itself_is_left_alone_however_long_it_would_take_to_end() {
    let of = |name: &str, start: u64, load: &str| {
        format!(
            "name: {name}, node: 0, grace: 300s, start: {start}m, containers: [ {{ name: c, load: {{ {load} }} }} ]"
        )
    };
    let pods = [
        "name: calm, node: 0, containers: [ { name: c, base: 2Gi, request: 2Gi } ]".to_owned(),
        of(
            "burst",
            0,
            "burst: { size: 1500Mi, rise: 60s, hold: 40s, every: 230s }",
        ),
        of("start", 3, "leak: { rate: 5Mi/s, total: 1000Mi }"),
        of(
            "heap",
            8,
            "heap: { step: 60Mi, interval: 6s, freed: 40%, plateau: 1500Mi }",
        ),
    ];
    let pods = pods.each_ref().map(String::as_str);
    let report = run("{ rungs: { evict: true, brake: true } }", &pods);
    let ordered = report.events.iter().filter_map(|event| match &event.what {
        What::Ordered(order) if order.rung != Rung::Reclaim => Some((order.rung, event.at)),
        _ => None,
    });
    assert_eq!(ordered.collect::<Vec<_>>(), []);
}
