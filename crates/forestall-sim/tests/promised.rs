//! Who pays where memory was promised: whoever holds more than he asked for, and not the one who takes what is his.

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

// Of 15 GiB for pods the database is promised 9, and takes them within a minute, beside one that holds 4.5 GiB more than it asked for and
// takes 10 MiB more a second. The kubelet may evict that one, too.
#[test]
fn who_takes_what_it_was_promised_lives_and_who_creeps_beyond_his_request_goes() {
    let pods = "  - { name: db, node: 0, priority: 1000, containers: [{ name: c, request: 9Gi, limit: 9Gi, base: 1Gi, load: { leak: { \
                rate: 150Mi/s, total: 7900Mi, delay: 8m } } }] }\n  \
                - { name: creep, node: 0, containers: [{ name: c, request: 256Mi, load: { leak: { rate: 10Mi/s } } }] }\n  \
                - { name: web, node: 0, containers: [{ name: c, request: 1Gi, base: 900Mi }] }\n";
    let (ours, others) = ended(
        30,
        "memory: 16Gi, kubelet: { kubeReserved: 1Gi, evictionHard: 200Mi }",
        pods,
    );
    assert!(!ours.is_empty(), "somebody has to go");
    let mut all = ours.iter().chain(&others);
    assert!(all.all(|name| name.starts_with("creep-0")), "{ours:?} {others:?}");
}

// 1.5 GiB are promised, and the leak has left less: it holds 4.7 GiB.
#[test]
fn where_the_promised_is_taken_already_the_taker_goes() {
    let pods = "  - { name: leak, node: 0, containers: [{ name: c, request: 256Mi, load: { leak: { rate: 8Mi/s } } }] }\n  \
                - { name: shop, node: 0, start: 10m, containers: [{ name: c, request: 1500Mi, limit: 1500Mi, load: { heap: { step: 200Mi, \
                interval: 2s, freed: 40%, plateau: 1400Mi } } }] }\n  \
                - { name: web, node: 0, containers: [{ name: c, base: 1500Mi, request: 1500Mi }] }\n";
    let (ours, others) = ended(20, "memory: 8Gi, kubelet: { evictionHard: 100Mi }", pods);
    assert!(!ours.is_empty(), "somebody has to go");
    assert!(ours.iter().all(|name| name == "leak-0/c"), "{ours:?}");
    assert_eq!(others, [""; 0]);
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

// 900 and 1,030 MiB of 2,048, at 20 MiB a second and without a limit: nobody can know that it stops there, until it came back for that.
#[test]
fn who_comes_back_and_takes_the_same_again_is_not_killed_for_ever() {
    let pods = "  - { name: web, node: 0, containers: [{ name: c, base: 900Mi, request: 900Mi }] }\n  \
                - { name: fill, node: 0, start: 1m, containers: [{ name: c, load: { leak: { rate: 20Mi/s, total: 1030Mi } } }] }\n";
    let (ours, others) = ended(10, "memory: 2Gi, kubelet: { evictionHard: 100Mi }", pods);
    assert!(ours.len() <= 3, "{ours:?}");
    assert_eq!(others, [""; 0]);
}
