//! Memory that is there at once (what a container holds from its start on, and again after each restart): of several limits that
//! it is too much for the one kills that is met first while it comes page by page. Distances are worked out by hand.

mod watched;

use forestall_decide::WallKind;
use forestall_sim::parse_scenario;
use watched::{first_kill, run};

/// Who is killed first and at which wall, on a node of 4 GiB whose `kubepods` may have 3.5 GiB and whose kernel keeps 66 MiB, where
/// `host` is held outside of the pods and one container comes after a minute.
fn first(kubelet: &str, host: &str, pod: &str, container: &str) -> Option<(String, WallKind)> {
    let text = format!(
        "title: at once\nduration: 2m\nnodes:\n  - name: a\n    memory: 4Gi\n    kubelet: {{ kubeReserved: 512Mi{kubelet} }}\n    \
         host: [{{ name: daemon, base: {host}, oomScoreAdj: -1000 }}]\npods:\n  - name: calm\n    node: 0\n    containers: [{{ name: app, \
         request: 1Gi, limit: 1Gi, base: 100Mi }}]\n  - name: big\n    node: 0\n    start: 60s\n{pod}    containers: [{{ name: app, \
         request: 64Mi, {container} }}]\n"
    );
    let report = run(&parse_scenario(&text).expect("fine"), false);
    first_kill(&report).map(|(name, wall, millis)| {
        assert_eq!(millis, 60_000);
        (name, wall)
    })
}

#[test]
fn what_comes_at_once_dies_at_the_wall_that_is_nearer_when_it_begins() {
    let at = |wall| Some(("big-0/app".to_owned(), wall));
    let base = |host, base: &str| first("", host, "", &format!("base: {base}"));
    // 4096 − 66 − 2560 − 100 = 1370 MiB are left on the machine, 3584 − 100 = 3484 below `kubepods`.
    assert_eq!(base("2560Mi", "1360Mi"), None);
    assert_eq!(base("2560Mi", "1400Mi"), at(WallKind::Kernel));
    assert_eq!(base("2560Mi", "3600Mi"), at(WallKind::Kernel));
    // 4096 − 66 − 100 − 100 = 3830 MiB are left on the machine.
    assert_eq!(base("100Mi", "3500Mi"), at(WallKind::Kubepods));
    assert_eq!(base("100Mi", "3900Mi"), at(WallKind::Kubepods));
}

#[test]
fn so_it_is_with_limits_of_its_own_and_of_its_level() {
    let at = |wall| Some(("big-0/app".to_owned(), wall));
    // 1370 MiB are left on the machine.
    assert_eq!(
        first("", "2560Mi", "", "limit: 1300Mi, base: 3600Mi"),
        at(WallKind::Container)
    );
    assert_eq!(
        first("", "2560Mi", "", "limit: 1400Mi, base: 3600Mi"),
        at(WallKind::Kernel)
    );
    assert_eq!(
        first("", "2560Mi", "    limit: 1300Mi\n", "base: 3600Mi"),
        at(WallKind::Pod)
    );
    assert_eq!(
        first("", "2560Mi", "    limit: 1400Mi\n", "base: 3600Mi"),
        at(WallKind::Kernel)
    );
    assert_eq!(
        first("", "2560Mi", "    limit: 1300Mi\n", "limit: 1300Mi, base: 3600Mi"),
        at(WallKind::Container)
    );
    // The burstable level may have 3584 − 1024 = 2560 MiB.
    let level = ", qosReserved: 100%";
    assert_eq!(first(level, "1Gi", "", "base: 3600Mi"), at(WallKind::Kubepods));
    // 4096 − 66 − 1536 − 100 = 2394 MiB are left on the machine.
    assert_eq!(first(level, "1536Mi", "", "base: 3600Mi"), at(WallKind::Kernel));
}
