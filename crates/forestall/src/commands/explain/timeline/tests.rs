use std::io::Write;
use std::path::Path;

use super::*;
use crate::commands::explain::seeker::Seeker;
use crate::forensics::source;

const UID: &str = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
const OTHER: &str = "99999999-a15b-4cdd-b5e5-72d4a90bee82";

/// The kernel's kill in the pod [`UID`] at 16:05:50.
const KILL: &str = "16:05:50.000000 node-1 kernel: oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82/b27201334a41,task=java,pid=7,uid=0
16:05:50.000000 node-1 kernel: Out of memory: Killed process 7 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0";

fn short(at: &str) -> String {
    format!(
        "{at} node-1 kubelet[790]: W0528 {at}     790 eviction_manager.go:366] \"Eviction manager: attempting to reclaim\" resourceName=\"memory\""
    )
}

fn ends(at: &str, uid: &str) -> String {
    format!(
        "{at} node-1 kubelet[790]: I0528 {at}     790 kuberuntime_container.go:787] \"Killing container with a grace period\" pod=\"shop/cart-0\" podUID=\"{uid}\" containerName=\"web\" containerID=\"containerd://b27201334a41\" gracePeriod=1"
    )
}

fn evicted(at: &str) -> String {
    format!(
        "{at} node-1 kubelet[790]: I0528 {at}     790 eviction_manager.go:627] \"Eviction manager: pod is evicted successfully\" pod=\"shop/cart-0\""
    )
}

fn timeline(lines: &[String]) -> Timeline {
    let dated = lines.join("\n").replace('\n', "\nMay 28 ");
    let log = format!("May 28 {dated}\n");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(log.as_bytes()).expect("room");
    read(file.path())
}

fn read(log: &Path) -> Timeline {
    let mut seeker = Seeker::new(None);
    source::read(Some(log), &mut seeker).expect("a log");
    let report = seeker.found.expect("a kill");
    Timeline::of(&report, &seeker.around, None)
}

#[test]
fn kernel_and_kubelet_stand_on_one_time_line_and_the_first_of_them_is_named() {
    let told = timeline(&[
        short("16:05:46.500000"),
        KILL.to_owned(),
        ends("16:05:50.500000", OTHER).replace("cart-0", "mail-7"),
        ends("16:05:51.000000", UID),
        evicted("16:05:54.100000"),
        "16:05:55.000000 node-1 kubelet[790]: I0528 16:05:55.000000 790 kubelet.go:1] \"x\"".to_owned(),
    ]);
    assert_eq!(
        told.lines(),
        [
            "-3.5s kubelet: short of memory, begins to reclaim",
            "0 kernel: kills java (pid 7)",
            "+1.0s kubelet: ends container web of shop/cart-0 (this pod), 1 s of grace",
            "+4.1s kubelet: has evicted shop/cart-0 (this pod)",
        ]
    );
    let [("race", race)] = &told.remarks[..] else {
        panic!("{:?}", told.remarks)
    };
    assert!(
        race.contains(UID) && race.contains("the kernel was first") && race.contains("1.0s later"),
        "{race}"
    );
    let told = timeline(&[
        ends("16:05:48.000000", UID),
        KILL.to_owned(),
        evicted("16:05:54.100000"),
    ]);
    assert!(
        told.remarks[0].1.contains("the kubelet had begun 2.0s before"),
        "{:?}",
        told.remarks
    );
}

#[test]
fn a_container_that_was_ended_long_before_is_no_beginning_of_an_eviction() {
    let told = timeline(&[
        ends("16:00:50.000000", UID),
        KILL.to_owned(),
        ends("16:08:51.000000", UID),
        evicted("16:08:54.000000"),
    ]);
    let race = &told.remarks[0].1;
    assert!(
        race.contains("the kernel was first") && race.contains("181s later"),
        "{race}"
    );
}

#[test]
fn a_pod_of_the_same_name_is_not_the_same_pod() {
    for lines in [
        // Another one's UID; both; and none at all.
        vec![
            ends("16:05:48.000000", OTHER),
            KILL.to_owned(),
            evicted("16:05:54.000000"),
        ],
        vec![
            ends("16:05:44.000000", OTHER),
            ends("16:05:48.000000", UID),
            KILL.to_owned(),
            evicted("16:05:54.000000"),
        ],
        vec![KILL.to_owned(), evicted("16:05:54.000000")],
    ] {
        let told = timeline(&lines);
        assert!(
            told.remarks.iter().all(|(label, _)| *label != "race"),
            "{:?}",
            told.remarks
        );
        assert!(
            told.lines()
                .last()
                .is_some_and(|last| last.ends_with("has evicted shop/cart-0")),
            "{:?}",
            told.lines()
        );
    }
    let told = timeline(&[KILL.to_owned(), evicted("16:05:54.000000")]);
    assert!(told.remarks[0].1.contains("cannot be told by a name"));
}

