//! Glances: looks at rest of which the engine is told later, or never.

use forestall_decide::{Bytes, Limit, Moment, Span};
use forestall_sense::Sensor;

use crate::container;
use crate::fixture::{CID, Fixture, Task, UID, group, sample_at};

/// What a glance saw available, kB.
fn glance_at(sensor: &mut Sensor, millis: u64) -> Option<u64> {
    let glance = sensor.glance(Moment(millis * 1000), Span(0))?;
    Some(glance.node.available.0 / 1024)
}

fn recall(sensor: &mut Sensor) -> Vec<(u64, u64)> {
    let mut recalled = Vec::new();
    while let Some(at) = sensor.recall() {
        recalled.push((at.0 / 1000, sensor.last().node.available.0 / 1024));
    }
    recalled
}

#[test]
fn a_glance_sees_what_is_taken_and_is_recalled_in_order() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 1_000);
    assert_eq!(glance_at(&mut sensor, 2_000), None, "not at rest");
    sensor.set_rest(true);
    // The fixture has 700,000 of 1,000,000 kB available; a 64th of it is 15,625 kB.
    assert_eq!(glance_at(&mut sensor, 3_000), Some(700_000));
    fixture.meminfo("MemAvailable", 685_000);
    let glance = sensor.glance(Moment(4_500_000), Span(0)).expect("at rest");
    assert_eq!(glance.taken, Bytes(15_000 * 1024));
    assert_eq!(
        sensor.last().node.available,
        Bytes(700_000 * 1024),
        "what was told"
    );
    fixture.meminfo("MemAvailable", 684_000);
    assert_eq!(glance_at(&mut sensor, 6_000), None);
    assert_eq!(recall(&mut sensor), [(3_000, 700_000), (4_500, 685_000)]);
    assert_eq!(
        sample_at(&mut sensor, 6_000).node.available,
        Bytes(684_000 * 1024)
    );
    assert_eq!(recall(&mut sensor), []);
}

#[test]
fn where_pods_or_a_kubelet_are_a_glance_is_not_enough() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    sample_at(&mut sensor, 1_000);
    assert!(glance_at(&mut sensor, 2_000).is_some());
    let fixture = Fixture::v2();
    fixture.group(&container(UID, CID), 1);
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    sample_at(&mut sensor, 1_000);
    assert_eq!(glance_at(&mut sensor, 2_000), None);
    let fixture = Fixture::v2();
    fixture.task(&Task {
        pid: 700,
        comm: "kubelet",
        cgroup: "/system.slice/kubelet.service",
        ..Task::default()
    });
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    assert!(sample_at(&mut sensor, 1_000).node.kubelet_present);
    assert_eq!(glance_at(&mut sensor, 2_000), None);
}

#[test]
fn what_glances_saw_is_told_once_a_minute() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    sample_at(&mut sensor, 1_000);
    assert!(glance_at(&mut sensor, 60_900).is_some());
    assert_eq!(glance_at(&mut sensor, 61_000), None);
    sample_at(&mut sensor, 61_000);
    assert!(glance_at(&mut sensor, 62_000).is_some());
}

#[test]
fn waiting_for_memory_is_seen_within_five_seconds_of_glances_and_ends_them() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    sample_at(&mut sensor, 10_000);
    fixture.set("proc/pressure/memory", "some total=90000\nfull total=0\n");
    assert!(glance_at(&mut sensor, 14_900).is_some());
    assert_eq!(glance_at(&mut sensor, 15_000), None);
}

#[test]
fn a_glance_that_cannot_read_is_none() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    sample_at(&mut sensor, 1_000);
    fixture.set("proc/meminfo", "");
    assert_eq!(glance_at(&mut sensor, 2_000), None);
    assert!(sensor.failures() > 0);
}

#[test]
fn at_rest_a_new_cgroup_and_its_limit_are_heard_of_and_in_the_next_sample() {
    let v2 = (Fixture::v2(), "memory.max");
    let v1 = (Fixture::v1(), "memory.limit_in_bytes");
    for (fixture, limit) in [v2, v1] {
        let docker = format!("/docker/{CID}");
        fixture.group("/docker", 4096);
        let mut sensor = fixture.open();
        sensor.set_rest(true);
        sample_at(&mut sensor, 1_000);
        assert!(!sensor.hear());
        // Everything was read, and rests.
        sample_at(&mut sensor, 2_000);
        assert!(glance_at(&mut sensor, 3_000).is_some() && !sensor.hear());
        fixture.group(&docker, 4096);
        assert!(sensor.hear() && sensor.hear(), "until it is followed");
        sample_at(&mut sensor, 3_001);
        assert_eq!(group(&sensor, &docker).limit, Limit::Max);
        // A runtime sets the limit after it has made the cgroup; here before the next second has begun.
        fixture.file(&docker, limit, "104857600\n");
        sample_at(&mut sensor, 3_002);
        assert_eq!(group(&sensor, &docker).limit, Limit::Bytes(Bytes::mebi(100)));
        assert!(!sensor.hear(), "once");
    }
}
