//! Node agents, told by what they call themselves and by who runs them.
//!
//! A name is the process's own choice, so it protects nobody by itself: whoever bears one of these names also has to run as the
//! real user that the program runs as, which nobody can take on who is not that already. The effective user says less: sshd
//! lays it down for a moment while it reads a user's files, and a program with the setuid bit has root's whoever started it.
//!
//! | name | who it is |
//! |---|---|
//! | each of them | whoever runs as root |
//! | etcd, bird, Open vSwitch | whoever runs as an account of the system's, which these are given |
//! | buses, `systemd-…` | the same, but not in a service or scope of another name than `dbus…` or `systemd-…` |
//! | `systemd` | a user's service manager: a child of PID 1 in `user@UID.service/init.scope`, a place that neither a login nor a service of that user can reach with that parent |
//!
//! The account alone is a weak proof: whoever runs as any account between 1 and 999, a web server's say, may call itself etcd and is
//! believed. Which number belongs to which program differs from machine to machine, in a container the machine's own list of
//! accounts says nothing, and etcd's service is called as its operator likes (or k0s, of which it is a child). The services of
//! systemd and of the buses bear the names that their own packages give them, and none but root moves a process there.
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

/// Those whose packages give them an account of their own, and whose services are called as their operators like.
const WITH_ACCOUNT: [&[u8]; 5] = [b"bird", b"bird6", b"etcd", b"ovs-vswitchd", b"ovsdb-server"];

/// And those whose services are called as their packages say, by how the names of both begin: dbus and dbus-broker (messagebus,
/// dbus; `dbus.service`, `dbus-broker.service`, `dbus-daemon.service`), systemd's own daemons (systemd-resolve in
/// `systemd-resolved.service`, systemd-timesyn in `systemd-timesyncd.service`, …).
const WITH_ACCOUNT_AND_SERVICE: [(&[u8], &[u8]); 2] = [(b"dbus-", b"dbus"), (b"systemd-", b"systemd-")];

/// The programs a kubelet runs as: alone, or within a distribution's one binary.
const KUBELETS: [&[u8]; 5] = [b"kubelet", b"k3s", b"k3s-agent", b"k3s-server", b"kubelite"];

/// What a process says of itself by bearing one of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    account: Account,
    /// It may be a user's service manager, which PID 1 starts.
    may_be_manager: bool,
    is_kubelet: bool,
}

/// As which account of the system's the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// None but root.
    None,
    /// One of its own, wherever it is.
    Anywhere,
    /// One of its own, in a service whose name begins so, where that can be told.
    InService(&'static [u8]),
}

impl Account {
    fn of(comm: &[u8]) -> Self {
        if WITH_ACCOUNT.contains(&comm) {
            return Self::Anywhere;
        }
        let mut with_service = WITH_ACCOUNT_AND_SERVICE.into_iter();
        with_service
            .find(|(name, _)| comm.starts_with(name))
            .map_or(Self::None, |(_, service)| Self::InService(service))
    }
}

