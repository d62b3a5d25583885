//! Every figure from its file, on both versions.

use std::fs;

use forestall_decide::{Bytes, GroupKind, Limit, LimitHits, Lru, Qos, Stall};
use forestall_kernel::cgroup::{Layout, Version};

use crate::fixture::{CID, Fixture, Task, UID, group, paths, sample_at};
use crate::{container, kib};

#[test]
fn the_machines_figures_come_from_their_files() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    let node = sample_at(&mut sensor, 100).node;
    assert_eq!(
        (node.total, node.free, node.available),
        (kib(1_000_000), kib(400_000), kib(700_000))
    );
    assert_eq!(
        (node.active_file, node.inactive_file),
        (kib(150_000), kib(140_000))
    );
    assert_eq!(
        (node.slab_unreclaimable, node.page_tables, node.percpu),
        (kib(40_000), kib(6_000), kib(7_000))
    );
    assert_eq!(node.hugetlb, kib(8192));
    assert_eq!(
        node.stall,
        Some(Stall {
            some_micros: 1234,
            full_micros: 567
        })
    );
    assert_eq!((node.oom_kills, node.refault_file_pages), (3, 77));
    assert_eq!(node.lru, Lru::MultiGen);
    let page = u64::try_from(rustix::param::page_size()).expect("a page");
    assert_eq!(
        (node.watermark_min, node.watermark_high),
        (Bytes(100 * page), Bytes(150 * page))
    );
    assert_eq!(node.cpus, 5);
    assert!(!node.kubelet_present && !node.swap_is_zram);
}

#[test]
fn swap_in_memory_is_noticed_within_ten_seconds() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    assert!(!sample_at(&mut sensor, 100).node.swap_is_zram);
    fixture.set(
        "proc/swaps",
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/zram0 partition 500000 0 100\n",
    );
    fixture.meminfo("SwapTotal", 500_000);
    assert_eq!(sample_at(&mut sensor, 200).node.swap_total, kib(500_000));
    assert!(sample_at(&mut sensor, 11_000).node.swap_is_zram);
}

/// `Documentation/admin-guide/mm/zswap.rst`: the pool takes at most so many percent of the machine's memory.
#[test]
fn the_compressed_pools_room_is_what_it_may_take_less_what_it_holds() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    assert_eq!(
        sample_at(&mut sensor, 100).node.zswap_room,
        Bytes::ZERO,
        "no zswap in this kernel"
    );
    fixture.zswap("N\n", "20\n");
    let mut sensor = fixture.open();
    assert_eq!(sample_at(&mut sensor, 100).node.zswap_room, Bytes::ZERO, "off");
    fixture.zswap("Y\n", "20\n");
    assert_eq!(sample_at(&mut sensor, 9_000).node.zswap_room, Bytes::ZERO);
    // A fifth of 1,000,000 kB.
    assert_eq!(sample_at(&mut sensor, 10_200).node.zswap_room, kib(200_000));
    fixture.meminfo("Zswap", 150_000);
    assert_eq!(sample_at(&mut sensor, 10_300).node.zswap_room, kib(50_000));
    fixture.meminfo("Zswap", 250_000);
    assert_eq!(
        sample_at(&mut sensor, 10_400).node.zswap_room,
        Bytes::ZERO,
        "more than it may"
    );
    fixture.zswap("Y\n", "many\n");
    assert_eq!(sample_at(&mut sensor, 21_000).node.zswap_room, Bytes::ZERO);
}

