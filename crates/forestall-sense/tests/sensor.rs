//! Machines made of files, and what the sensor says of them.

mod fixture;

use std::fs;

use fixture::{CID, Fixture, OTHER_CID, OWN_PID, STATIC_UID, Task, UID, group, paths, sample_at};
use forestall_decide::{Bytes, GroupKind, Limit, Lru, Protection, Qos, Stall};
use forestall_kernel::cgroup::{Bounds, Layout, Version};
use forestall_sense::{SenseConfig, Sensor};

fn kib(count: u64) -> Bytes {
    Bytes(count * 1024)
}

fn container(uid: &str, cid: &str) -> String {
    format!("/kubepods/burstable/pod{uid}/{cid}")
}

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

#[test]
fn a_v2_tree_is_sampled_in_preorder() {
    let fixture = Fixture::v2();
    let one = container(UID, CID);
    fixture.group(&one, 5_000_000);
    fixture.group("/system.slice/a.service", 7_000);
    fixture.file(&one, "memory.max", "8388608\n");
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
    let capabilities = sensor.capabilities();
    assert_eq!(capabilities.version, Some(Version::V1));
    assert!(!capabilities.group_pressure && capabilities.lacking.contains(&"memory.pressure"));
}

#[test]
fn without_memory_cgroups_the_machine_alone_is_sampled() {
    for (fixture, said) in [
        (Fixture::bare(Version::V2), "no cgroup hierarchy"),
        (
            {
                let fixture = Fixture::v2();
                fs::write(fixture.cgroup_root().join("cgroup.controllers"), "cpu pids\n").expect("written");
                fixture
            },
            "the memory controller is not available",
        ),
    ] {
        let mut sensor = fixture.open();
        let sample = sample_at(&mut sensor, 100);
        assert_eq!(sample.node.total, kib(1_000_000));
        assert!(sample.groups.is_empty() && sensor.roster().is_empty());
        let capabilities = sensor.capabilities();
        assert_eq!(capabilities.version, None);
        assert!(
            capabilities.notes.iter().any(|note| note.contains(said)),
            "{capabilities:?}"
        );
    }
}

#[test]
fn an_ordinary_directory_is_not_taken_for_cgroupfs() {
    let fixture = Fixture::v2();
    fixture.group("/kubepods", 1);
    let sensor = Sensor::open(&SenseConfig {
        trusting: false,
        ..fixture.config()
    })
    .expect("a sensor");
    assert!(
        sensor
            .capabilities()
            .notes
            .iter()
            .any(|note| note.contains("not a cgroup file system"))
    );
}

