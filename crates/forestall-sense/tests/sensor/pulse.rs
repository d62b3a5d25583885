//! The kubelet's pulse: when it last used processor time for its own code.

use forestall_decide::Moment;
use forestall_sense::Sensor;

use crate::fixture::{Fixture, Task, sample_at};

const KUBELET: Task<'_> = Task {
    pid: 700,
    comm: "kubelet",
    parent: 1,
    start_ticks: 5,
    oom_score_adj: -999,
    cgroup: "/system.slice/kubelet.service",
    anon_kib: 50_000,
    flags: 0,
    user_ticks: 40,
    uid: 0,
};

/// When the kubelet was heard last, seconds, as told by a sample at `secs`.
fn heard_at(sensor: &mut Sensor, secs: u64) -> u64 {
    sample_at(sensor, secs * 1000).node.kubelet_heard_at.0 / 1_000_000
}

#[test]
fn a_kubelet_that_works_is_heard_and_one_that_does_not_falls_silent() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    assert_eq!(sample_at(&mut sensor, 1_000).node.kubelet_heard_at, Moment(0));
    fixture.task(&KUBELET);
    let mut sensor = fixture.open();
    assert_eq!(heard_at(&mut sensor, 10), 10, "it is there");
    fixture.task(&Task {
        user_ticks: 41,
        ..KUBELET
    });
    assert_eq!(heard_at(&mut sensor, 14), 10, "it is asked every five seconds");
    assert_eq!(heard_at(&mut sensor, 15), 15);
    for secs in [20, 40, 75] {
        assert_eq!(heard_at(&mut sensor, secs), 15, "at {secs} s");
    }
    // What it spends in the kernel is no work: field 15 of proc(5) is not looked at.
    let stat = std::fs::read_to_string(fixture.path("proc/700/stat")).expect("a line");
    fixture.set("proc/700/stat", stat.replace(" 41 0 ", " 41 900 "));
    assert_eq!(heard_at(&mut sensor, 80), 15);
    fixture.task(&Task {
        user_ticks: 42,
        ..KUBELET
    });
    assert_eq!(heard_at(&mut sensor, 85), 85);
}

#[test]
fn a_users_process_that_calls_itself_kubelet_is_none() {
    let fixture = Fixture::v2();
    fixture.task(&Task { uid: 1000, ..KUBELET });
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 10_000);
    assert!(!sample.node.kubelet_present);
    assert_eq!(sample.node.kubelet_heard_at, Moment(0));
}

#[test]
fn it_is_heard_while_everything_else_rests() {
    let fixture = Fixture::v2();
    fixture.task(&KUBELET);
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    assert_eq!(heard_at(&mut sensor, 10), 10);
    fixture.task(&Task {
        user_ticks: 41,
        ..KUBELET
    });
    assert_eq!(heard_at(&mut sensor, 16), 16);
}

#[test]
fn one_that_was_started_again_is_heard_by_that() {
    let fixture = Fixture::v2();
    fixture.task(&KUBELET);
    let mut sensor = fixture.open();
    assert_eq!(heard_at(&mut sensor, 10), 10);
    // A file that is held stays readable here; proc has nothing more to say of a process that has ended.
    fixture.set("proc/700/stat", "");
    fixture.end_task(700);
    assert_eq!(heard_at(&mut sensor, 20), 10);
    fixture.task(&Task {
        pid: 701,
        user_ticks: 0,
        ..KUBELET
    });
    assert_eq!(heard_at(&mut sensor, 21), 21);
    assert_eq!(heard_at(&mut sensor, 60), 21);
}

#[test]
fn who_only_has_its_name_in_a_pod_is_not_listened_to() {
    let fixture = Fixture::v2();
    let container = crate::container(crate::fixture::UID, crate::fixture::CID);
    fixture.group(&container, 1);
    fixture.task(&Task {
        cgroup: &container,
        ..KUBELET
    });
    let mut sensor = fixture.open();
    assert_eq!(heard_at(&mut sensor, 10), 0);
}
