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
//!
//! Asked by the sensor at each look and once more right before a signal: one rule, so that whom the engine may choose and whom
//! the hand may touch are the same. What it refuses to do: read anything; user and place are handed in.

/// At or below this `oom_score_adj` somebody has asked for the process to be spared.
pub const OOM_SCORE_ADJ_SPARED: i32 = -900;

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

/// The programs a kubelet runs as: alone, or within a distribution's one binary.
const KUBELETS: [&[u8]; 5] = [b"kubelet", b"k3s", b"k3s-agent", b"k3s-server", b"kubelite"];

/// What a process says of itself by bearing one of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    has_account: bool,
    /// It may be a user's service manager, which PID 1 starts.
    may_be_manager: bool,
    is_kubelet: bool,
}

impl Claim {
    /// What a child of `parent` that calls itself `comm` (cut at 15 bytes, `TASK_COMM_LEN`) says, `None` where that is none of
    /// the names.
    pub fn of(comm: &[u8], parent: u32) -> Option<Self> {
        let is_name = NAMES.contains(&comm) || PREFIXES.iter().any(|prefix| comm.starts_with(prefix));
        is_name.then(|| Self {
            has_account: WITH_ACCOUNT.contains(&comm) || comm.starts_with(WITH_ACCOUNT_PREFIX),
            may_be_manager: comm == b"systemd" && parent == 1,
            is_kubelet: KUBELETS.contains(&comm),
        })
    }

    /// It says that it is the kubelet.
    pub const fn is_kubelet(self) -> bool {
        self.is_kubelet
    }

    /// Whether that is true of who runs as this real user; where the user cannot be told, it is believed. `place`: what its
    /// `/proc/PID/cgroup` shows, asked for only where that decides.
    pub fn is_true_of<'a>(self, uid: Option<u32>, place: impl FnOnce() -> Option<&'a [u8]>) -> bool {
        let Some(uid) = uid else { return true };
        uid == 0
            || self.has_account && is_account(uid)
            || self.may_be_manager && place().is_some_and(|text| is_managers_home(text, uid))
    }
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
        let digits = name.strip_prefix(b"user@").unwrap_or_default();
        let user = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse().ok());
        user == Some(uid) && digits.iter().all(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a child of `parent` that calls itself `comm` is a node agent, by its user and its place.
    fn is_agent(comm: &str, parent: u32, uid: Option<u32>, place: &str) -> bool {
        let claim = Claim::of(comm.as_bytes(), parent);
        claim.is_some_and(|claim| claim.is_true_of(uid, || Some(place.as_bytes())))
    }

    /// The same of one that runs as `uid`, in a login's scope.
    fn is_agent_of(comm: &str, uid: u32) -> bool {
        is_agent(
            comm,
            1,
            Some(uid),
            "0::/user.slice/user-1000.slice/session-3.scope\n",
        )
    }

    #[test]
    fn roots_are_told_by_their_names() {
        for comm in [
            "kubelet",
            "containerd",
            "containerd-shim",
            "dockerd",
            "crio",
            "calico-node",
            "cilium-agent",
            "flanneld",
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
            "mysystemd",
            "postgres",
            "",
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
        let of = |comm: &str, parent, cgroup: &str| is_agent(comm, parent, Some(1000), cgroup);
        let home = "/user.slice/user-1000.slice/user@1000.service/init.scope\n";
        assert!(of("systemd", 1, &format!("0::{home}")));
        assert!(of(
            "systemd",
            1,
            &format!("4:memory:/x\n1:name=systemd:{home}0::/\n")
        ));
        // A process of the user's that moved there, or that bears another name.
        assert!(!of("systemd", 4711, &format!("0::{home}")));
        assert!(!of("sshd", 1, &format!("0::{home}")));
        for elsewhere in [
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "0::/user.slice/user-1001.slice/user@1001.service/init.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/init.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service\n",
            "0::/init.scope\n",
            "",
        ] {
            assert!(!of("systemd", 1, elsewhere), "{elsewhere:?}");
        }
    }

    #[test]
    fn where_the_user_cannot_be_told_the_name_is_believed() {
        assert!(is_agent("sshd", 1, None, "0::/\n"));
        assert!(!is_agent("leak", 1, None, "0::/\n"));
    }

    #[test]
    fn a_kubelet_may_be_part_of_one_binary() {
        let is_kubelet = |comm: &str| Claim::of(comm.as_bytes(), 1).map(Claim::is_kubelet);
        assert_eq!(is_kubelet("kubelet"), Some(true));
        assert_eq!(is_kubelet("k3s-server"), Some(true));
        assert_eq!(is_kubelet("kube-proxy"), Some(false));
    }
}
