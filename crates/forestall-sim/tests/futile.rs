//! What a kill is worth where its victim is started again: nobody ends in vain, and nobody a second time for a kill of the kernel's
//! that was somewhere else.

use forestall_decide::{AlarmVerdict, RefusalReason, Span, WallKind};
use forestall_sim::{Report, RunOptions, What, World, parse_scenario};

/// Four leaks of 1 MiB/s that may not be touched, or are static, beside those who hold still.
fn leaks(who: &str, others: &str) -> String {
    format!(
        "\
title: leaks that may not be touched
duration: 30m
policy: {{}}
nodes: [ {{ name: w, memory: 4Gi, kubelet: {{ enforcePods: false, evictionHard: 1Mi }} }} ]
pods:
  - {{ name: leak, node: 0, count: 4, {who}, containers: [ {{ name: app, base: 300Mi, load: {{ leak: {{ rate: 1Mi/s }} }} }} ] }}
  - {{ name: db, node: 0, {others} }}
"
    )
}

fn run(world: &World) -> Report {
    let report = world.run(RunOptions::default(), &mut |_| ());
    report.expect("a sound world")
}

#[test]
fn whoever_holds_still_does_not_pay_for_leaks_that_may_not_be_touched() {
    let one = "containers: [ { name: app, base: 600Mi, request: 100Mi } ]";
    let six = "count: 6, containers: [ { name: app, base: 100Mi, request: 50Mi } ]";
    for (who, others) in [("optedOut: true", one), ("static: true, owner: nobody", six)] {
        let world = parse_scenario(&leaks(who, others)).expect("fine").world;
        let without = World {
            policy: None,
            ..world.clone()
        };
        let (with, without) = (run(&world), run(&without));
        let deaths = |report: &Report| (report.tally.deaths(), report.tally.innocent);
        assert!(without.tally.deaths() > 4, "the kernel ends leaks");
        assert_eq!(deaths(&with), deaths(&without), "{who}");
        let refused = with.events.iter().any(|event| {
            let What::Refused { reason, wall, .. } = event.what else {
                return false;
            };
            wall == WallKind::Kernel && reason == Some(RefusalReason::NoCulprit)
        });
        assert!(refused, "and says so");
    }
}

/// Its small container meets its own limit after 4 s and, started again, after 9 s; about 2 s later the large one has filled the machine.
const TWO_WALLS: &str = "\
title: a limit of its own, and then the machine
duration: 13s
policy: { mode: shadow }
nodes: [ { name: w, memory: 1000Mi, kubelet: { enforcePods: false, evictionHard: 1Mi } } ]
pods:
  - name: both
    node: 0
    containers:
      - { name: small, base: 10Mi, limit: 50Mi, load: { leak: { rate: 10Mi/s } } }
      - { name: large, base: 300Mi, load: { leak: { rate: 55Mi/s } } }
";

#[test]
fn a_kill_for_the_machine_right_after_one_at_a_limit_in_the_same_pod_is_the_machines() {
    let report = run(&parse_scenario(TWO_WALLS).expect("fine").world);
    let kills: Vec<_> = report
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::KernelKilled { wall, .. } => Some((*wall, event.at)),
            _ => None,
        })
        .collect();
    let Some([(WallKind::Container, before), (WallKind::Kernel, at)]) = kills.last_chunk::<2>() else {
        panic!("a limit, and then the machine: {kills:?}");
    };
    assert!(at.since(*before) < Span::secs(5), "right after it");
    let verdicts: Vec<_> = report
        .events
        .iter()
        .filter(|event| event.at >= *at)
        .filter_map(|event| match event.what {
            What::Alarm { wall, verdict, .. } => Some((wall, verdict?)),
            _ => None,
        })
        .filter(|(wall, _)| matches!(wall, WallKind::Kernel | WallKind::Container))
        .collect();
    assert_eq!(verdicts, [(WallKind::Kernel, AlarmVerdict::True)]);
}
