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
fn at_rest_a_new_process_is_seen_within_a_minute_and_at_once_when_memory_is_taken() {
    let fixture = Fixture::v2();
    fixture.group(&container(UID, CID), 1);
    let mut sensor = fixture.open();
    assert!(sample_at(&mut sensor, 100).processes.is_empty());
    sensor.set_rest(true);
    fixture.task(&Task {
        pid: 400,
        anon_kib: 2_000,
        ..Task::default()
    });
    assert!(sample_at(&mut sensor, 59_000).processes.is_empty());
    assert_eq!(sample_at(&mut sensor, 60_100).processes.len(), 1);
    // The fixture has 700,000 of 1,000,000 kB available; a 64th of it is 15,625 kB.
    fixture.task(&Task {
        pid: 401,
        anon_kib: 5_000,
        ..Task::default()
    });
    assert_eq!(sample_at(&mut sensor, 61_000).processes.len(), 1);
    fixture.meminfo("MemAvailable", 684_000);
    assert_eq!(sample_at(&mut sensor, 61_100).processes.len(), 2);
}

#[test]
fn at_rest_without_pods_a_new_process_is_seen_within_five_minutes_and_new_pods_at_once() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    sensor.set_rest(true);
    fixture.task(&Task {
        pid: 400,
        anon_kib: 2_000,
        ..Task::default()
    });
    fixture.set("proc/vmstat", "workingset_refault_file 77\noom_kill 4\n");
    assert_eq!(sample_at(&mut sensor, 59_000).node.oom_kills, 3);
    // A kill is counted within a minute.
    assert_eq!(sample_at(&mut sensor, 60_200).node.oom_kills, 4);
    assert!(sample_at(&mut sensor, 299_000).processes.is_empty());
    assert_eq!(sample_at(&mut sensor, 300_200).processes.len(), 1);
    fixture.task(&Task {
        pid: 401,
        anon_kib: 3_000,
        ..Task::default()
    });
    fixture.group(&container(UID, CID), 1);
    assert_eq!(sample_at(&mut sensor, 310_000).groups.len(), 4);
    assert_eq!(sample_at(&mut sensor, 311_000).processes.len(), 2);
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
    sample_at(&mut sensor, 60_100);
    fixture.task(&Task {
        pid: 400,
        start_ticks: 9,
        anon_kib: 5_000,
        ..Task::default()
    });
    assert_eq!(sample_at(&mut sensor, 120_100).processes.len(), 1);
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

#[test]
fn a_leak_goes_on_after_its_first_thread_has_ended() {
    let fixture = Fixture::v1();
    fixture.group("/kubepods", 1);
    fixture.task(&Task {
        pid: 400,
        anon_kib: 5_000,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    assert_eq!(sample_at(&mut sensor, 100).processes.len(), 1);
    // The kernel's view of a first thread that ended: a zombie without memory (and on v1 in the root cgroup).
    let end_first = |pid: u32| {
        fixture.set(
            &format!("proc/{pid}/stat"),
            format!("{pid} (task) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 5 0 0 1\n"),
        );
        fixture.set(&format!("proc/{pid}/status"), "Name:\ttask\nState:\tZ (zombie)\n");
        fixture.set(&format!("proc/{pid}/cgroup"), "4:memory:/\n");
    };
    let thread = |pid: u32, tid: u32, kib: u64, cgroup: &str| {
        let task = format!("proc/{pid}/task/{tid}");
        std::fs::create_dir_all(fixture.path(&task)).expect("made");
        fixture.set(
            &format!("{task}/status"),
            format!("State:\tS (sleeping)\nRssAnon:\t{kib} kB\n"),
        );
        fixture.set(&format!("{task}/cgroup"), format!("4:memory:{cgroup}\n"));
    };
    end_first(400);
    thread(400, 401, 6_000, "/");
    let sample = sample_at(&mut sensor, 200);
    assert_eq!(sample.processes.len(), 1);
    assert_eq!(sample.processes[0].id.pid, 400);
    assert_eq!(sample.processes[0].unreclaimable, kib(6_000));
    thread(400, 401, 7_000, "/");
    assert_eq!(sample_at(&mut sensor, 300).processes[0].unreclaimable, kib(7_000));
    // That thread ends as well, and another one leaks on.
    fixture.set("proc/400/task/401/status", "State:\tX (dead)\n");
    thread(400, 402, 8_000, "/");
    assert_eq!(sample_at(&mut sensor, 400).processes[0].unreclaimable, kib(8_000));
    // Somebody whose first thread ended before it was seen, in a pod.
    fixture.task(&Task {
        pid: 500,
        anon_kib: 0,
        ..Task::default()
    });
    end_first(500);
    thread(500, 501, 9_000, "/kubepods/burstable/pod1/c");
    sensor.set_attention(true);
    assert!(
        sample_at(&mut sensor, 500)
            .processes
            .iter()
            .all(|process| process.id.pid != 500)
    );
}

#[test]
fn a_zombie_without_threads_is_nobody() {
    let fixture = Fixture::v2();
    fixture.task(&Task {
        pid: 400,
        anon_kib: 5_000,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    assert_eq!(sample_at(&mut sensor, 100).processes.len(), 1);
    fixture.set(
        "proc/400/stat",
        "400 (task) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0 1\n",
    );
    fixture.set("proc/400/status", "Name:\ttask\nState:\tZ (zombie)\n");
    std::fs::create_dir_all(fixture.path("proc/400/task/400")).expect("made");
    assert!(sample_at(&mut sensor, 200).processes.is_empty());
}

#[test]
fn at_rest_pressure_is_at_most_five_seconds_old_and_read_at_once_afterwards() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 10_000);
    sensor.set_rest(true);
    let stalled = |micros: u64| {
        fixture.set(
            "proc/pressure/memory",
            format!("some total={micros}\nfull total=0\n"),
        );
    };
    let micros = |sensor: &mut Sensor, millis| {
        sample_at(sensor, millis)
            .node
            .stall
            .map(|stall| stall.some_micros)
    };
    stalled(2_000);
    assert_eq!(micros(&mut sensor, 14_900), Some(1_234));
    assert_eq!(micros(&mut sensor, 15_000), Some(2_000));
    stalled(3_000);
    sensor.set_rest(false);
    assert_eq!(micros(&mut sensor, 15_100), Some(3_000));
}
