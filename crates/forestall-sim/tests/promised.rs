//! Who need not end, because what it takes is its own, and who has to, in time for every wall.

use forestall_sim::{RunOptions, What, parse_scenario};

/// Whom the agent kills, by its default policy, and whom the kernel and the kubelet do.
fn ended(minutes: u32, node: &str, pods: &str) -> (Vec<String>, Vec<String>) {
    let text = format!(
        "title: t\nduration: {minutes}m\npolicy: {{}}\nnodes: [{{ name: a, {node} }}]\n\
         pods:\n{pods}"
    );
    let world = parse_scenario(&text).expect(&text).world;
    let report = world
        .run(RunOptions::default(), &mut |_| ())
        .expect("a sound world");
    assert_eq!(report.violations, [], "{text}");
    let names = |take: &dyn Fn(&What) -> Option<Box<str>>| {
        let found = report.events.iter().filter_map(|event| take(&event.what));
        found.map(String::from).collect()
    };
    let ours = names(&|what| match what {
        What::Ordered(order) if order.rung.ends_somebody() => {
            Some(order.target.as_ref()?.victim.name.clone())
        }
        _ => None,
    });
    let others = names(&|what| match what {
        What::KernelKilled { victim, .. } | What::Evicting { victim, .. } => Some(victim.name.clone()),
        _ => None,
    });
    (ours, others)
}

// 4,096 and 3,686 of 8,192 MiB: 410 are left, and the heap's limit lies 214 above its plateau.
#[test]
fn who_meets_a_limit_of_its_own_before_the_node_is_full_is_left_alone() {
    let pods = "  - { name: web, node: 0, containers: [{ name: c, base: 4Gi, request: 4Gi }] }\n  \
                - { name: heap, node: 0, start: 2m, containers: [{ name: c, request: 3900Mi, limit: 3900Mi, load: { heap: { step: 100Mi, \
                interval: 1s, freed: 30%, plateau: 3686Mi } } }] }\n";
    assert_eq!(
        ended(10, "memory: 8Gi, kubelet: { evictionHard: 100Mi }", pods),
        (vec![], vec![])
    );
}

// The database fills the 9 GiB that are its request and its limit beside one who crept to 5 GiB on 256 MiB: its processes have the kubelet's −997,
// and the kernel, too, takes somebody else.
#[test]
fn a_guaranteed_pod_is_never_killed_for_what_it_was_promised() {
    let pods = "  - { name: creep, node: 0, containers: [{ name: c, base: 1Gi, request: 256Mi, load: { leak: { rate: 10Mi/s } } }] }\n  \
                - { name: db, node: 0, start: 5m, containers: [{ name: c, base: 1Gi, request: 10Gi, limit: 10Gi, load: { leak: { rate: 40Mi/s, \
                total: 8700Mi } } }] }\n";
    let (ours, others) = ended(15, "memory: 16Gi, kubelet: { kubeReserved: 512Mi }", pods);
    let is_db = |name: &String| name.starts_with("db");
    assert!(!ours.iter().chain(&others).any(is_db), "{ours:?} {others:?}");
}

// The job stops at 869 of the 919 MiB that it requests, with 20 MiB left beside a host that leaks 2 MiB/s: for some seconds it still is who grew most.
#[test]
fn who_has_just_stopped_within_its_request_is_not_killed_for_who_creeps_on_beside_it() {
    let pods = "  - { name: calm, node: 0, containers: [{ name: c, base: 876Mi, request: 876Mi }] }\n  \
                - { name: job, node: 0, start: 20s, containers: [{ name: c, base: 50Mi, request: 919Mi, load: { burst: { size: 819Mi, rise: 35s, \
                hold: 40s, every: 400s } } }] }\n";
    let node = "memory: 2Gi, kubelet: { evictionHard: 20Mi }, host: [{ name: leak, base: 50Mi, load: { leak: { rate: 2Mi/s } } }]";
    let (ours, others) = ended(4, node, pods);
    let is_pods = |name: &String| name.starts_with("job") || name.starts_with("calm");
    assert!(!ours.iter().chain(&others).any(is_pods), "{ours:?} {others:?}");
}

// Leak and job grow at once, the job faster, and it needs 5 GiB of 8 that it requests; the leak stands at forty times its own request.
#[test]
fn a_job_within_its_request_is_not_killed_beside_a_leak_beyond_its_own() {
    let pods = "  - { name: leak, node: 0, containers: [{ name: c, request: 163Mi, base: 50Mi, load: { leak: { rate: 16Mi/s } } }] }\n  \
                - { name: job, node: 0, containers: [{ name: c, request: 5015Mi, base: 50Mi, load: { burst: { size: 4915Mi, rise: 46s, hold: 15s, \
                every: 162s } } }] }\n";
    let (ours, others) = ended(15, "memory: 8Gi", pods);
    assert!(
        !ours.is_empty() && ours.iter().all(|name| name == "leak-0/c"),
        "{ours:?}"
    );
    assert_eq!(others, [""; 0]);
}

// It crosses its request 40 MiB before the limit of all pods, and the node's end is 40 MiB further away: its TERM is given for that.
#[test]
fn who_waits_in_term_for_one_wall_is_finished_for_a_nearer_one() {
    let pods = "  - { name: leak, node: 0, containers: [{ name: c, request: 2840Mi, base: 200Mi, load: { leak: { rate: 80Mi/s, delay: 367s } } }] }\n  \
                - { name: still, node: 0, containers: [{ name: c, base: 1Gi }] }\n";
    let node = "memory: 4Gi, kubelet: { kubeReserved: 192Mi, evictionHard: 20Mi }";
    let (ours, others) = ended(8, node, pods);
    assert!(
        !ours.is_empty() && ours.iter().all(|name| name == "leak-0/c"),
        "{ours:?}"
    );
    assert_eq!(others, [""; 0]);
}
