//! What a pod asks for and what its operator prefers: a warning, a higher limit, to be spared, to go first.

use forestall_decide::{Bytes, Rung, WallKind};
use forestall_sim::{Event, Report, RunOptions, What, parse_scenario};

/// One container that leaks towards its own limit, and a node with room.
const OWN_LIMIT: &str = "\
title: a leak towards its own limit
duration: 5m
policy: { rungs: { warn: true, grow: true } }
nodes:
  - { name: worker, memory: 8Gi, kubelet: { kubeReserved: 512Mi } }
pods:
  - name: leak
    node: 0
    containers:
      - { name: app, request: 200Mi, limit: 400Mi, base: 100Mi, load: { leak: { rate: 2Mi/s } } }
";

fn run(scenario: &str) -> Report {
    let world = parse_scenario(scenario).expect("fine").world;
    world
        .run(RunOptions::default(), &mut |_| ())
        .expect("a sound world")
}

fn orders(report: &Report, rung: Rung) -> Vec<&Event> {
    let is_one = |event: &&Event| matches!(&event.what, What::Ordered(order) if order.rung == rung);
    report.events.iter().filter(is_one).collect()
}

fn first_kill(report: &Report) -> Option<(WallKind, u64, Bytes)> {
    report.events.iter().find_map(|event| match &event.what {
        What::KernelKilled { wall, victim, .. } => Some((*wall, event.at.0 / 1_000_000, victim.held)),
        _ => None,
    })
}

#[test]
fn who_asks_for_nothing_gets_nothing_and_is_killed_at_its_limit() {
    let report = run(OWN_LIMIT);
    assert!(orders(&report, Rung::Warn).is_empty() && orders(&report, Rung::Grow).is_empty());
    // 300 MiB at 2 MiB/s.
    assert_eq!(
        first_kill(&report),
        Some((WallKind::Container, 150, Bytes::mebi(400)))
    );
}

#[test]
fn who_asks_to_grow_is_raised_up_to_its_word_and_no_further() {
    let asking = OWN_LIMIT.replace("    node: 0\n", "    node: 0\n    grow: 520Mi\n");
    let report = run(&asking);
    // A quarter of 400 MiB is added first, then what is left of 520; that nothing is left then is told at once.
    assert_eq!(orders(&report, Rung::Grow).len(), 2);
    assert_eq!(
        first_kill(&report),
        Some((WallKind::Container, 210, Bytes::mebi(520)))
    );
}

#[test]
fn a_container_above_the_pods_word_is_neither_asked_to_grow_nor_cut() {
    let beside =
        "\n      - { name: big, request: 1Gi, limit: 2Gi, base: 1500Mi, load: { leak: { rate: 1Mi/s } } }\n";
    let asking = OWN_LIMIT
        .replace("    node: 0\n", "    node: 0\n    grow: 1200Mi\n")
        .replace("duration: 5m", "duration: 10m")
        .replace(", load: { leak: { rate: 2Mi/s } } }\n", &format!(" }}{beside}"));
    let report = run(&asking);
    assert!(orders(&report, Rung::Grow).is_empty());
    // 548 MiB at 1 MiB/s.
    assert_eq!(
        first_kill(&report),
        Some((WallKind::Container, 548, Bytes::mebi(2048)))
    );
}

#[test]
fn who_asks_for_a_warning_has_it_in_time() {
    let asking = OWN_LIMIT.replace("    node: 0\n", "    node: 0\n    beforeOom: 8s\n");
    let report = run(&asking);
    let warned = orders(&report, Rung::Warn);
    let warned = warned.first().expect("a warning").at.0 / 1_000_000;
    // 8 s are needed before 150 s; much earlier nobody could know.
    assert!((100..=142).contains(&warned), "warned after {warned} s");
}

/// Three equal leaks towards the limit of `kubepods`, so that none of them explains it alone, and another node to go to.
const THREE: &str = "\
title: three leaks
duration: 4m
policy:
  preferences: []
  rungs: { evict: true }
nodes:
  - { name: worker, memory: 4Gi, kubelet: { kubeReserved: 256Mi, evictionHard: 20Mi } }
  - { name: other, memory: 8Gi }
pods:
  - { name: one, node: 0, grace: 1s, containers: [{ name: app, request: 64Mi, load: { leak: { rate: 8Mi/s } } }] }
  - { name: two, node: 0, grace: 1s, containers: [{ name: app, request: 64Mi, load: { leak: { rate: 8Mi/s } } }] }
  - { name: three, node: 0, grace: 1s, containers: [{ name: app, request: 64Mi, load: { leak: { rate: 8Mi/s } } }] }
";

fn first_aim(report: &Report) -> String {
    let aim = report.events.iter().find_map(|event| match &event.what {
        What::Ordered(order) if order.rung.ends_somebody() => order.target.as_ref(),
        _ => None,
    });
    aim.expect("somebody is chosen").victim.name.to_string()
}

#[test]
fn whom_the_operator_or_the_pod_itself_puts_first_goes_first_and_who_is_spared_stays() {
    let pods = ["one", "two", "three"];
    let without = first_aim(&run(THREE));
    for pod in pods {
        let asking = |asks: &str| THREE.replace(&format!("name: {pod}, "), &format!("name: {pod}, {asks}, "));
        let labelled = |preference: &str| {
            let list = format!("preferences: [{{ labels: {{ tier: web }}, {preference} }}]");
            asking("labels: { tier: web }").replace("preferences: []", &list)
        };
        for text in [asking("preference: 5"), labelled("weight: 3")] {
            let aim = first_aim(&run(&text));
            assert!(aim.starts_with(pod), "{pod} goes first, and not {aim}");
        }
        for text in [
            asking("preference: -5"),
            labelled("weight: -3"),
            labelled("never: true"),
            asking("optedOut: true"),
        ] {
            let aim = first_aim(&run(&text));
            assert!(!aim.starts_with(pod), "{pod} stays, and {aim} goes");
        }
    }
    assert!(pods.iter().any(|pod| without.starts_with(pod)), "{without}");
}
