//! The last check before a signal: who is never touched, whatever the engine said. It looks at the processes as they
//! are now, because the engine's knowledge may be a sample old, and it cannot be switched off.

use std::os::fd::BorrowedFd;

use forestall_decide::Protection;
use rustix::io::Result;

use crate::process::{self, Facts, ProcessDir};

/// At or below this `oom_score_adj` somebody has asked for the process to be spared.
const OOM_SCORE_ADJ_SPARED: i32 = -900;

/// No process tree is deeper than this between the agent and PID 1; a loop in a fake tree ends here.
const ANCESTORS_MAX: usize = 64;

/// The names of node agents as `comm` shows them, cut at 15 bytes. A name is the process's own choice, so this only
/// ever protects; it never chooses a victim.
///
/// The sources of the names are the programs themselves: file names of the packages of kubelet distributions, container
/// runtimes (`runc:[…` is what runc's init calls itself until it becomes the container: runc,
/// `libcontainer/nsenter/nsexec.c`), CNI agents, managers of system containers (lxd, incusd and the lxcfs they all read
/// through), ways in (sshd, dropbear, login), buses, and udev and logind where they come without systemd (eudev, elogind). The
/// machine of a sandboxed pod (qemu, cloud-hypervisor, firecracker) and its virtiofsd are not among them: they are that pod.
const NODE_AGENTS: [&[u8]; 39] = [
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
const NODE_AGENT_PREFIXES: [&[u8]; 10] = [
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

/// This process and its ancestors, from its own PID up to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnLine {
    pids: [u32; ANCESTORS_MAX],
}

impl OwnLine {
    /// Reads the chain of parents. Read anew for every order: an ancestor that ends hands us to another one. An error where
    /// this proc file system does not know us by our own number: nobody could be told from us there.
    pub(crate) fn read(proc_root: BorrowedFd<'_>) -> Result<Self> {
        let mut pids = [0; ANCESTORS_MAX];
        let mut pid = process::own_pid(proc_root)?;
        for slot in &mut pids {
            *slot = pid;
            let Ok(facts) = ProcessDir::open(proc_root, pid).and_then(|dir| dir.facts()) else {
                break;
            };
            if facts.parent == 0 {
                break;
            }
            pid = facts.parent;
        }
        Ok(Self { pids })
    }

    fn holds(&self, pid: u32) -> bool {
        self.pids.iter().any(|own| *own == pid && pid != 0)
    }
}

/// Why this process may not be touched, if so. `node_agents`: refuse those by name too; inside `kubepods` a container
/// may call itself what it likes and gains nothing by it.
pub(crate) fn protection_of(
    facts: &Facts,
    oom_score_adj: i32,
    own: &OwnLine,
    node_agents: bool,
) -> Option<Protection> {
    if facts.id.pid <= 1 || facts.kernel_thread || own.holds(facts.id.pid) {
        return Some(Protection::Essential);
    }
    if oom_score_adj <= OOM_SCORE_ADJ_SPARED {
        return Some(Protection::OomScoreAdj);
    }
    if node_agents && is_node_agent(facts.name.as_bytes()) {
        return Some(Protection::NodeAgent);
    }
    None
}

/// Whether `comm` is the name of something a node cannot do without.
pub fn is_node_agent(comm: &[u8]) -> bool {
    NODE_AGENTS.contains(&comm) || NODE_AGENT_PREFIXES.iter().any(|prefix| comm.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::parse_stat;
    use rustix::io::Errno;
    use std::os::fd::AsFd;

    fn facts(pid: u32, comm: &str, flags: u32) -> Facts {
        let line = format!("{pid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n");
        parse_stat(line.as_bytes()).expect("a well-formed line")
    }

    fn own() -> OwnLine {
        OwnLine::read(std::fs::File::open("/proc").expect("/proc").as_fd()).expect("our own line")
    }

    /// A proc file system that knows this process as `shown`, with this line of its status.
    fn proc_of_files(shown: u32, status: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join(shown.to_string());
        std::fs::create_dir(&dir).expect("a directory");
        std::os::unix::fs::symlink(shown.to_string(), root.path().join("self")).expect("a link");
        std::fs::write(dir.join("status"), status).expect("a file");
        let stat = format!("{shown} (me) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n");
        std::fs::write(dir.join("stat"), stat).expect("a file");
        root
    }

    #[test]
    fn a_proc_file_system_of_another_pid_namespace_proves_nothing() {
        let read = |root: &tempfile::TempDir| {
            let dir = std::fs::File::open(root.path()).expect("a directory");
            OwnLine::read(dir.as_fd()).map(|line| line.pids[0])
        };
        let own = std::process::id();
        assert_eq!(
            read(&proc_of_files(own, &format!("Pid:\t{own}\nNSpid:\t{own}\n"))),
            Ok(own)
        );
        // The host's proc in a container without hostPID: it knows us by another number …
        let other = proc_of_files(own + 1, &format!("NSpid:\t{}\t{own}\n", own + 1));
        assert_eq!(read(&other), Err(Errno::XDEV));
        // … or by the same one by chance …
        let chance = proc_of_files(own, &format!("NSpid:\t{own}\t{own}\n"));
        assert_eq!(read(&chance), Err(Errno::XDEV));
        // … or not at all, although somebody of our number lives there.
        std::fs::remove_file(chance.path().join("self")).expect("the link");
        assert_eq!(read(&chance), Err(Errno::NOENT));
    }

    #[test]
    fn the_essential_are_spared_everywhere() {
        let own = own();
        let essential = Some(Protection::Essential);
        assert_eq!(protection_of(&facts(1, "init", 0), 0, &own, false), essential);
        assert_eq!(protection_of(&facts(0, "", 0), 0, &own, false), essential);
        assert_eq!(
            protection_of(&facts(9, "kworker/0:1", 0x0020_0000), 0, &own, false),
            essential
        );
        assert_eq!(
            protection_of(&facts(std::process::id(), "me", 0), 1000, &own, false),
            essential
        );
        let parent = std::os::unix::process::parent_id();
        assert_eq!(
            protection_of(&facts(parent, "cargo", 0), 1000, &own, false),
            essential
        );
    }

    #[test]
    fn the_spared_score_is_a_closed_bound() {
        let own = own();
        let leak = facts(u32::MAX, "leak", 0);
        assert_eq!(
            protection_of(&leak, -900, &own, false),
            Some(Protection::OomScoreAdj)
        );
        assert_eq!(protection_of(&leak, -899, &own, false), None);
    }

    #[test]
    fn node_agents_count_outside_kubepods_only() {
        let own = own();
        for comm in [
            "kubelet",
            "containerd-shim",
            "systemd-journal",
            "systemd-logind",
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
            // What `containerd-shim-kata-v2` is cut to.
            "containerd-shim",
        ] {
            let agent = facts(u32::MAX, comm, 0);
            assert_eq!(
                protection_of(&agent, 0, &own, true),
                Some(Protection::NodeAgent),
                "{comm}"
            );
            assert_eq!(protection_of(&agent, 0, &own, false), None, "{comm}");
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
            assert_eq!(
                protection_of(&facts(u32::MAX, comm, 0), 0, &own, true),
                None,
                "{comm}"
            );
        }
    }
    #[test]
    fn the_names_are_those_that_the_sensor_knows() {
        let sensor = include_str!("../../forestall-sense/src/agents.rs");
        for (table, known) in [
            ("const NAMES:", &NODE_AGENTS[..]),
            ("const PREFIXES:", &NODE_AGENT_PREFIXES[..]),
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
    }
}
