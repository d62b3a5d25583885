use proptest::prelude::*;

use super::*;

const UID: &str = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
const UNIT: &str = "0330b2c1_a15b_4cdd_b5e5_72d4a90bee82";
const HASH: &str = "57dcfcd1ef1aa4d1c9bb2cbb04bb9a73";
const CID: &str = "b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a";
const OUTER: &str = "8371caad8cc369f16c55ce039fbbe0e4fd1be88e72f119bce94ccd5d07d152fe";

fn pod(uid: &str, qos: Qos) -> PodIdentity {
    PodIdentity {
        uid: PodUid {
            bytes: uid.as_bytes().into(),
        },
        qos,
    }
}

fn container(qos: Qos, runtime: Runtime) -> Identity {
    container_in(pod(UID, qos), runtime, false)
}

fn container_in(pod: PodIdentity, runtime: Runtime, is_monitor: bool) -> Identity {
    Identity::Container(ContainerIdentity {
        pod,
        id: CID.as_bytes().into(),
        runtime,
        is_monitor,
    })
}

/// Spells the placeholders of a row out.
fn spell(path: &str) -> String {
    path.replace("{uid}", UID)
        .replace("{unit}", UNIT)
        .replace("{hash}", HASH)
        .replace("{cid}", CID)
        .replace("{outer}", OUTER)
}

#[test]
fn every_known_layout_has_its_row() {
    use Qos::{BestEffort, Burstable, Guaranteed};
    use Runtime::{Containerd, CriO, Docker, Unknown};
    let rows: &[(&str, &str, Identity)] = &[
        ("cgroupfs kubepods", "/kubepods", Identity::Kubepods),
        ("cgroupfs qos", "/kubepods/besteffort", Identity::Qos(BestEffort)),
        (
            "cgroupfs pod",
            "/kubepods/burstable/pod{uid}",
            Identity::Pod(pod(UID, Burstable)),
        ),
        (
            "cgroupfs guaranteed pod",
            "/kubepods/pod{uid}",
            Identity::Pod(pod(UID, Guaranteed)),
        ),
        (
            "cgroupfs guaranteed",
            "/kubepods/pod{uid}/{cid}",
            container(Guaranteed, Unknown),
        ),
        (
            "cgroupfs burstable, Talos",
            "/kubepods/burstable/pod{uid}/{cid}",
            container(Burstable, Unknown),
        ),
        (
            "cgroupfs CRI-O",
            "/kubepods/burstable/pod{uid}/crio-{cid}",
            container(Burstable, CriO),
        ),
        (
            "cgroupfs conmon",
            "/kubepods/burstable/pod{uid}/crio-conmon-{cid}",
            container_in(pod(UID, Burstable), CriO, true),
        ),
        (
            "cgroupfs static",
            "/kubepods/burstable/pod{hash}/{cid}",
            container_in(pod(HASH, Burstable), Unknown, false),
        ),
        ("systemd kubepods", "/kubepods.slice", Identity::Kubepods),
        (
            "systemd qos",
            "/kubepods.slice/kubepods-burstable.slice",
            Identity::Qos(Burstable),
        ),
        (
            "systemd pod",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{unit}.slice",
            Identity::Pod(pod(UID, BestEffort)),
        ),
        (
            "systemd containerd (EKS, AKS, GKE, k3s)",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{unit}.slice/cri-containerd-{cid}.scope",
            container(Burstable, Containerd),
        ),
        (
            "systemd guaranteed",
            "/kubepods.slice/kubepods-pod{unit}.slice/cri-containerd-{cid}.scope",
            container(Guaranteed, Containerd),
        ),
        (
            "systemd CRI-O with crun's tail",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{unit}.slice/crio-{cid}.scope/container",
            container(BestEffort, CriO),
        ),
        (
            "systemd conmon",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{unit}.slice/crio-conmon-{cid}.scope",
            container_in(pod(UID, Burstable), CriO, true),
        ),
        (
            "systemd Docker with systemd inside",
            "/kubepods.slice/kubepods-pod{unit}.slice/docker-{cid}.scope/init.scope",
            container(Guaranteed, Docker),
        ),
        (
            "systemd static pod",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{cid}.scope",
            container_in(pod(HASH, Burstable), Containerd, false),
        ),
        (
            "unknown runtime's prefix",
            "/kubepods.slice/kubepods-pod{unit}.slice/novel-rt-{cid}.scope",
            container(Guaranteed, Unknown),
        ),
        (
            "kind: the outer Docker container is the node",
            "/system.slice/docker-{outer}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-pod{unit}.slice/cri-containerd-{cid}.scope",
            container(Burstable, Containerd),
        ),
        (
            "LXC",
            "/lxc.payload.worker/kubepods.slice/kubepods-pod{unit}.slice/crio-{cid}.scope",
            container(Guaranteed, CriO),
        ),
        (
            "Docker in Docker",
            "/system/docker/kubepods/besteffort/pod{uid}/{cid}",
            container(BestEffort, Unknown),
        ),
        (
            "Docker in a pod: the outermost pod counts",
            "/kubepods/burstable/pod{uid}/{cid}/docker/kubepods/pod11111111-2222-3333-4444-555555555555/{outer}",
            container(Burstable, Unknown),
        ),
        (
            "a colon form in a pod's container",
            "/kubepods/burstable/pod{uid}/{cid}/kubepods-pod11111111.slice:cri-containerd:{outer}",
            container(Burstable, Unknown),
        ),
        (
            "kubepods as a container's name",
            "/kubepods/pod{uid}/kubepods",
            Identity::Container(ContainerIdentity {
                pod: pod(UID, Guaranteed),
                id: (*b"kubepods").into(),
                runtime: Unknown,
                is_monitor: false,
            }),
        ),
        (
            "from another cgroup namespace",
            "/../../kubepods-burstable.slice/../../kubepods.slice/kubepods-pod{unit}.slice/cri-containerd-{cid}.scope",
            container(Guaranteed, Containerd),
        ),
        (
            "colon form",
            "/system.slice/containerd.service/kubepods-burstable-pod{unit}.slice:cri-containerd:{cid}",
            container(Burstable, Containerd),
        ),
        (
            "colon form, guaranteed",
            "/kubepods-pod{unit}.slice:cri-containerd:{cid}",
            container(Guaranteed, Containerd),
        ),
        ("root", "/", Identity::Host),
        ("empty", "", Identity::Host),
        ("service", "/system.slice/kubelet.service", Identity::Host),
        (
            "podman pod",
            "/machine.slice/machine-libpod_pod_{cid}.slice/libpod-{cid}.scope",
            Identity::Host,
        ),
        ("plain Docker", "/system.slice/docker-{cid}.scope", Identity::Host),
        (
            "name that merely contains it",
            "/mykubepods.slice/pod{uid}",
            Identity::Host,
        ),
        ("colons of another kind", "/system.slice/a:b:c", Identity::Host),
        (
            "below kubepods, no kubelet's doing",
            "/kubepods/scratch/pod{uid}",
            Identity::Host,
        ),
        ("pod without UID", "/kubepods/pod", Identity::Host),
    ];
    for (layout, path, expected) in rows {
        assert_eq!(
            &Identity::of_path(spell(path).as_bytes()),
            expected,
            "{layout}: {path}"
        );
    }
}

