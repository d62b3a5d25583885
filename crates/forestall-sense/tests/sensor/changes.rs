//! Cgroups that come and go, and files that go wrong.

use std::fs;

use forestall_decide::{Bytes, GroupKind, Limit, Moment, Span};
use forestall_kernel::cgroup::{Bounds, Hearing};
use forestall_sense::{SenseConfig, Sensor};

use crate::fixture::{CID, Fixture, OTHER_CID, UID, group, sample_at};
use crate::{container, kib};

#[test]
fn cgroups_come_and_go_between_samples() {
    let fixture = Fixture::v2();
    let (one, two) = (container(UID, CID), container(UID, OTHER_CID));
    fixture.group(&one, 1000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    let kept = group(&sensor, &one).id;
    fixture.group(&two, 2000);
    sample_at(&mut sensor, 6_000);
    assert_eq!(group(&sensor, &two).current, Bytes(2000));
    fs::remove_dir_all(fixture.cgroup(&two)).expect("removed");
    let sample = sample_at(&mut sensor, 12_000);
    assert_eq!(sample.groups.len(), 4);
    assert_eq!(group(&sensor, &one).id, kept);
    assert_eq!(sensor.failures(), 0, "that a cgroup goes away is normal");
    // Everything goes, kubepods too.
    fs::remove_dir_all(fixture.cgroup("/kubepods")).expect("removed");
    assert!(sample_at(&mut sensor, 18_000).groups.is_empty());
    assert_eq!(sensor.failures(), 0);
}

#[test]
fn room_for_a_crowd_is_given_back_when_it_has_gone() {
    let fixture = Fixture::v2();
    fixture.group("/docker", 1);
    let mut sensor = fixture.open();
    let names: Vec<String> = (0..600).map(|number| format!("/docker/{number}")).collect();
    for name in &names {
        fixture.group(name, 1);
    }
    assert_eq!(sample_at(&mut sensor, 1_000).groups.len(), 601);
    for name in &names {
        fs::remove_dir_all(fixture.cgroup(name)).expect("removed");
    }
    sensor.sample(Moment(9_000_000), Span(0));
    let groups = &sensor.last().groups;
    assert_eq!(groups.len(), 1);
    assert!(groups.capacity() < 200, "{}", groups.capacity());
}

#[test]
fn changes_are_read_at_once_and_idle_figures_within_a_second() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 1000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    fixture.current(&one, 2000);
    fixture.file(&one, "memory.stat", "anon 1900\n");
    sample_at(&mut sensor, 200);
    assert_eq!(
        (group(&sensor, &one).current, group(&sensor, &one).anon),
        (Bytes(2000), Bytes(1900))
    );
    fixture.file(&one, "memory.stat", "anon 1800\n");
    fixture.file(&one, "memory.max", "4096\n");
    sample_at(&mut sensor, 300);
    assert_eq!(group(&sensor, &one).anon, Bytes(1900));
    sample_at(&mut sensor, 1300);
    assert_eq!(
        (group(&sensor, &one).anon, group(&sensor, &one).limit),
        (Bytes(1800), Limit::Bytes(Bytes(4096)))
    );
}

#[test]
fn a_kill_anywhere_has_every_counter_read_at_once() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 1000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    fixture.file(&one, "memory.events", "oom_kill 1\n");
    fixture.set("proc/vmstat", "oom_kill 4\n");
    sample_at(&mut sensor, 110);
    assert_eq!(group(&sensor, &one).oom_kills, 1);
}

#[test]
fn counters_that_fall_are_taken_as_they_are() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 9_000);
    fixture.file(&one, "memory.stat", "anon 9000\nworkingset_refault_file 10\n");
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    fixture.current(&one, 10);
    fixture.file(&one, "memory.stat", "anon 5\nworkingset_refault_file 2\n");
    fixture.set("proc/vmstat", "oom_kill 0\n");
    let sample = sample_at(&mut sensor, 50);
    assert_eq!(
        (
            group(&sensor, &one).current,
            group(&sensor, &one).refault_file_pages
        ),
        (Bytes(10), 2)
    );
    assert_eq!(sample.node.oom_kills, 0);
}

