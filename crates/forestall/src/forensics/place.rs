//! A cgroup in words: which container of which pod, which service.

use forestall_kernel::cgroup::{ContainerIdentity, Identity, PodIdentity, Qos, Runtime};
use forestall_kernel::oom::CgroupPath;

use crate::log::escape;

/// So much of a container's ID is shown: as much as its runtime's own tools show.
const ID_SHOWN: usize = 12;

/// What a cgroup's path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The pod's UID.
    pub(crate) pod: Option<String>,
    /// The container's ID.
    pub(crate) container: Option<String>,
    /// The pod's class.
    pub(crate) qos: Option<&'static str>,
    /// Who made the container.
    pub(crate) runtime: Option<&'static str>,
    /// In words, fit for a terminal.
    pub(crate) words: String,
}

impl Place {
    /// Reads a path. One whose end may be missing names nothing that stands at its end.
    pub(crate) fn of(path: &CgroupPath) -> Self {
        let words = || {
            format!(
                "cgroup {}{}",
                escape::bytes(&path.path),
                if path.is_cut { "…" } else { "" }
            )
        };
        let whole = match path.path.iter().rposition(|byte| *byte == b'/') {
            Some(last) if path.is_cut => path.path.get(..last).unwrap_or_default(),
            _ => &path.path,
        };
        match Identity::of_path(whole) {
            Identity::Container(container) => Self::of_container(&container),
            Identity::Pod(pod) if path.is_cut => {
                let inner = Self::of_pod(&pod);
                Self {
                    words: format!("a cgroup of {}", inner.words),
                    ..inner
                }
            }
            Identity::Pod(pod) => Self::of_pod(&pod),
            _ if path.is_cut => Self {
                words: words(),
                ..Self::default()
            },
            Identity::Qos(qos) => Self {
                qos: Some(qos_word(qos)),
                words: format!("all {} pods", qos_word(qos)),
                ..Self::default()
            },
            Identity::Kubepods => Self {
                words: "all pods of the node (kubepods)".to_owned(),
                ..Self::default()
            },
            Identity::Host => Self {
                words: host(&path.path).unwrap_or_else(words),
                ..Self::default()
            },
        }
    }

    /// What lies in the pod's own container, where that is a node itself and this is in one of its pods.
    pub(crate) fn within(path: &CgroupPath) -> Option<Self> {
        match Identity::within_of_path(&path.path).filter(|_| !path.is_cut)? {
            Identity::Container(container) => Some(Self::of_container(&container)),
            Identity::Pod(pod) => Some(Self::of_pod(&pod)),
            Identity::Kubepods | Identity::Qos(_) | Identity::Host => None,
        }
    }

    fn of_pod(pod: &PodIdentity) -> Self {
        let uid = escape::bytes(pod.uid.as_bytes());
        let kind = if pod.uid.is_static() { "static pod" } else { "pod" };
        Self {
            words: format!("{kind} {uid} ({})", qos_word(pod.qos)),
            pod: Some(uid),
            qos: Some(qos_word(pod.qos)),
            ..Self::default()
        }
    }

    fn of_container(container: &ContainerIdentity) -> Self {
        let pod = Self::of_pod(&container.pod);
        let id = escape::bytes(&container.id);
        let shown = shortened(&id);
        let kind = if container.is_monitor {
            "conmon of container"
        } else {
            "container"
        };
        Self {
            words: format!("{kind} {shown} of {}", pod.words),
            container: Some(id),
            runtime: runtime_word(container.runtime),
            ..pod
        }
    }
}

/// Whether a limit lies below a container's own, where what runs there has set it. crun puts all of a container into one cgroup below its own
/// (`container`), which has the same limit.
pub(crate) fn is_within_container(limit: &CgroupPath) -> bool {
    let last = limit.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let Some((above, name)) = limit.path.split_at_checked(last) else {
        return false;
    };
    let is_below = matches!(Identity::of_path(above), Identity::Container(_));
    is_below && name != b"/container" && !limit.is_cut
}

/// Of an ID its beginning, of a name all.
fn shortened(id: &str) -> &str {
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    id.get(..ID_SHOWN).filter(|_| is_id).unwrap_or(id)
}

/// What is not Kubernetes', by the last part of its path that says what it is.
fn host(path: &[u8]) -> Option<String> {
    if path == b"/" {
        return Some("the root cgroup".to_owned());
    }
    let parts = path.split(|byte| *byte == b'/').rev();
    parts.filter(|part| !part.is_empty()).find_map(named)
}

