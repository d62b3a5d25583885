//! Processes outside `kubepods`.

use forestall_decide::Protection;
use forestall_sense::{SenseConfig, Sensor};

use crate::fixture::{CID, Fixture, Task, UID, group, sample_at};
use crate::{container, kib};

#[test]
fn large_processes_outside_kubepods_are_listed() {
    let fixture = Fixture::v2();
    let pod = container(UID, CID);
    fixture.group(&pod, 1);
    fixture.group("/system.slice/a.service", 1);
    // The machine has 1,000,000 kB: the threshold is 1,000 kB.
    let service = "/system.slice/a.service/below";
    fixture.task(&Task {
        pid: 400,
        comm: "leak",
        cgroup: service,
        anon_kib: 5_000,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 401,
        comm: "rootling",
        anon_kib: 2_000,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 402,
        comm: "small",
        anon_kib: 999,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 403,
        comm: "inpod",
        cgroup: &pod,
        anon_kib: 50_000,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 404,
        comm: "kworker",
        anon_kib: 9_000,
        flags: 0x0020_0000,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 405,
        comm: "etcd",
        anon_kib: 9_000,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 406,
        comm: "spared",
        anon_kib: 9_000,
        oom_score_adj: -900,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 100);
    let seen: Vec<_> = sample
        .processes
        .iter()
        .map(|process| (process.id.pid, process.unreclaimable, process.protection))
        .collect();
    assert_eq!(
        seen,
        [
            (400, kib(5_000), None),
            (401, kib(2_000), None),
            (405, kib(9_000), Some(Protection::NodeAgent)),
            (406, kib(9_000), Some(Protection::OomScoreAdj)),
        ]
    );
    assert_eq!(
        sample.processes[0].group,
        Some(group(&sensor, "/system.slice/a.service").id)
    );
    assert_eq!(sample.processes[1].group, None);
    assert_eq!(sensor.process_name(sample.processes[0].id), Some(&b"leak"[..]));
    // Followed ones are read in every sample, and dropped when they end.
    fixture.task(&Task {
        pid: 400,
        comm: "leak",
        cgroup: service,
        anon_kib: 6_000,
        ..Task::default()
    });
    assert_eq!(sample_at(&mut sensor, 200).processes[0].unreclaimable, kib(6_000));
}

#[test]
fn a_new_leak_is_seen_in_a_pass_and_at_once_with_attention() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    assert!(sample_at(&mut sensor, 100).processes.is_empty());
    fixture.task(&Task {
        pid: 400,
        anon_kib: 5_000,
        ..Task::default()
    });
    sensor.set_attention(true);
    assert_eq!(sample_at(&mut sensor, 200).processes.len(), 1);
    sensor.set_attention(false);
    fixture.task(&Task {
        pid: 401,
        anon_kib: 5_000,
        ..Task::default()
    });
    assert_eq!(sample_at(&mut sensor, 300).processes.len(), 1);
    assert_eq!(sample_at(&mut sensor, 1_500).processes.len(), 2);
}

