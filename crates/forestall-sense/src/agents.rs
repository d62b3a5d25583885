//! The names of what a node cannot do without.
//!
//! A name is the process's own choice, so it only ever protects, and only outside `kubepods`: a container may call
//! itself what it likes and gains nothing by it. Names are cut at 15 bytes (`TASK_COMM_LEN`).

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

/// The programs a kubelet runs as: alone, or within a distribution's one binary.
const KUBELETS: [&[u8]; 5] = [b"kubelet", b"k3s", b"k3s-agent", b"k3s-server", b"kubelite"];

/// Whether `comm` names something a node cannot do without.
pub(crate) fn is_node_agent(comm: &[u8]) -> bool {
    NAMES.contains(&comm) || PREFIXES.iter().any(|prefix| comm.starts_with(prefix))
}

/// Whether `comm` is a kubelet's.
pub(crate) fn is_kubelet(comm: &[u8]) -> bool {
    KUBELETS.contains(&comm)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let cut = comm.as_bytes().get(..15).unwrap_or(comm.as_bytes());
            assert!(is_node_agent(cut), "{comm}");
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
            assert!(!is_node_agent(comm.as_bytes()), "{comm}");
        }
    }

    #[test]
    fn a_kubelet_may_be_part_of_one_binary() {
        assert!(is_kubelet(b"kubelet") && is_kubelet(b"k3s-server"));
        assert!(!is_kubelet(b"kube-proxy"));
    }
}