#[test]
fn what_memory_min_keeps_is_read_again_within_ten_seconds() {
    let fixture = Fixture::v2();
    fixture.group("/a", 1000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    fixture.file("/a", "memory.min", "4096\n");
    sample_at(&mut sensor, 9_000);
    assert_eq!(group(&sensor, "/a").min, Bytes::ZERO);
    sample_at(&mut sensor, 11_200);
    assert_eq!(group(&sensor, "/a").min, Bytes(4096));
}

#[test]
fn a_v2_tree_is_sampled_in_preorder() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 5_000_000);
    fixture.group("/system.slice/a.service", 7_000);
    fixture.file(&one, "memory.max", "8388608\n");
    fixture.file(&one, "memory.min", "2097152\n");
    fixture.file(&format!("/kubepods/burstable/pod{UID}"), "memory.min", "max\n");
    fixture.file(
        &one,
        "memory.stat",
        "anon 1000\nfile 3000\nshmem 200\nactive_file 1500\ninactive_file 1300\nfile_dirty 11\nfile_writeback 12\n\
         unevictable 13\nslab_reclaimable 400\nworkingset_refault_file 9\n",
    );
    fixture.file(&one, "memory.events", "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\n");
    fixture.file(
        &one,
        "memory.pressure",
        "some avg10=1.00 avg60=0.00 avg300=0.00 total=88\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=44\n",
    );
    fixture.file(
        "/system.slice/a.service",
        "cgroup.events",
        "populated 0\nfrozen 0\n",
    );
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 100);
    assert_eq!(
        paths(&sensor),
        [
            "/kubepods".to_owned(),
            "/kubepods/burstable".to_owned(),
            format!("/kubepods/burstable/pod{UID}"),
            one.clone(),
            "/system.slice".to_owned(),
            "/system.slice/a.service".to_owned(),
        ]
    );
    let kinds: Vec<GroupKind> = sample.groups.iter().map(|group| group.kind).collect();
    assert_eq!(
        kinds,
        [
            GroupKind::Kubepods,
            GroupKind::Qos(Qos::Burstable),
            GroupKind::Pod(Qos::Burstable),
            GroupKind::Container(Qos::Burstable),
            GroupKind::Host,
            GroupKind::Host,
        ]
    );
    let parents: Vec<Option<u32>> = sample.groups.iter().map(|group| group.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(2), None, Some(4)]);
    let leaves: Vec<bool> = sample.groups.iter().map(|group| group.leaf).collect();
    assert_eq!(leaves, [false, false, false, true, false, true]);
    let seen = group(&sensor, &one);
    assert_eq!(
        (seen.current, seen.limit),
        (Bytes(5_000_000), Limit::Bytes(Bytes(8_388_608)))
    );
    assert_eq!(seen.min, Bytes::mebi(2));
    let pod = group(&sensor, &format!("/kubepods/burstable/pod{UID}"));
    assert_eq!(pod.min, Bytes(u64::MAX), "all of it is kept");
    assert_eq!(
        (seen.anon, seen.shmem, seen.slab_reclaimable),
        (Bytes(1000), Bytes(200), Bytes(400))
    );
    assert_eq!((seen.active_file, seen.inactive_file), (Bytes(1500), Bytes(1300)));
    assert_eq!(
        (seen.dirty, seen.writeback, seen.unevictable),
        (Bytes(11), Bytes(12), Bytes(13))
    );
    assert_eq!((seen.refault_file_pages, seen.oom_kills), (9, 1));
    assert_eq!(
        seen.stall,
        Some(Stall {
            some_micros: 88,
            full_micros: 44
        })
    );
    assert!(seen.populated && !group(&sensor, "/system.slice/a.service").populated);
    let capabilities = sensor.capabilities();
    assert_eq!(
        (capabilities.version, capabilities.layout),
        (Some(Version::V2), Some(Layout::Unified))
    );
    assert!(
        capabilities.group_pressure && capabilities.lacking.is_empty(),
        "{capabilities:?}"
    );
}

/// `Documentation/admin-guide/cgroup-v2.rst`: `memory.events` is hierarchical, `memory.events.local` is not.
#[test]
fn how_often_a_limit_led_to_a_kill_is_told_with_and_without_those_below() {
    let fixture = Fixture::v2();
    fixture.group("/a", 1000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert_eq!(
        group(&sensor, "/a").limit_hits,
        LimitHits::Ooms { own: 0, within: 0 }
    );
    fixture.file("/a", "memory.events", "low 0\nhigh 0\nmax 9\noom 5\noom_kill 5\n");
    fixture.file(
        "/a",
        "memory.events.local",
        "low 0\nhigh 0\nmax 9\noom 2\noom_kill 0\n",
    );
    sample_at(&mut sensor, 2_000);
    assert_eq!(
        group(&sensor, "/a").limit_hits,
        LimitHits::Ooms { own: 2, within: 5 }
    );
    // A kernel before 5.3.
    fs::remove_file(fixture.cgroup("/a").join("memory.events.local")).expect("removed");
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert_eq!(group(&sensor, "/a").limit_hits, LimitHits::Unknown);
}

#[test]
fn a_kill_that_one_cgroup_tells_of_is_told_by_all_at_that_look() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 1000);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    // Everything rests: each has its own sixteenth of the second.
    sample_at(&mut sensor, 1_100);
    let events = "low 0\nhigh 0\nmax 1\noom 1\noom_kill 1\n";
    for path in ["/kubepods", "/kubepods/burstable", &one] {
        fixture.file(path, "memory.events", events);
    }
    let mut told = false;
    for tenth in 12..23 {
        // The machine is read first, and did not know of it yet when the look began.
        let sample = sample_at(&mut sensor, tenth * 100);
        let kills = |path: &str| group(&sensor, path).oom_kills;
        let all = [kills("/kubepods"), kills("/kubepods/burstable"), kills(&one)];
        assert!(all == [0; 3] || all == [1; 3], "{all:?}");
        told |= sample.groups.iter().any(|group| group.oom_kills == 1);
    }
    assert!(told);
}