#[test]
fn a_reused_pid_is_another_process() {
    let fixture = Fixture::v2();
    let pod = container(UID, CID);
    fixture.group(&pod, 1);
    fixture.task(&Task {
        pid: 400,
        start_ticks: 5,
        cgroup: &pod,
        anon_kib: 5_000,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    assert!(sample_at(&mut sensor, 100).processes.is_empty());
    fixture.end_task(400);
    fixture.task(&Task {
        pid: 400,
        start_ticks: 9,
        anon_kib: 5_000,
        ..Task::default()
    });
    let sample = sample_at(&mut sensor, 1_500);
    assert_eq!(sample.processes.len(), 1);
    assert_eq!(sample.processes[0].id.start_ticks, 9);
}

#[test]
fn the_largest_processes_are_kept_when_there_are_too_many() {
    let fixture = Fixture::v2();
    for pid in 400..420 {
        fixture.task(&Task {
            pid,
            anon_kib: u64::from(pid) * 10,
            ..Task::default()
        });
    }
    let config = SenseConfig {
        processes_max: 3,
        ..fixture.config()
    };
    let mut sensor = Sensor::open(&config).expect("a sensor");
    let pids: Vec<u32> = sample_at(&mut sensor, 100)
        .processes
        .iter()
        .map(|process| process.id.pid)
        .collect();
    assert_eq!(pids, [417, 418, 419]);
}

#[test]
fn a_container_that_starts_in_its_runtimes_cgroup_is_soon_known_for_one() {
    let fixture = Fixture::v2();
    let pod = container(UID, CID);
    fixture.group(&pod, 1);
    let start = Task {
        pid: 400,
        anon_kib: 5_000,
        ..Task::default()
    };
    fixture.task(&Task {
        comm: "runc:[2:INIT]",
        cgroup: "/system.slice/containerd.service",
        ..start.clone()
    });
    let mut sensor = fixture.open();
    assert_eq!(sample_at(&mut sensor, 100).processes.len(), 1);
    fixture.task(&Task {
        comm: "java",
        cgroup: &pod,
        ..start
    });
    sensor.set_attention(true);
    assert!(sample_at(&mut sensor, 1_100).processes.is_empty());
}

#[test]
fn at_rest_a_new_process_is_seen_within_ten_seconds_and_at_once_when_memory_is_taken() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    assert!(sample_at(&mut sensor, 100).processes.is_empty());
    sensor.set_rest(true);
    fixture.task(&Task {
        pid: 400,
        anon_kib: 2_000,
        ..Task::default()
    });
    assert!(sample_at(&mut sensor, 5_000).processes.is_empty());
    assert_eq!(sample_at(&mut sensor, 10_100).processes.len(), 1);
    // The fixture has 700,000 of 1,000,000 kB available; a 64th of it is 15,625 kB.
    fixture.task(&Task {
        pid: 401,
        anon_kib: 5_000,
        ..Task::default()
    });
    assert_eq!(sample_at(&mut sensor, 11_000).processes.len(), 1);
    fixture.meminfo("MemAvailable", 684_000);
    assert_eq!(sample_at(&mut sensor, 11_100).processes.len(), 2);
}

#[test]
fn at_rest_a_number_given_out_again_is_another_process() {
    let fixture = Fixture::v2();
    let pod = container(UID, CID);
    fixture.group(&pod, 1);
    fixture.task(&Task {
        pid: 400,
        start_ticks: 5,
        cgroup: &pod,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    assert!(sample_at(&mut sensor, 100).processes.is_empty());
    fixture.end_task(400);
    sample_at(&mut sensor, 10_100);
    fixture.task(&Task {
        pid: 400,
        start_ticks: 9,
        anon_kib: 5_000,
        ..Task::default()
    });
    assert_eq!(sample_at(&mut sensor, 20_100).processes.len(), 1);
}

#[test]
fn what_was_taken_at_rest_is_seen_in_the_first_sample_after_it() {
    let fixture = Fixture::v2();
    fixture.task(&Task {
        pid: 400,
        anon_kib: 5_000,
        ..Task::default()
    });
    fixture.group("/system.slice/a.service", 1);
    let pod = container(UID, CID);
    fixture.group(&pod, 1);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    sensor.set_rest(true);
    fixture.task(&Task {
        pid: 400,
        anon_kib: 6_000,
        ..Task::default()
    });
    fixture.current("/system.slice/a.service", 2);
    fixture.current(&pod, 2);
    // In kubepods nothing rests.
    assert_eq!(sample_at(&mut sensor, 200).processes[0].unreclaimable, kib(5_000));
    assert_eq!(group(&sensor, "/system.slice/a.service").current.0, 1);
    assert_eq!(group(&sensor, &pod).current.0, 2);
    sensor.set_rest(false);
    assert_eq!(sample_at(&mut sensor, 300).processes[0].unreclaimable, kib(6_000));
    assert_eq!(group(&sensor, "/system.slice/a.service").current.0, 2);
}
