//! What a node cannot do without, told by name and by user.
//!
//! A name is the process's own choice, so it only ever protects, only outside `kubepods`, and only whoever also runs as the real
//! user that the program runs as: root; an account of the system's for those that are given one; and for a user's service manager
//! the place where PID 1 puts it. The act crate tells them by the same rules once more before a signal, and says there whom
//! they leave out. Names are cut at 15 bytes (`TASK_COMM_LEN`).

use forestall_kernel::file::Buffer;
use forestall_kernel::parse::{ProcStat, lines, unsigned};
use forestall_kernel::process::{Process, ProcessFile};

/// At or below this `oom_score_adj` somebody has asked for the process to be spared.
pub(crate) const OOM_SCORE_ADJ_SPARED: i32 = -900;

/// Names as a whole.
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

/// Families: systemd's daemons (`systemd-journal`, `systemd-oomd`), shims, sessions of sshd, CNI agents.
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

/// The programs a kubelet runs as: alone, or within a distribution's one binary.
const KUBELETS: [&[u8]; 5] = [b"kubelet", b"k3s", b"k3s-agent", b"k3s-server", b"kubelite"];

/// What a process says of itself by bearing one of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    has_account: bool,
    /// It may be a user's service manager, which PID 1 starts.
    may_be_manager: bool,
    /// It says that it is the kubelet.
    pub(crate) is_kubelet: bool,
}

impl Claim {
    /// What this process says, `None` where it bears none of the names.
    pub(crate) fn of(stat: &ProcStat<'_>) -> Option<Self> {
        let comm = stat.comm;
        let is_name = NAMES.contains(&comm) || PREFIXES.iter().any(|prefix| comm.starts_with(prefix));
        is_name.then(|| Self {
            has_account: WITH_ACCOUNT.contains(&comm) || comm.starts_with(WITH_ACCOUNT_PREFIX),
            may_be_manager: comm == b"systemd" && stat.parent == 1,
            is_kubelet: KUBELETS.contains(&comm),
        })
    }

    /// Whether that is true of the process. Where its user cannot be told, it is believed. Allocates nothing.
    pub(crate) fn is_true(self, process: &Process, buffer: &mut Buffer) -> bool {
        let Some(uid) = process.status(buffer).ok().and_then(|status| status.uid) else {
            return true;
        };
        if uid == 0 || (self.has_account && is_account(uid)) {
            return true;
        }
        let home = self
            .may_be_manager
            .then(|| process.read(ProcessFile::Cgroup, buffer));
        home.is_some_and(|home| home.is_ok_and(|text| is_managers_home(text, uid)))
    }
}

/// Whether the user is an account of the system's (`SYS_UID_MAX`, `login.defs(5)`), or one that systemd lends to a service
/// (`DynamicUser=`; the range is that of systemd's `docs/UIDS-GIDS.md`). No person logs in as one of these.
fn is_account(uid: u32) -> bool {
    matches!(uid, 1..=999 | 61_184..=65_519)
}

/// Whether a `/proc/PID/cgroup` shows where the service manager of this user lives (`user@.service`, systemd).
fn is_managers_home(text: &[u8], uid: u32) -> bool {
    lines(text).any(|line| {
        let unit = line.strip_suffix(b".service/init.scope").unwrap_or_default();
        let name = unit.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        name.strip_prefix(b"user@").and_then(unsigned) == Some(u64::from(uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The claim of a process of this name.
    fn claim(comm: &str) -> Option<Claim> {
        let line = format!("77 ({comm}) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n");
        Claim::of(&ProcStat::parse(line.as_bytes()).expect("a well-formed line"))
    }

    #[test]
    fn the_rule_names_them() {
        for comm in [
            "kubelet",
            "containerd",
            "containerd-shim",
            "containerd-shim-runc-v2",
            "dockerd",
            "crio",
            "conmon",
            "runc",
            "crun",
            "etcd",
            "login",
            "sshd",
            "dbus-daemon",
            "dbus-broker",
            "systemd",
            "systemd-journal",
            "systemd-logind",
            "systemd-udevd",
            "systemd-oomd",
            "calico-node",
            "cilium-agent",
            "flanneld",
            "udevd",
            "elogind",
            "elogind-daemon",
            "lxcfs",
            "lxd",
            "incusd",
            "dropbear",
            "runc:[1:CHILD]",
            "runc:[2:INIT]",
            "conmonrs",
            "kata-runtime",
            "kata-monitor",
            "containerd-shim-kata-v2",
        ] {
            let cut = comm.get(..15).unwrap_or(comm);
            assert!(claim(cut).is_some(), "{comm}");
        }
        for comm in [
            "postgres",
            "java",
            "",
            "kubelet2",
            "mysystemd",
            "runcible",
            "qemu-system-x86_64",
            "virtiofsd",
        ] {
            assert_eq!(claim(comm), None, "{comm}");
        }
    }

    #[test]
    fn a_kubelet_may_be_part_of_one_binary() {
        let is_kubelet = |comm| claim(comm).map(|claim| claim.is_kubelet);
        assert_eq!(is_kubelet("kubelet"), Some(true));
        assert_eq!(is_kubelet("k3s-server"), Some(true));
        assert_eq!(is_kubelet("kube-proxy"), Some(false));
    }
}
