//! What a kill by the kernel takes: a container whole, or one process of it where the kubelet sets no `memory.oom.group`.

mod watched;

use forestall_decide::Bytes;
use forestall_sim::{What, parse_scenario};
use watched::run;

/// What the kernel killed, after how many seconds, and how many containers were started again. The same when every look is made.
fn killed(kubelet: &str, container: &str) -> (Vec<(u64, Bytes)>, u64) {
    let scenario = parse_scenario(&format!(
        "title: processes\nduration: 75s\nnodes: [{{ name: a, memory: 4Gi, kubelet: {{ {kubelet} }} }}]\n\
         pods: [{{ name: pool, node: 0, containers: [{{ name: app, load: {{ leak: {{ rate: 10Mi/s }} }}, {container} }}] }}]\n"
    ))
    .expect("fine");
    let report = run(&scenario, false);
    assert_eq!(report.events, run(&scenario, true).events);
    let kills = report.events.iter().filter_map(|event| match &event.what {
        What::KernelKilled { victim, .. } => Some((event.at.0 / 1_000_000, victim.held)),
        _ => None,
    });
    (kills.collect(), report.tally.restarts)
}

const ALONE: &str = "singleProcessOOMKill: true";

// 400 MiB at 10 MiB/s; each kill gives a hundred of them back.
#[test]
fn a_kill_takes_one_process_and_the_container_lives_on_where_the_kubelet_says_so() {
    let pool = "limit: 400Mi, largestProcess: 100Mi";
    let of_one = [40, 50, 60, 70].map(|at| (at, Bytes::mebi(100)));
    assert_eq!(killed(ALONE, pool), (of_one.to_vec(), 0));
    let whole = vec![(40, Bytes::mebi(400))];
    for kubelet in ["", "singleProcessOOMKill: false"] {
        assert_eq!(killed(kubelet, pool), (whole.clone(), 1), "{kubelet}");
    }
    // All that it holds is one process's.
    assert_eq!(killed(ALONE, "limit: 400Mi"), (whole, 1));
}

#[test]
fn the_last_process_takes_its_container_along() {
    // At 300 MiB nothing is left beside a process of as much.
    let (kills, restarts) = killed(ALONE, "limit: 300Mi, largestProcess: 300Mi");
    assert_eq!(
        (kills, restarts),
        (vec![(30, Bytes::mebi(300)), (61, Bytes::mebi(300))], 2)
    );
}
