//! Limits of the QoS levels (`qosReserved`): how large they are, whom they kill, and what the agent sees of them. Expected values
//! follow from the kubelet's formula by hand.

mod watched;

use forestall_decide::{AlarmVerdict, Policy, WallKind};
use forestall_sim::{Scenario, parse_scenario};
use watched::{first_kill, run};

const PODS: &str = "
  - { name: kept, node: 0, containers: [{ name: kept, request: 1Gi, limit: 1Gi, base: 100Mi }] }
  - { name: some, node: 0, containers: [{ name: some, request: 512Mi, base: 100Mi }] }
";

fn scenario(reserved: &str, pods: &str) -> Scenario {
    parse_scenario(&format!(
        "title: levels\nduration: 3m\nnodes: [{{ name: a, memory: 4Gi, kubelet: {{ {reserved} }} }}]\npods:{PODS}{pods}"
    ))
    .expect("fine")
}

const BEST_EFFORT: &str =
    "  - { name: leak, node: 0, containers: [{ name: app, load: { leak: { rate: 32Mi/s } } }] }\n";
const BURSTABLE: &str = "  - { name: leak, node: 0, containers: [{ name: app, request: 8Mi, load: { leak: { rate: 32Mi/s } } }] }\n";

#[test]
fn what_better_pods_request_is_kept_from_each_level() {
    let killed = |reserved: &str, pod: &str| {
        let report = run(&scenario(reserved, pod), false);
        assert_eq!(report.events, run(&scenario(reserved, pod), true).events);
        first_kill(&report)
    };
    let at_level = |millis| Some(("leak-0/app".to_owned(), WallKind::Kubepods, millis));
    // (4096 − 1024 − 512) MiB at 32 MiB/s.
    assert_eq!(killed("qosReserved: 100%", BEST_EFFORT), at_level(80_000));
    // (4096 − 512 − 256) MiB.
    assert_eq!(killed("qosReserved: 50%", BEST_EFFORT), at_level(104_000));
    // (4096 − 1024) MiB for the burstable level, of which another pod holds 100.
    assert_eq!(killed("qosReserved: 100%", BURSTABLE), at_level(92_875));
    // Without it no level has a limit: (4096 − 200) MiB less the 66 MiB that the kernel keeps for itself.
    let by_machine = ("leak-0/app".to_owned(), WallKind::Kernel, 119_687);
    assert_eq!(killed("", BEST_EFFORT), Some(by_machine));
}

#[test]
fn a_level_gives_up_its_page_cache_before_anybody_in_it_dies() {
    let reader = "  - { name: reader, node: 0, containers: [{ name: r, load: { reader: { file: 3Gi, rate: 100Mi/s } } }] }\n";
    let report = run(&scenario("qosReserved: 100%", reader), false);
    assert_eq!(first_kill(&report), None);
    // The reader alone would fit; with the leak it gives way until the leak has the 2560 MiB alone.
    let both = format!("{reader}{BEST_EFFORT}");
    let (name, wall, millis) =
        first_kill(&run(&scenario("qosReserved: 100%", &both), false)).expect("a kill");
    assert_eq!((name.as_str(), wall), ("leak-0/app", WallKind::Kubepods));
    assert!((79_000..=80_000).contains(&millis), "{millis}");
}

#[test]
fn a_pod_that_comes_takes_from_the_limits_of_those_below_it() {
    let late =
        "  - { name: late, node: 0, start: 30s, containers: [{ name: l, request: 2Gi, limit: 2Gi }] }\n";
    let pods = format!("{BEST_EFFORT}{late}");
    // From 30 s on only 512 MiB are left, of which 960 are held.
    let first = first_kill(&run(&scenario("qosReserved: 100%", &pods), false));
    assert_eq!(first, Some(("leak-0/app".to_owned(), WallKind::Kubepods, 30_000)));
}

#[test]
fn the_agent_raises_its_alarm_at_the_levels_wall_and_misses_no_kill_there() {
    let mut scenario = scenario("qosReserved: 100%", BEST_EFFORT);
    scenario.world.policy = Some(Policy::default());
    let tally = run(&scenario, false).tally;
    let scored = |verdict| tally.verdicts.get(&verdict).copied().unwrap_or(0);
    assert_eq!((scored(AlarmVerdict::Missed), tally.missed), (0, 0));
    assert!(scored(AlarmVerdict::True) > 0);
}