impl Claim {
    /// What a child of `parent` that calls itself `comm` (cut at 15 bytes, `TASK_COMM_LEN`) says, `None` where that is none of
    /// the names.
    pub fn of(comm: &[u8], parent: u32) -> Option<Self> {
        let is_name = NAMES.contains(&comm) || PREFIXES.iter().any(|prefix| comm.starts_with(prefix));
        is_name.then(|| Self {
            account: Account::of(comm),
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
        if uid == 0 {
            return true;
        }
        if self.may_be_manager {
            return place().is_some_and(|text| is_managers_home(text, uid));
        }
        match self.account {
            Account::None => false,
            Account::Anywhere => is_account(uid),
            Account::InService(name) => {
                is_account(uid) && place().is_none_or(|text| !is_in_service_of_another(text, name))
            }
        }
    }
}

/// Whether the user is an account of the system's (`SYS_UID_MAX`, `login.defs(5)`), or one that systemd lends to a service
/// (`DynamicUser=`; the range is that of systemd's `docs/UIDS-GIDS.md`). No person logs in as one of these.
pub fn is_account(uid: u32) -> bool {
    matches!(uid, 1..=999 | 61_184..=65_519)
}

/// Whether a `/proc/PID/cgroup` shows services or scopes (`systemd.unit(5)`) and none whose name begins with `own`. Any of them will
/// do, because a container's services lie below the container's own; without any, nobody has told.
fn is_in_service_of_another(text: &[u8], own: &[u8]) -> bool {
    let is_unit = |name: &[u8]| name.ends_with(b".service") || name.ends_with(b".scope");
    let names = text.split(|byte| matches!(byte, b'/' | b'\n'));
    let mut units = names.filter(|name| is_unit(name)).peekable();
    units.peek().is_some() && !units.any(|name| name.starts_with(own))
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
        for comm in ["etcd", "bird", "bird6", "ovs-vswitchd", "ovsdb-server"] {
            for uid in [1, 101, 999, 61_184, 65_519] {
                assert!(is_agent_of(comm, uid), "{comm} as {uid}");
            }
        }
        for comm in ["sshd", "kubelet", "containerd", "systemd"] {
            assert!(!is_agent_of(comm, 101), "{comm}");
        }
    }

    #[test]
    fn a_bus_and_a_daemon_of_systemds_live_in_services_of_their_own() {
        let of = |comm: &str, place: &str| is_agent(comm, 1, Some(101), place);
        // The units are those of systemd's, dbus' and dbus-broker's packages; `comm` is cut at 15 bytes.
        for (comm, unit) in [
            ("systemd-resolve", "systemd-resolved.service"),
            ("systemd-network", "systemd-networkd.service"),
            ("systemd-timesyn", "systemd-timesyncd.service"),
            ("systemd-oomd", "systemd-oomd.service"),
            ("systemd-journal", "systemd-journal-remote.service"),
            ("systemd-coredum", "systemd-coredump@0-4711-0.service"),
            ("dbus-daemon", "dbus.service"),
            ("dbus-daemon", "dbus-daemon.service"),
            ("dbus-broker", "dbus-broker.service"),
            ("dbus-broker-lau", "dbus-broker.service"),
        ] {
            for own in [
                format!("0::/system.slice/{unit}\n"),
                format!("0::/../../../system.slice/{unit}\n"),
                format!("9:memory:/system.slice/{unit}\n1:name=systemd:/system.slice/{unit}\n0::/\n"),
                // A node that is a container, or a container that is a system.
                format!("0::/system.slice/docker-0123abcd.scope/system.slice/{unit}\n"),
                format!("0::/lxc.payload.one/system.slice/{unit}\n"),
                format!("0::/machine.slice/systemd-nspawn@one.service/payload/system.slice/{unit}\n"),
            ] {
                assert!(of(comm, &own), "{comm} in {own}");
            }
            // Nobody says which service: without systemd (OpenRC, runit), and in the root cgroup.
            for untold in [
                "0::/\n",
                "0::/openrc.dbus\n",
                "8:memory:/\n1:cpu:/docker/0123abcd\n",
                "",
            ] {
                assert!(of(comm, untold), "{comm} in {untold:?}");
            }
            let another = [
                "0::/system.slice/nginx.service\n",
                "0::/user.slice/user-1000.slice/session-3.scope\n",
                "1:name=systemd:/system.slice/cron.service\n0::/\n",
                "0::/system.slice/docker-0123abcd.scope\n",
                "0::/system.slice/my-systemd-resolved.service\n",
            ];
            for another in another {
                assert!(!of(comm, another), "{comm} in {another}");
                assert!(is_agent(comm, 1, Some(0), another), "root's {comm} in {another}");
            }
        }
        let unread = Claim::of(b"systemd-resolve", 1).expect("a name");
        assert!(unread.is_true_of(Some(101), || None));
        // Nor does a place make a person's program the system's.
        assert!(!is_agent(
            "dbus-daemon",
            1,
            Some(1000),
            "0::/system.slice/dbus.service\n"
        ));
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