fn named(part: &[u8]) -> Option<String> {
    let text = escape::bytes(part);
    let is_id = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let scope = |prefix: &str| {
        let id = text.strip_prefix(prefix)?.strip_suffix(".scope")?;
        is_id(id).then(|| shortened(id).to_owned())
    };
    if let Some(id) = scope("docker-") {
        return Some(format!("Docker container {id}"));
    }
    if let Some(id) = scope("libpod-") {
        return Some(format!("podman container {id}"));
    }
    if is_id(&text) {
        return Some(format!("container {}", shortened(&text)));
    }
    if let Some(pod) = text
        .strip_prefix("machine-libpod_pod_")
        .and_then(|pod| pod.strip_suffix(".slice"))
    {
        return Some(format!("podman pod {}", shortened(pod)));
    }
    let unit = |suffix: &str| text.strip_suffix(suffix).filter(|name| !name.is_empty());
    if let Some(name) = unit(".service") {
        return Some(format!("service {name}"));
    }
    unit(".slice").map(|name| format!("slice {name}"))
}

const fn qos_word(qos: Qos) -> &'static str {
    match qos {
        Qos::Guaranteed => "guaranteed",
        Qos::Burstable => "burstable",
        Qos::BestEffort => "besteffort",
    }
}

const fn runtime_word(runtime: Runtime) -> Option<&'static str> {
    match runtime {
        Runtime::Containerd => Some("containerd"),
        Runtime::CriO => Some("cri-o"),
        Runtime::Docker => Some("docker"),
        Runtime::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
    const ID: &str = "b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a";

    fn words(path: &str, is_cut: bool) -> String {
        let path = path.as_bytes().into();
        Place::of(&CgroupPath { path, is_cut }).words
    }

    #[test]
    fn a_path_is_told_by_what_it_is() {
        let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0330b2c1_a15b_4cdd_b5e5_72d4a90bee82.slice";
        let pod = format!("pod {UID} (burstable)");
        let container = format!("container b27201334a41 of {pod}");
        for (path, told) in [
            (format!("{slice}/cri-containerd-{ID}.scope"), container.as_str()),
            (format!("{slice}/cri-containerd-{ID}.scope/inner"), &container),
            (slice.to_owned(), &pod),
            ("/kubepods".to_owned(), "all pods of the node (kubepods)"),
            ("/kubepods/besteffort".to_owned(), "all besteffort pods"),
            (
                format!("/kubepods/pod{UID}/web"),
                &format!("container web of pod {UID} (guaranteed)"),
            ),
            (
                "/kubepods/burstable/pod0123456789abcdef0123456789abcdef".to_owned(),
                "static pod 0123456789abcdef0123456789abcdef (burstable)",
            ),
            (
                format!("/system.slice/docker-{ID}.scope"),
                "Docker container b27201334a41",
            ),
            (format!("/docker/{ID}"), "container b27201334a41"),
            (
                "/system.slice/containerd.service".to_owned(),
                "service containerd",
            ),
            (
                "/user.slice/user-1000.slice/session-3.scope".to_owned(),
                "slice user-1000",
            ),
            (
                "/machine.slice/machine-libpod_pod_91699c.slice/libpod-1/container".to_owned(),
                "podman pod 91699c",
            ),
            ("/a\x1bb".to_owned(), "cgroup /a\\x1bb"),
            ("/".to_owned(), "the root cgroup"),
        ] {
            assert_eq!(words(&path, false), told, "{path}");
        }
    }

    #[test]
    fn a_limit_within_a_container_is_told_from_its_own() {
        let own = format!("/kubepods/burstable/pod{UID}/{ID}");
        let is_within = |path: String, is_cut| {
            let path = path.into_bytes().into();
            is_within_container(&CgroupPath { path, is_cut })
        };
        assert!(is_within(format!("{own}/inner"), false) && is_within(format!("{own}/a/b"), false));
        assert!(!is_within(own.clone(), false) && !is_within(format!("{own}/container"), false));
        assert!(!is_within(format!("{own}/inn"), true) && !is_within("/a/b".to_owned(), false));
    }

    #[test]
    fn of_a_path_that_is_cut_the_last_name_is_not_believed() {
        let pod = format!("/kubepods/burstable/pod{UID}");
        assert_eq!(
            words(&format!("{pod}/{}", &ID[..9]), true),
            format!("a cgroup of pod {UID} (burstable)")
        );
        assert_eq!(
            words("/kubepods/burstable/pod0330", true),
            "cgroup /kubepods/burstable/pod0330…"
        );
        assert_eq!(
            words("/machine.slice/machine-libpod_pod_9169", true),
            "cgroup /machine.slice/machine-libpod_pod_9169…"
        );
    }
}
