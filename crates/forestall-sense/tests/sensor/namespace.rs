//! An agent in a container with a cgroup namespace of its own, as runtimes make one on cgroup v2: every path that it is shown
//! begins at its own cgroup (`cgroup_namespaces(7)`).

use forestall_sense::Sensor;

use crate::fixture::{CID, Fixture, OTHER_CID, OWN_PID, Task, UID, group, sample_at};
use crate::kib;

const AGENT_UID: &str = "1f5c4a52-3c38-4f0a-a5ad-0a4a36c0d6a1";

/// The agent in a pod of one class and a leak in one of the same and in one of another class, beside a service and a process in
/// the root; `mount_root` is what the agent is shown of the mount.
fn machine(mount_root: &str) -> Fixture {
    let fixture = Fixture::v2();
    let mountinfo = format!(
        "30 20 0:26 / {point} ro - cgroup2 cgroup rw\n31 20 0:26 {mount_root} {point} rw - cgroup2 cgroup rw\n",
        point = fixture.cgroup_root().display()
    );
    std::fs::create_dir_all(fixture.path("proc/self")).expect("made");
    fixture.set("proc/self/mountinfo", mountinfo);
    fixture.group(&format!("/kubepods/burstable/pod{AGENT_UID}/{CID}"), 1);
    fixture.group(&format!("/kubepods/burstable/pod{UID}/{OTHER_CID}"), 1);
    fixture.group(&format!("/kubepods/besteffort/pod{UID}/{CID}"), 1);
    fixture.group("/system.slice/a.service", 1);
    // What the kernel lists are numbers of this process's own PID namespace.
    let own = std::process::id();
    fixture.file(
        &format!("/kubepods/burstable/pod{AGENT_UID}/{CID}"),
        "cgroup.procs",
        format!("{own}\n"),
    );
    fixture.task(&Task {
        pid: 1,
        comm: "systemd",
        parent: 0,
        cgroup: "/../../../../init.scope",
        ..Task::default()
    });
    let near = format!("/../../pod{UID}/{OTHER_CID}");
    let far = format!("/../../../besteffort/pod{UID}/{CID}");
    for (pid, cgroup) in [
        (OWN_PID, "/"),
        (401, "/../a-sidecar"),
        (402, &near),
        (403, &far),
        (404, "/../../../../system.slice/a.service"),
        (405, "/../../../.."),
    ] {
        fixture.task(&Task {
            pid,
            comm: "leak",
            cgroup,
            anon_kib: 50_000,
            ..Task::default()
        });
    }
    fixture
}

fn followed(sensor: &mut Sensor) -> Vec<u32> {
    let sample = sample_at(sensor, 100);
    sample.processes.iter().map(|process| process.id.pid).collect()
}

#[test]
fn with_the_machines_hierarchy_mounted_pods_are_told_from_the_host() {
    let fixture = machine("/../../../..");
    let mut sensor = fixture.open();
    assert_eq!(followed(&mut sensor), [404, 405]);
    let [service, in_root] = sensor.last().processes[..] else {
        panic!("two");
    };
    assert_eq!(service.unreclaimable, kib(50_000));
    assert_eq!(service.group, Some(group(&sensor, "/system.slice/a.service").id));
    assert_eq!(in_root.group, None);
    assert!(
        sensor.capabilities().notes.is_empty() && sensor.capabilities().unplaced.is_none(),
        "{:?}",
        sensor.capabilities()
    );
}

#[test]
fn who_does_not_find_itself_takes_nobody_near_for_the_hosts() {
    let fixture = machine("/../../../..");
    fixture.file(
        &format!("/kubepods/burstable/pod{AGENT_UID}/{CID}"),
        "cgroup.procs",
        "",
    );
    let mut sensor = fixture.open();
    // What branches off at the machine's root is told in full.
    assert_eq!(followed(&mut sensor), [404, 405]);
    let said = sensor.capabilities().unplaced;
    assert!(
        said.is_some_and(|said| said.contains("namespace of its own")),
        "{said:?}"
    );
}

#[test]
fn with_the_own_cgroup_alone_nobody_is_taken_for_the_hosts() {
    let fixture = machine("/");
    let mut sensor = fixture.open();
    assert_eq!(followed(&mut sensor), [0_u32; 0]);
    let said = sensor.capabilities().unplaced;
    assert!(
        said.is_some_and(|said| said.contains("/sys/fs/cgroup") && said.contains("--cgroupns=host")),
        "{said:?}"
    );
}
