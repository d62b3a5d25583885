//! Node agents, told by what they call themselves and by who runs them.
//!
//! A name is the process's own choice, so it protects nobody by itself: whoever bears one of these names also has to run as the
//! real user that the program runs as, which nobody can take on who is not that already. The effective user says less: sshd
//! lays it down for a moment while it reads a user's files, and a program with the setuid bit has root's whoever started it.
//!
//! | name | who it is |
//! |---|---|
//! | each of them | whoever runs as root |
//! | buses, etcd, bird, Open vSwitch, `systemd-…` | whoever runs as an account of the system's, which these are given |
//! | `systemd` | a user's service manager: a child of PID 1 in `user@UID.service/init.scope`, a place that neither a login nor a service of that user can reach with that parent |
//!
//! Nobody else is: the part of an sshd session that runs as its user, a user's own bus, containers without root (podman's conmon
//! and crun) and the inits of unprivileged system containers are programs of a user. Root's sshd, in the same session, still
//! spares that session as a whole. Inside `kubepods` not even this is asked: a container gains nothing by any name or user.
//! Where the user cannot be told, the name is believed.

use rustix::io::Result;

use crate::file;
use crate::process::{Facts, ProcessDir};

/// Whole names, as `comm` shows them, cut at 15 bytes.
///
/// The sources of the names are the programs themselves: file names of the packages of kubelet distributions, container
/// runtimes (`runc:[…` is what runc's init calls itself until it becomes the container: runc,
/// `libcontainer/nsenter/nsexec.c`), CNI agents, managers of system containers (lxd, incusd and the lxcfs they all read
/// through), ways in (sshd, dropbear, login), buses, and udev and logind where they come without systemd (eudev, elogind). The
/// machine of a sandboxed pod (qemu, cloud-hypervisor, firecracker) and its virtiofsd are not among them: they are that pod.
const NAMES: [&[u8]; 39] = [
    b"aws-k8s-agent",
    b"bird",
    b"bird6",
    b"conmon",
    b"conmonrs",
    b"containerd",
    b"cri-dockerd",
    b"crio",
    b"crun",
    b"dbus-broker",
    b"dbus-broker-lau",
    b"dbus-daemon",
    b"dockerd",
    b"dropbear",
    b"elogind",
    b"elogind-daemon",
    b"etcd",
    b"incusd",
    b"init",
    b"k0s",
    b"k3s",
    b"k3s-agent",
    b"k3s-server",
    b"kata-monitor",
    b"kata-runtime",
    b"kube-proxy",
    b"kube-router",
    b"kubelet",
    b"kubelite",
    b"login",
    b"lxcfs",
    b"lxd",
    b"ovs-vswitchd",
    b"ovsdb-server",
    b"rke2",
    b"runc",
    b"sshd",
    b"udevd",
    b"youki",
];

/// Families of names: systemd's own daemons (`systemd-journal`, `systemd-udevd`, …), shims, sessions of sshd, CNI agents.
const PREFIXES: [&[u8]; 10] = [
    b"(sd-",
    b"antrea-",
    b"calico",
    b"cilium",
    b"containerd-shim",
    b"flannel",
    b"runc:[",
    b"sshd-",
    b"systemd",
    b"weave",
];

/// Those whose packages give them an account of their own: dbus and dbus-broker (messagebus, dbus), etcd, bird, Open vSwitch.
const WITH_ACCOUNT: [&[u8]; 8] = [
    b"bird",
    b"bird6",
    b"dbus-broker",
    b"dbus-broker-lau",
    b"dbus-daemon",
    b"etcd",
    b"ovs-vswitchd",
    b"ovsdb-server",
];

/// And systemd's own daemons (systemd-resolve, systemd-network, …).
const WITH_ACCOUNT_PREFIX: &[u8] = b"systemd-";

/// Whether the process is what it calls itself, something a node cannot do without. An error where it is gone or cannot be read.
pub(crate) fn is_node_agent(directory: &ProcessDir, facts: &Facts) -> Result<bool> {
    let comm = facts.name.as_bytes();
    if !is_name(comm) {
        return Ok(false);
    }
    let Some(uid) = directory.uid()? else {
        return Ok(true);
    };
    if uid == 0 || (has_account(comm) && is_account(uid)) {
        return Ok(true);
    }
    if comm != b"systemd" || facts.parent != 1 {
        return Ok(false);
    }
    let mut buffer = [0; file::BUFFER_BYTES];
    let text = directory.cgroup(&mut buffer);
    Ok(text.is_ok_and(|text| is_managers_home(text, uid)))
}

/// Whether `comm` is one of the names.
fn is_name(comm: &[u8]) -> bool {
    NAMES.contains(&comm) || PREFIXES.iter().any(|prefix| comm.starts_with(prefix))
}

fn has_account(comm: &[u8]) -> bool {
    WITH_ACCOUNT.contains(&comm) || comm.starts_with(WITH_ACCOUNT_PREFIX)
}

/// Whether the user is an account of the system's (`SYS_UID_MAX`, `login.defs(5)`), or one that systemd lends to a service
/// (`DynamicUser=`; the range is that of systemd's `docs/UIDS-GIDS.md`). No person logs in as one of these.
fn is_account(uid: u32) -> bool {
    matches!(uid, 1..=999 | 61_184..=65_519)
}

