//! Small processes of a cgroup whose growth the large ones do not explain.

use forestall_sense::Sensor;

use crate::fixture::{Fixture, Task, group, sample_at};
use crate::kib;

const SERVICE: &str = "/system.slice/a.service";
const NEIGHBOUR: &str = "/system.slice/b.service";

/// Two services of three small processes each. The machine has 1,000,000 kB: what holds 1,000 kB is large.
fn services() -> Fixture {
    let fixture = Fixture::v2();
    for (service, first) in [(SERVICE, 400), (NEIGHBOUR, 500)] {
        fixture.group(service, 0);
        for pid in first..first + 3 {
            fixture.task(&small(pid, service));
        }
        hold(&fixture, service, 10_000);
    }
    fixture
}

fn small(pid: u32, cgroup: &str) -> Task<'_> {
    Task {
        pid,
        cgroup,
        anon_kib: 100,
        ..Task::default()
    }
}

fn hold(fixture: &Fixture, service: &str, kib: u64) {
    fixture.current(service, kib * 1024);
}

fn followed(sensor: &mut Sensor, millis: u64) -> Vec<u32> {
    let processes = &sample_at(sensor, millis).processes;
    processes.iter().map(|process| process.id.pid).collect()
}

#[test]
fn processes_of_a_cgroup_that_grows_unexplained_are_followed_however_small() {
    let fixture = services();
    let mut sensor = fixture.open();
    assert_eq!(followed(&mut sensor, 100), []);
    hold(&fixture, SERVICE, 10_999);
    assert_eq!(followed(&mut sensor, 200), []);
    hold(&fixture, SERVICE, 11_000);
    assert_eq!(followed(&mut sensor, 300), [400, 401, 402]);
    let first = sample_at(&mut sensor, 400).processes[0];
    assert_eq!((first.unreclaimable, first.protection), (kib(100), None));
    assert_eq!(first.group, Some(group(&sensor, SERVICE).id));
    assert_eq!(sensor.process_name(first.id), Some(&b"task"[..]));
    // One that comes later is found, one that ends is dropped.
    fixture.task(&small(410, SERVICE));
    fixture.end_task(401);
    assert_eq!(followed(&mut sensor, 1_500), [400, 402, 410]);
}

#[test]
fn suspicion_ends_a_minute_after_the_growth() {
    let fixture = services();
    let mut sensor = fixture.open();
    followed(&mut sensor, 100);
    hold(&fixture, SERVICE, 20_000);
    assert_eq!(followed(&mut sensor, 30_000), [400, 401, 402]);
    assert_eq!(followed(&mut sensor, 60_200), [400, 401, 402]);
    assert_eq!(followed(&mut sensor, 119_000), [400, 401, 402]);
    followed(&mut sensor, 120_300);
    assert_eq!(followed(&mut sensor, 120_400), []);
}

#[test]
fn growth_that_a_followed_process_explains_makes_nobody_suspect() {
    let fixture = services();
    let large = |kib: u64| {
        fixture.task(&Task {
            anon_kib: kib,
            ..small(410, SERVICE)
        });
    };
    large(5_000);
    let mut sensor = fixture.open();
    assert_eq!(followed(&mut sensor, 100), [410]);
    hold(&fixture, SERVICE, 30_000);
    large(15_001);
    assert_eq!(followed(&mut sensor, 200), [410]);
    // What it held before explains nothing of what came since.
    hold(&fixture, SERVICE, 50_000);
    assert_eq!(followed(&mut sensor, 300), [400, 401, 402, 410]);
}

#[test]
fn at_rest_and_in_protected_cgroups_nobody_is_suspect() {
    let fixture = services();
    fixture.task(&Task {
        comm: "sshd",
        ..small(402, SERVICE)
    });
    let mut sensor = fixture.open();
    followed(&mut sensor, 100);
    hold(&fixture, SERVICE, 90_000);
    assert_eq!(followed(&mut sensor, 200), []);
    sensor.set_rest(true);
    hold(&fixture, NEIGHBOUR, 90_000);
    assert_eq!(followed(&mut sensor, 60_100), []);
    sensor.set_rest(false);
    // Counting begins when rest ends.
    assert_eq!(followed(&mut sensor, 60_200), []);
    hold(&fixture, NEIGHBOUR, 92_000);
    assert_eq!(followed(&mut sensor, 60_300), [500, 501, 502]);
}

#[test]
fn thirty_two_suspects_are_followed_beside_the_large_processes_and_the_first_of_a_cgroup_among_them() {
    let fixture = services();
    // More large children than are followed, and a parent that is smaller than each of them.
    for pid in 1_000..1_300 {
        fixture.task(&Task {
            anon_kib: 4_000,
            ..small(pid, SERVICE)
        });
    }
    let mut sensor = fixture.open();
    assert_eq!(followed(&mut sensor, 100).len(), 256);
    // Somebody else grows unexplained, too, but less.
    hold(&fixture, NEIGHBOUR, 60_000);
    hold(&fixture, SERVICE, 90_000);
    let pids = followed(&mut sensor, 200);
    assert!(!pids.contains(&500), "{pids:?}");
    assert!(pids.starts_with(&[400, 401, 402, 1_000]), "{pids:?}");
    assert!(pids.len() <= 256 + 32, "{}", pids.len());
}