#[test]
fn empty_cut_and_oversized_files_leave_the_figures_before() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 9_000);
    fixture.file(&one, "memory.stat", "anon 8000\n");
    fixture.file(&one, "memory.max", "10000\n");
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    fixture.file(&one, "memory.current", "");
    fixture.file(&one, "memory.stat", "");
    fixture.file(&one, "memory.max", "12x\n");
    sample_at(&mut sensor, 2_000);
    let seen = group(&sensor, &one);
    assert_eq!(
        (seen.current, seen.anon, seen.limit),
        (Bytes(9000), Bytes(8000), Limit::Bytes(Bytes(10_000)))
    );
    assert_eq!(sensor.failures(), 0);
    fixture.file(&one, "memory.stat", "anon 1\n".repeat(10_000));
    fixture.set("proc/meminfo", "MemFree: 1 kB\n");
    let sample = sample_at(&mut sensor, 4_000);
    assert_eq!(group(&sensor, &one).anon, Bytes(8000));
    assert_eq!(
        (sample.node.total, sample.node.free),
        (kib(1_000_000), kib(400_000))
    );
    assert_eq!(sensor.failures(), 2);
}

#[test]
fn a_thousand_cgroups_are_bounded_and_the_rest_is_counted() {
    let fixture = Fixture::v2();
    fixture.group(&container(UID, CID), 1);
    for number in 0..1_000 {
        let path = fixture.cgroup(&format!("/u{number}"));
        fs::create_dir(&path).expect("made");
        fixture.fill(&path, 1);
    }
    let bounds = Bounds {
        groups_max: 500,
        host_groups_max: 200,
        host_depth_max: 4,
    };
    let mut sensor = Sensor::open(&SenseConfig {
        bounds,
        ..fixture.config()
    })
    .expect("a sensor");
    let sample = sample_at(&mut sensor, 100);
    assert_eq!((sample.groups.len(), sensor.roster().left_out()), (204, 800));
    assert_eq!(sample.groups[0].kind, GroupKind::Kubepods);
}

#[test]
fn who_has_given_back_a_part_at_once_is_looked_at_for_whether_anybody_lives() {
    let fixture = Fixture::v2();
    fixture.group("/a", 100_000_000);
    fixture.group("/b", 100_000_000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    sample_at(&mut sensor, 1_200);
    // Both have ended; what they leave is a third in one, in a memory-backed directory, and nearly all in the other.
    for (path, left) in [("/a", 30_000_000), ("/b", 99_000_000)] {
        fixture.file(path, "cgroup.events", "populated 0\nfrozen 0\n");
        fixture.current(path, left);
    }
    sample_at(&mut sensor, 1_300);
    assert!(!group(&sensor, "/a").populated);
    // Whoever gave nothing back is looked at within the second.
    sample_at(&mut sensor, 2_400);
    assert!(!group(&sensor, "/b").populated);
}

#[test]
fn that_the_kernel_is_heard_no_longer_and_then_again_is_told_once_each() {
    let fixture = Fixture::v2();
    fixture.group("/docker", 1);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert!(sensor.take_hearing().is_none() && sensor.ear().is_some());
    // Watching goes by the path, opening by the directory above: a file in the path's way keeps only the first from working.
    let hierarchy = fixture.cgroup_root();
    let moved = fixture.path("moved");
    fs::rename(&hierarchy, &moved).expect("moved");
    fs::write(&hierarchy, "").expect("written");
    fs::create_dir(moved.join("two")).expect("made");
    fs::write(moved.join("two/memory.current"), "4096\n").expect("written");
    assert!(sensor.hear());
    sample_at(&mut sensor, 200);
    assert!(matches!(sensor.take_hearing(), Some(Hearing::Lost(_))));
    assert!(sensor.is_deaf());
    fs::remove_file(&hierarchy).expect("removed");
    fs::rename(&moved, &hierarchy).expect("moved");
    // It is tried once a minute.
    for (secs, is_heard) in [(59, false), (61, true), (122, true)] {
        sample_at(&mut sensor, secs * 1000);
        assert_eq!(sensor.ear().is_some(), is_heard, "at {secs} s");
        let is_told = matches!(sensor.take_hearing(), Some(Hearing::Back));
        assert_eq!(is_told, secs == 61, "at {secs} s");
    }
}