#[test]
fn static_pods_are_told_by_their_uid() {
    for (path, expected) in [
        ("/kubepods/pod{hash}", true),
        ("/kubepods/pod{uid}", false),
        ("/kubepods/podabc", false),
    ] {
        let identity = Identity::of_path(spell(path).as_bytes());
        assert_eq!(
            identity.pod().map(|pod| pod.uid.is_static()),
            Some(expected),
            "{path}"
        );
    }
}

#[test]
fn names_of_any_bytes_are_taken_and_escaped_for_display() {
    let path = b"/kubepods/pod\xff\n/\x1b[31m";
    let Identity::Container(container) = Identity::of_path(path) else {
        panic!("a container")
    };
    assert_eq!(container.pod.uid.as_bytes(), b"\xff\n");
    assert_eq!(container.pod.uid.to_string(), "\\xff\\n");
    assert_eq!(&*container.id, b"\x1b[31m");
}

#[test]
fn what_runs_in_a_pods_container_has_its_own_pods_for_whoever_asks() {
    let outer = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/{outer}";
    for (path, expected) in [
        (
            format!("{outer}/kubelet/kubepods/pod{{uid}}/{{cid}}"),
            Some(container(Qos::Guaranteed, Runtime::Unknown)),
        ),
        (format!("{outer}/kubelet/kubepods"), Some(Identity::Kubepods)),
        (format!("{outer}/inner"), None),
        (outer.to_owned(), None),
        ("/docker/{outer}/kubepods/pod{uid}/{cid}".to_owned(), None),
    ] {
        assert_eq!(
            Identity::within_of_path(spell(&path).as_bytes()),
            expected,
            "{path}"
        );
    }
}

proptest! {
    /// Paths come from the kernel log and from other people's names: no bytes may bring it down, none put in front of a path may change
    /// what its `kubepods` node says, and none behind a container whose container it is.
    #[test]
    fn any_bytes_are_taken_and_neither_prefix_nor_tail_changes_anything(
        prefix in "[a-z/:._-]{0,24}",
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                &b"/"[..], b"kubepods", b".slice", b"-burstable", b"besteffort", b"-pod", b"pod", b"_", b":", b".scope",
                b"crio-", b"0b1c", b"\xff", b"..", b"-",
            ]),
            0..24,
        ),
    ) {
        let path = pieces.concat();
        let identity = Identity::of_path(&path);
        let longer = [prefix.as_bytes(), b"/", &path].concat();
        prop_assert!(Identity::of_path(&longer).is_in_kubepods() || !identity.is_in_kubepods());
        let own = Identity::of_path(b"/kubepods/podouter/cid");
        prop_assert_eq!(Identity::of_path(&[b"/kubepods/podouter/cid/", &path[..]].concat()), own);
        let outside = [b"/docker/cid/", &path[..]].concat();
        prop_assert_eq!(Identity::of_path(&outside), Identity::of_path(&[b"/", &path[..]].concat()));
    }
}
