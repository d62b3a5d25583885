//! A pod that asks for memory at its own level: who finds a place beside it, whom the kernel picks, and what is kept for it.

mod watched;

use forestall_decide::WallKind;
use forestall_sim::{Report, Scenario, What, parse_scenario};
use watched::{first_kill, run};

fn scenario(node: &str, pods: &str) -> Scenario {
    parse_scenario(&format!(
        "title: pods\nduration: 3m\nnodes:\n  - {{ name: a, {node} }}\npods:\n{pods}"
    ))
    .expect("fine")
}

fn waits_for_a_place(report: &Report) -> bool {
    let waits = |event: &forestall_sim::Event| matches!(event.what, What::PodPending { .. });
    report.events.iter().any(waits)
}

// Allocatable are 4096 − 100 MiB.
#[test]
fn the_scheduler_counts_what_a_pod_requests_itself() {
    let waits = |second: &str| {
        let pods = format!(
            "  - {{ name: first, request: 3Gi, containers: [{{ name: a, request: 1Gi }}, {{ name: b }}] }}\n  \
             - {{ name: second, start: 10s, {second}, containers: [{{ name: a }}] }}\n"
        );
        waits_for_a_place(&run(&scenario("memory: 4Gi", &pods), false))
    };
    assert!(!waits("request: 924Mi"));
    assert!(waits("request: 925Mi"));
    // A limit alone is the request.
    assert!(!waits("limit: 924Mi"));
    assert!(waits("limit: 925Mi"));
}

fn killed(report: &Report) -> Vec<String> {
    let killed = |event: &forestall_sim::Event| match &event.what {
        What::KernelKilled { victim, .. } => Some(victim.name.to_string()),
        What::NodeLost => Some("the node".to_owned()),
        _ => None,
    };
    report.events.iter().filter_map(killed).collect()
}

// mm/memcontrol.c, try_charge_memcg: without anybody to kill the charge fails. What lies in the volume stays, and whoever fills it is
// killed at each start: at 10 s, and after 1, 10, 20, 40 and 80 s from then on.
#[test]
fn a_volume_that_fills_its_pods_limit_costs_nobody_else_and_no_node() {
    let pods = "  - { name: calm, node: 0, containers: [{ name: app, base: 300Mi }] }\n  \
         - { name: full, node: 0, limit: 400Mi, containers: [{ name: app, volume: true, load: { leak: { of: shmem, rate: 40Mi/s } } }] }\n";
    let report = run(&scenario("memory: 4Gi", pods), false);
    assert_eq!(killed(&report), ["full-0/app"; 6]);
}

// The same at the limit of `kubepods`: it is nobody's but theirs who ask for more there.
#[test]
fn a_volume_that_fills_kubepods_loses_no_node() {
    let pods = "  - { name: full, node: 0, containers: [{ name: app, volume: true, load: { leak: { of: shmem, rate: 400Mi/s } } }] }\n  \
         - { name: calm, node: 0, containers: [{ name: app, base: 300Mi }] }\n";
    let node = "memory: 4Gi, kubelet: { kubeReserved: 512Mi, evictionHard: 1Mi }";
    let killed = killed(&run(&scenario(node, pods), false));
    assert!(!killed.contains(&"the node".to_owned()), "{killed:?}");
    assert!(killed.contains(&"full-0/app".to_owned()), "{killed:?}");
}

// mm/oom_kill.c, oom_badness: what is held, and oom_score_adj in thousandths of the machine. `large` has 400 + 1000 − 500 of 1000,
// `small` 50 + 1000; without the request it is 1400.
#[test]
fn the_kernel_spares_whom_its_pods_own_request_covers() {
    let killed = |request: &str| {
        let node = "memory: 1000Mi, kubernetes: false, host: [{ name: daemon, oomScoreAdj: -999, load: { leak: { rate: 20Mi/s } } }]";
        let pods = format!(
            "  - {{ name: large, node: 0, {request} containers: [{{ name: app, base: 400Mi }}] }}\n  \
             - {{ name: small, node: 0, containers: [{{ name: app, base: 50Mi }}] }}\n"
        );
        first_kill(&run(&scenario(node, &pods), false)).map(|(name, ..)| name)
    };
    assert_eq!(killed("request: 500Mi,").as_deref(), Some("small-0/app"));
    assert_eq!(killed("").as_deref(), Some("large-0/app"));
}

// (4096 − 1024) MiB at 32 MiB/s: k/k qos_container_manager_linux.go, getQoSMemoryRequests.
#[test]
fn the_level_below_leaves_room_for_what_a_pod_requests_itself() {
    let pods = "  - { name: kept, node: 0, limit: 1Gi, containers: [{ name: app, base: 100Mi }] }\n  \
                - { name: leak, node: 0, containers: [{ name: app, load: { leak: { rate: 32Mi/s } } }] }\n";
    let report = run(
        &scenario("memory: 4Gi, kubelet: { qosReserved: 100% }", pods),
        false,
    );
    let at_level = ("leak-0/app".to_owned(), WallKind::Kubepods, 96_000);
    assert_eq!(first_kill(&report), Some(at_level));
}