/// Whether a `/proc/PID/cgroup` shows where the service manager of this user lives (`user@.service`, systemd).
fn is_managers_home(text: &[u8], uid: u32) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let unit = line.strip_suffix(b".service/init.scope").unwrap_or_default();
        let name = unit.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let user = name.strip_prefix(b"user@").and_then(file::parse_number);
        user == Some(u64::from(uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Whether a child of `parent` that calls itself `comm` is a node agent, by these files.
    fn is_agent(comm: &str, parent: u32, status: &str, cgroup: &str) -> Result<bool> {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("77");
        std::fs::create_dir(&dir).expect("a directory");
        let stat = format!("77 ({comm}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n");
        for (name, content) in [("stat", stat.as_str()), ("status", status), ("cgroup", cgroup)] {
            std::fs::write(dir.join(name), content).expect("a file");
        }
        let proc_root = std::fs::File::open(root.path()).expect("a directory");
        let directory = ProcessDir::open(proc_root.as_fd(), 77).expect("a directory");
        is_node_agent(&directory, &directory.facts().expect("a well-formed line"))
    }

    /// The same of one that runs as `uid`, in a login's scope.
    fn is_agent_of(comm: &str, uid: u32) -> bool {
        let status = format!("Name:\t{comm}\nUid:\t{uid}\t0\t0\t0\n");
        is_agent(
            comm,
            1,
            &status,
            "0::/user.slice/user-1000.slice/session-3.scope\n",
        )
        .expect("it is there")
    }

    #[test]
    fn roots_are_told_by_their_names() {
        for comm in [
            "kubelet",
            "containerd-shim",
            "systemd",
            "systemd-journal",
            "systemd-logind",
            "sshd",
            "sshd-session",
            "login",
            "etcd",
            "udevd",
            "elogind",
            "elogind-daemon",
            "lxcfs",
            "lxd",
            "incusd",
            "dropbear",
            "runc",
            "runc:[1:CHILD]",
            "runc:[2:INIT]",
            "crun",
            "conmon",
            "conmonrs",
            "kata-runtime",
            "kata-monitor",
        ] {
            assert!(is_agent_of(comm, 0), "{comm}");
        }
        // The last ones are the machine of a sandboxed pod and what serves it: they are that pod, and end with it.
        for comm in [
            "kubeletter",
            "runcible",
            "lxdm",
            "qemu-system-x86",
            "cloud-hyperviso",
            "firecracker",
            "virtiofsd",
        ] {
            assert!(!is_agent_of(comm, 0), "{comm}");
        }
    }

    #[test]
    fn a_name_alone_protects_nobody() {
        for comm in NAMES.iter().chain(&PREFIXES) {
            let comm = std::str::from_utf8(comm).expect("text");
            for uid in [1000, 60_000, 100_000, 65_534, u32::MAX] {
                assert!(!is_agent_of(comm, uid), "{comm} as {uid}");
            }
        }
    }

    #[test]
    fn an_account_of_the_systems_is_enough_for_who_is_given_one() {
        for comm in [
            "dbus-daemon",
            "dbus-broker",
            "etcd",
            "ovsdb-server",
            "systemd-resolve",
        ] {
            for uid in [1, 101, 999, 61_184, 65_519] {
                assert!(is_agent_of(comm, uid), "{comm} as {uid}");
            }
        }
        for comm in ["sshd", "kubelet", "containerd", "systemd"] {
            assert!(!is_agent_of(comm, 101), "{comm}");
        }
    }

    #[test]
    fn a_users_service_manager_is_told_by_parent_and_place() {
        let of = |comm: &str, parent, cgroup: &str| {
            is_agent(comm, parent, "Uid:\t1000\t1000\t1000\t1000\n", cgroup)
        };
        let home = "/user.slice/user-1000.slice/user@1000.service/init.scope\n";
        assert_eq!(of("systemd", 1, &format!("0::{home}")), Ok(true));
        assert_eq!(
            of("systemd", 1, &format!("4:memory:/x\n1:name=systemd:{home}0::/\n")),
            Ok(true)
        );
        // A process of the user's that moved there, or that bears another name.
        assert_eq!(of("systemd", 4711, &format!("0::{home}")), Ok(false));
        assert_eq!(of("sshd", 1, &format!("0::{home}")), Ok(false));
        for elsewhere in [
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "0::/user.slice/user-1001.slice/user@1001.service/init.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/init.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service\n",
            "0::/init.scope\n",
            "",
        ] {
            assert_eq!(of("systemd", 1, elsewhere), Ok(false), "{elsewhere:?}");
        }
    }

    #[test]
    fn where_the_user_cannot_be_told_the_name_is_believed() {
        assert_eq!(is_agent("sshd", 1, "Name:\tsshd\n", "0::/\n"), Ok(true));
        assert_eq!(is_agent("leak", 1, "Name:\tleak\n", "0::/\n"), Ok(false));
    }

    #[test]
    fn the_names_are_those_that_the_sensor_knows() {
        let sensor = include_str!("../../../forestall-sense/src/agents.rs");
        for (table, known) in [
            ("const NAMES:", &NAMES[..]),
            ("const PREFIXES:", &PREFIXES[..]),
            ("const WITH_ACCOUNT:", &WITH_ACCOUNT[..]),
        ] {
            let start = sensor.find(table).expect("the table");
            let text = sensor[start..].split("\n];").next().expect("its end");
            let names: Vec<&[u8]> = text
                .split("b\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .map(str::as_bytes)
                .collect();
            assert_eq!(names, known, "{table}");
        }
        let accounts = "matches!(uid, 1..=999 | 61_184..=65_519)";
        assert!(sensor.contains(accounts) && include_str!("agent.rs").contains(accounts));
    }
}