#[test]
fn without_proc_there_is_no_sensor_and_the_error_names_the_file() {
    let fixture = Fixture::v2();
    let missing = fixture.path("nothing");
    let error = Sensor::open(&SenseConfig {
        proc_root: missing.clone(),
        ..fixture.config()
    })
    .expect_err("none");
    assert!(
        error.to_string().contains(&missing.display().to_string()),
        "{error}"
    );
    fixture.set("proc/meminfo", "");
    let error = Sensor::open(&fixture.config()).expect_err("empty");
    assert!(error.to_string().contains("MemTotal"), "{error}");
}

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
fn who_is_protected_in_kubepods() {
    let fixture = Fixture::v2();
    let plain = container(UID, CID);
    let spared = container(UID, OTHER_CID);
    let pause = container("11111111-1111-1111-1111-111111111111", CID);
    let impostor = container("22222222-2222-2222-2222-222222222222", CID);
    let fixed = container(STATIC_UID, CID);
    let conmon = format!("/kubepods/burstable/pod{UID}/crio-conmon-{CID}");
    for path in [&plain, &spared, &pause, &fixed, &conmon] {
        fixture.group(path, 300_000);
    }
    fixture.group(&impostor, 64 << 20);
    // A workload may call itself kubelet, which gains it nothing.
    fixture.task(&Task {
        pid: 201,
        comm: "kubelet",
        cgroup: &plain,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 202,
        oom_score_adj: -997,
        cgroup: &spared,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 203,
        comm: "pause",
        oom_score_adj: -998,
        cgroup: &pause,
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 204,
        comm: "pause",
        cgroup: &impostor,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 100);
    let of = |path: &str| group(&sensor, path).protection;
    assert_eq!(of(&plain), None);
    assert_eq!(of(&spared), Some(Protection::OomScoreAdj));
    assert_eq!(of(&pause), Some(Protection::Pause));
    assert_eq!(of(&impostor), None, "too large for a pause process");
    assert_eq!(of(&fixed), Some(Protection::StaticPod));
    assert_eq!(
        of(&format!("/kubepods/burstable/pod{STATIC_UID}")),
        Some(Protection::StaticPod)
    );
    assert_eq!(of(&conmon), Some(Protection::NodeAgent));
    assert_eq!(of(&format!("/kubepods/burstable/pod{UID}")), None);
    assert_eq!(of("/kubepods"), None);
    assert!(!sample.node.kubelet_present, "a container is no kubelet");
}

#[test]
fn who_is_protected_on_the_host() {
    let fixture = Fixture::v2();
    fixture.group("/init.scope", 1);
    fixture.group("/runtime.slice/kubelet.service", 1);
    fixture.group("/system.slice/forestall.service", 1);
    fixture.group("/user.slice/leak.service", 1);
    fixture.group(&format!("/lxc.payload.x/kubepods/pod{UID}/{CID}"), 1);
    fixture.task(&Task {
        pid: 1,
        comm: "systemd",
        parent: 0,
        cgroup: "/init.scope",
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 300,
        comm: "kubelet",
        cgroup: "/runtime.slice/kubelet.service",
        ..Task::default()
    });
    fixture.task(&Task {
        pid: 301,
        comm: "leak",
        cgroup: "/user.slice/leak.service",
        ..Task::default()
    });
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 100);
    let of = |path: &str| group(&sensor, path).protection;
    assert_eq!(of("/init.scope"), Some(Protection::Essential));
    assert_eq!(of("/runtime.slice/kubelet.service"), Some(Protection::NodeAgent));
    assert_eq!(
        of("/runtime.slice"),
        Some(Protection::NodeAgent),
        "ending it would end the kubelet"
    );
    assert_eq!(of("/system.slice/forestall.service"), Some(Protection::Essential));
    assert_eq!(
        of("/lxc.payload.x"),
        Some(Protection::Delegated),
        "an ancestor of kubepods"
    );
    assert_eq!(of("/user.slice/leak.service"), None);
    assert!(sample.node.kubelet_present);
}

#[test]
fn our_own_pod_is_essential_and_kubepods_is_not() {
    let fixture = Fixture::v2();
    let home = container(UID, CID);
    let neighbour = container("11111111-1111-1111-1111-111111111111", OTHER_CID);
    fixture.group(&home, 1);
    fixture.group(&neighbour, 1);
    fixture.task(&Task {
        pid: OWN_PID,
        comm: "forestall",
        cgroup: &home,
        ..Task::default()
    });
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    let of = |path: &str| group(&sensor, path).protection;
    assert_eq!(of(&home), Some(Protection::Essential));
    assert_eq!(
        of(&format!("/kubepods/burstable/pod{UID}")),
        Some(Protection::Essential)
    );
    assert_eq!(of(&neighbour), None);
    assert_eq!(of("/kubepods"), None);
}

#[test]
fn protection_is_seen_again_within_ten_seconds_or_so() {
    let fixture = Fixture::v2();
    fixture.group("/a.service", 1);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert_eq!(group(&sensor, "/a.service").protection, None);
    fixture.task(&Task {
        pid: 300,
        comm: "containerd",
        cgroup: "/a.service",
        ..Task::default()
    });
    for tick in 1..=12 {
        sample_at(&mut sensor, tick * 1000);
    }
    assert_eq!(
        group(&sensor, "/a.service").protection,
        Some(Protection::NodeAgent)
    );
}

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
fn thousands_of_cgroups_are_bounded_and_the_rest_is_counted() {
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
fn nothing_is_written() {
    fn contents(dir: &std::path::Path, into: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .expect("listed")
            .map(|entry| entry.expect("read").path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                into.push((path.clone(), Vec::new()));
                contents(&path, into);
            } else {
                into.push((path.clone(), fs::read(&path).expect("read")));
            }
        }
    }
    let fixture = Fixture::v2();
    fixture.group(&container(UID, CID), 1);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    contents(fixture.root(), &mut before);
    let mut sensor = fixture.open();
    sensor.set_attention(true);
    for tick in 0..20 {
        sample_at(&mut sensor, tick * 1000);
    }
    contents(fixture.root(), &mut after);
    assert!(before == after);
}
