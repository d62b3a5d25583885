//! What becomes of a brake when its container goes by another's hand.

use forestall_decide::{OutcomeKind, Rung};
use forestall_sim::{Event, Options, Running, What, parse_scenario};

/// A leak that is braked at once, and a burst 15 s later, within its request, for which the kubelet evicts the leak.
const EVICTED: &str = "\
title: evicted under a brake
duration: 40s
policy: { mode: enforce, rungs: { reclaim: false, brake: true, kill: false } }
nodes:
  - { name: worker, memory: 1000Mi, kubelet: { kubeReserved: 100Mi, evictionHard: 600Mi } }
pods:
  - name: leak
    node: 0
    containers: [ { name: app, base: 100Mi, load: { leak: { rate: 10Mi/s } } } ]
  - name: burst
    node: 0
    start: 15s
    containers:
      - { name: app, request: 300Mi, base: 10Mi, load: { burst: { size: 240Mi, rise: 1s, hold: 60s, every: 600s } } }
";

fn run(scenario: &str) -> Vec<Event> {
    let world = parse_scenario(scenario).expect("fine").world;
    let mut running = Running::start(&world, Options::default()).expect("a sound world");
    let mut events = Vec::new();
    while running.go_on(&mut |event| events.push(event.clone())) {}
    events
}

#[test]
fn a_brake_goes_with_the_cgroup_of_whom_the_kubelet_evicts_and_the_engine_hears_so() {
    let events = run(EVICTED);
    let story: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Brake { state, .. } => Some(format!("{state:?}")),
            What::Evicting { victim, .. } => Some(format!("evicting {}", victim.name)),
            What::PodEnded { pod } => Some(format!("{pod} is gone")),
            What::Landed {
                rung: Rung::Brake,
                kind,
                ..
            } if *kind != OutcomeKind::Progress => Some(format!("told {kind:?}")),
            _ => None,
        })
        .take(5)
        .collect();
    assert_eq!(
        story,
        ["On", "evicting leak-0", "Gone", "leak-0 is gone", "told Gone"]
    );
}
