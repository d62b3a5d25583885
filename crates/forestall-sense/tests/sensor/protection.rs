//! Who may not be touched.

use forestall_decide::Protection;

use crate::container;
use crate::fixture::{CID, Fixture, OTHER_CID, OWN_PID, STATIC_UID, Task, UID, group, sample_at};

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
fn a_container_that_has_just_begun_is_looked_at_again_within_a_second() {
    let fixture = Fixture::v2();
    let path = container(UID, CID);
    fixture.group(&path, 300_000);
    // The runtime's process, which becomes the container's own.
    let mut task = Task {
        pid: 201,
        comm: "runc:[2:INIT]",
        oom_score_adj: -999,
        cgroup: &path,
        ..Task::default()
    };
    fixture.task(&task);
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    assert_eq!(group(&sensor, &path).protection, Some(Protection::OomScoreAdj));
    (task.comm, task.oom_score_adj) = ("leaker", 834);
    fixture.task(&task);
    sample_at(&mut sensor, 1050);
    assert_eq!(group(&sensor, &path).protection, Some(Protection::OomScoreAdj));
    sample_at(&mut sensor, 1100);
    assert_eq!(group(&sensor, &path).protection, None);
    // Ten seconds later it is one of many.
    task.oom_score_adj = -999;
    fixture.task(&task);
    sample_at(&mut sensor, 10_200);
    sample_at(&mut sensor, 11_200);
    assert_eq!(group(&sensor, &path).protection, Some(Protection::OomScoreAdj));
    task.oom_score_adj = 834;
    fixture.task(&task);
    sample_at(&mut sensor, 20_000);
    assert_eq!(group(&sensor, &path).protection, Some(Protection::OomScoreAdj));
    sample_at(&mut sensor, 21_200);
    assert_eq!(group(&sensor, &path).protection, None);
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
    fixture.task(&Task {
        pid: 299,
        cgroup: "/a.service",
        ..Task::default()
    });
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
fn a_host_cgroup_whose_processes_live_below_it_unseen_is_shared() {
    let fixture = Fixture::v2();
    // Four levels are followed.
    let (apps, slice) = (
        "/user.slice/u.slice/u.service/app.slice",
        "/user.slice/u.slice/u.service",
    );
    fixture.group(&format!("{apps}/one.scope"), 1);
    fixture.group("/empty.service", 1);
    fixture.file("/empty.service", "cgroup.events", "populated 0\nfrozen 0\n");
    fixture.task(&Task {
        pid: 300,
        cgroup: &format!("{apps}/one.scope"),
        ..Task::default()
    });
    let mut sensor = fixture.open();
    sample_at(&mut sensor, 100);
    let of = |path: &str| group(&sensor, path).protection;
    assert_eq!(of(apps), Some(Protection::Shared));
    assert_eq!(of(slice), None, "what is followed below it speaks for itself");
    assert_eq!(of("/empty.service"), None);
}

#[test]
fn a_name_protects_who_runs_as_the_user_that_belongs_to_it() {
    let fixture = Fixture::v2();
    let manager = "/user.slice/user-1000.slice/user@1000.service/init.scope";
    // Who, as whom, and whether it is spared: as a process and, with it, as its cgroup.
    let cases = [
        ("sshd", 0, "/user.slice/user-1000.slice/session-1.scope", true),
        ("sshd", 1000, "/user.slice/user-1000.slice/session-2.scope", false),
        (
            "kubelet",
            1000,
            "/user.slice/user-1000.slice/session-3.scope",
            false,
        ),
        ("dbus-daemon", 101, "/system.slice/dbus.service", true),
        (
            "dbus-daemon",
            1000,
            "/user.slice/user-1000.slice/session-4.scope",
            false,
        ),
        (
            "systemd-resolve",
            990,
            "/system.slice/systemd-resolved.service",
            true,
        ),
        ("containerd", 101, "/system.slice/fake.service", false),
        ("systemd", 1000, manager, true),
        (
            "systemd",
            1000,
            "/user.slice/user-1000.slice/session-5.scope",
            false,
        ),
        (
            "systemd",
            1001,
            "/user.slice/user-1001.slice/user@1000.service/init.scope",
            false,
        ),
    ];
    for (place, (comm, uid, cgroup, _)) in cases.iter().enumerate() {
        fixture.group(cgroup, 1);
        fixture.task(&Task {
            pid: 400 + u32::try_from(place).expect("few"),
            comm,
            uid: *uid,
            cgroup,
            anon_kib: 5_000,
            ..Task::default()
        });
    }
    let mut sensor = fixture.open();
    let sample = sample_at(&mut sensor, 100);
    assert_eq!(sample.processes.len(), cases.len());
    for (process, (comm, uid, cgroup, is_spared)) in sample.processes.iter().zip(cases) {
        let expected = is_spared.then_some(Protection::NodeAgent);
        assert_eq!(process.protection, expected, "{comm} as {uid} in {cgroup}");
        // Only four levels of cgroups are followed.
        if cgroup != manager && uid != 1001 {
            assert_eq!(group(&sensor, cgroup).protection, expected, "{cgroup}");
        }
    }
}