#[test]
fn a_name_is_a_pods_only_while_its_container_ends() {
    // Five minutes before the pod of the kill was ended for some other reason. Who was evicted may be the next of its name.
    let told = timeline(&[
        ends("16:00:50.000000", UID),
        KILL.to_owned(),
        evicted("16:05:54.000000"),
    ]);
    let [("", said)] = &told.remarks[..] else {
        panic!("{:?}", told.remarks)
    };
    assert!(said.contains("cannot be told by a name"), "{said}");
}

#[test]
fn an_old_kubelets_line_is_joined_by_the_containers_id() {
    let line = |id: &str| {
        format!(
            "16:05:49.000000 node-1 kubelet[790]: I0528 16:05:49.000000     790 kuberuntime_container.go:600] Killing container \"docker://{id}\" with 30 second grace period"
        )
    };
    let told = timeline(&[line("b27201334a41"), line("c11111111111"), KILL.to_owned()]);
    assert_eq!(
        told.lines(),
        [
            "-1.0s kubelet: ends container b27201334a41 (this pod), 30 s of grace",
            "0 kernel: kills java (pid 7)",
        ]
    );
}

#[test]
fn a_memory_killer_stands_on_the_time_line() {
    let earlyoom = "16:05:45.000000 node-1 earlyoom[650]: sending SIGTERM to process 8033 uid 1000 \"tail\": badness 810, VmRSS 6500 MiB";
    let told = timeline(&[earlyoom.to_owned(), KILL.to_owned()]);
    assert_eq!(
        told.lines(),
        [
            "-5.0s earlyoom: sends SIGTERM to tail (pid 8033), for want of memory",
            "0 kernel: kills java (pid 7)",
        ]
    );
}

#[test]
fn a_message_with_an_old_figure_is_said_to_have_one() {
    let message = format!(
        "16:05:52.000000 node-1 kubelet[790]: I0528 16:05:52.000000     790 eviction_manager.go:601] \"Evicting pod\" pod=\"shop/cart-0\" podUID=\"{UID}\" message=\"The node was low on resource: memory. Threshold quantity: 100Mi, available: 81204Ki. Container web was using 900Mi, request is 0, has larger consumption of memory. \""
    );
    let told = timeline(&[KILL.to_owned(), message]);
    let stale = told.remarks.iter().find(|(label, _)| *label == "stale usage");
    assert!(
        stale.is_some_and(|(_, said)| said.contains("from before the kill")),
        "{:?}",
        told.remarks
    );
    assert!(
        told.lines()[1].contains("Container web was using 900Mi"),
        "{:?}",
        told.lines()
    );
}

#[test]
fn an_eviction_long_ago_and_a_log_without_a_kubelet_make_no_time_line() {
    let told = timeline(&[evicted("15:05:54.000000"), KILL.to_owned()]);
    assert_eq!(told, Timeline::default());
    assert_eq!(timeline(&[KILL.to_owned()]), Timeline::default());
}

#[test]
fn a_journal_in_json_tells_the_same() {
    let record = |micros: u64, transport: &str, message: &str| {
        let message = Value::from(message);
        format!(
            "{{\"__REALTIME_TIMESTAMP\":\"{micros}\",\"_TRANSPORT\":\"{transport}\",\"SYSLOG_IDENTIFIER\":\"{}\",\"MESSAGE\":{message}}}\n",
            if transport == "kernel" {
                "kernel"
            } else {
                "kubelet"
            }
        )
    };
    let kernel = KILL
        .lines()
        .map(|line| line.split_once("kernel: ").expect("a tag").1);
    let base = 1_716_912_350_000_000;
    let mut log: String = kernel.map(|line| record(base, "kernel", line)).collect();
    let said = |line: String| line.split_once("]: ").expect("a tag").1.to_owned();
    log += &record(base + 1_000_000, "stdout", &said(ends("16:05:51.000000", UID)));
    log += &record(base + 2_000_000, "stdout", &said(evicted("16:05:52.000000")));
    // Whatever a process writes to the kernel's log is not the kubelet's.
    log += &record(base + 3_000_000, "kernel", &said(evicted("16:05:53.000000")));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(log.as_bytes()).expect("room");
    let told = read(file.path());
    assert_eq!(told.lines().len(), 3, "{:?}", told.lines());
    assert!(
        told.remarks[0].1.contains("the kernel was first"),
        "{:?}",
        told.remarks
    );
}