/// `page_counter_try_charge` in mm/page_counter.c.
#[test]
fn v1_tells_how_often_a_charge_failed_where_there_is_a_limit() {
    let fixture = Fixture::v1();
    fixture.group("/a", 1000);
    fixture.file("/a", "memory.failcnt", "7\n");
    fixture.file("/a", "memory.memsw.failcnt", "5\n");
    fixture.file("/a", "memory.memsw.limit_in_bytes", "9223372036854771712\n");
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert_eq!(group(&sensor, "/a").limit_hits, LimitHits::Failures(0));
    fixture.file("/a", "memory.limit_in_bytes", "8388608\n");
    sample_at(&mut sensor, 2_000);
    assert_eq!(group(&sensor, "/a").limit_hits, LimitHits::Failures(7));
    fixture.file("/a", "memory.memsw.limit_in_bytes", "8388608\n");
    sample_at(&mut sensor, 4_000);
    assert_eq!(group(&sensor, "/a").limit_hits, LimitHits::Failures(12));
}

#[test]
fn a_v1_tree_is_sampled_from_its_own_files() {
    let fixture = Fixture::v1();
    let one = container(UID, CID);
    fixture.group(&one, 5_000_000);
    fixture.file(
        &one,
        "memory.stat",
        "rss 1\ntotal_rss 1000\ntotal_shmem 200\ntotal_active_file 1500\ntotal_inactive_file 1300\ntotal_swap 300\n",
    );
    fixture.file(&one, "memory.limit_in_bytes", "8388608\n");
    fixture.file(&one, "memory.memsw.limit_in_bytes", "10485760\n");
    fixture.file(
        &one,
        "memory.oom_control",
        "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n",
    );
    fixture.task(&Task {
        pid: 200,
        cgroup: &one,
        ..Task::default()
    });
    fixture.group("/idle", 0);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    let seen = group(&sensor, &one);
    assert_eq!(
        (seen.current, seen.anon, seen.inactive_file),
        (Bytes(5_000_000), Bytes(1000), Bytes(1300))
    );
    assert_eq!(
        (seen.limit, seen.swap_limit),
        (Limit::Bytes(Bytes::mebi(8)), Limit::Bytes(Bytes::mebi(2)))
    );
    assert_eq!(
        (seen.swap_current, seen.oom_kills, seen.stall),
        (Bytes(300), 6, None)
    );
    // Whoever lives in a container populates everything above it.
    assert!(seen.populated && group(&sensor, "/kubepods").populated && !group(&sensor, "/idle").populated);
    assert_eq!(group(&sensor, "/kubepods").limit, Limit::Max);
    assert_eq!(seen.min, Bytes::ZERO, "v1 has no such file");
    let capabilities = sensor.capabilities();
    assert_eq!(capabilities.version, Some(Version::V1));
    assert!(!capabilities.group_pressure && capabilities.lacking.contains(&"memory.pressure"));
}

#[test]
fn names_are_bytes_up_to_the_roster() {
    let fixture = Fixture::v2();
    let path = fixture.cgroup_bytes(b"/evil\n\xff\x1b[31m");
    fs::create_dir(&path).expect("made");
    fixture.fill(&path, 77);
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 100);
    let member = sensor.roster().find(sample.groups[0].id).expect("in the roster");
    assert_eq!(member.path, b"/evil\n\xff\x1b[31m");
    assert_eq!(
        rustix::fs::fstat(&*member.handle).expect("open").st_ino,
        member.id.0
    );
}

#[test]
fn a_read_that_failed_is_told_with_its_file_once() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert_eq!(sensor.take_failure(), None);
    fixture.set("proc/meminfo", "MemTotal: 0 kB\n");
    sample_at(&mut sensor, 200);
    let failure = sensor.take_failure().expect("it failed");
    assert_eq!(failure.path(), fixture.path("proc/meminfo"));
    assert_eq!(failure.errno(), None, "the kernel answered");
    assert_eq!(sensor.take_failure(), None);
}
