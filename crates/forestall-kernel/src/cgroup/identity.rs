//! What a cgroup path says about Kubernetes: pure, bytes in, identity out.
//!
//! The grammar is: any prefix, a `kubepods` node, an optional QoS node, a pod node, a container node, any tail. A node that
//! itself runs in a container (kind, LXC, Docker in Docker) has its `kubepods` below any prefix. Where a pod is within a pod it is
//! the *outermost* that counts: what lies in a container was named by whoever runs there, who may make cgroups as he likes,
//! and call one of them another's pod. Names are bytes; nothing here fails, what is not recognised is [`Identity::Host`].
//!
//! Sources: kubelet `pkg/kubelet/cm/{pod_container_manager_linux,cgroup_manager_linux}.go`, containerd
//! `internal/cri/server/helpers.go`, CRI-O `internal/config/cgmgr`.

use std::fmt;

/// Kubernetes' quality-of-service class, as the path tells it. Guaranteed pods have no level of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// Directly below `kubepods`.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

/// Who made a container's cgroup, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// `cri-containerd-ID.scope`.
    Containerd,
    /// `crio-ID.scope`.
    CriO,
    /// `docker-ID.scope`.
    Docker,
    /// The cgroupfs driver names the runtime nowhere.
    Unknown,
}

/// A pod's UID as the kubelet has it: with dashes for pods of the API; 32 hexadecimal digits for static pods, whose
/// UID there is the hash of their manifest and not the API's UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodUid {
    bytes: Box<[u8]>,
}

impl PodUid {
    fn from_name(name: &[u8], driver: Driver) -> Self {
        // systemd spells `-` in a unit's name as `_`, since `-` separates the levels of slices.
        let spelled = |byte: &u8| {
            if driver == Driver::Systemd && *byte == b'_' {
                b'-'
            } else {
                *byte
            }
        };
        Self {
            bytes: name.iter().map(spelled).collect(),
        }
    }

    /// The UID's bytes, with dashes restored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The form of a static (or mirror) pod: 32 hexadecimal digits without dashes.
    pub fn is_static(&self) -> bool {
        self.bytes.len() == 32 && self.bytes.iter().all(u8::is_ascii_hexdigit)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.escape_ascii().fmt(out)
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodIdentity {
    /// Its UID.
    pub uid: PodUid,
    /// Its class.
    pub qos: Qos,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerIdentity {
    /// Whose.
    pub pod: PodIdentity,
    /// The runtime's ID: 64 hexadecimal digits for every CRI runtime, else the node's whole name.
    pub id: Box<[u8]>,
    /// Who made it.
    pub runtime: Runtime,
    /// CRI-O's `conmon`, which watches over a container and is none itself.
    pub is_monitor: bool,
}

/// What a cgroup is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// The `kubepods` node.
    Kubepods,
    /// A QoS level.
    Qos(Qos),
    /// A pod.
    Pod(PodIdentity),
    /// A container, or anything below it.
    Container(ContainerIdentity),
    /// Outside `kubepods`, or not understood.
    Host,
}

impl Identity {
    /// Reads a path as `/proc/PID/cgroup`, the kernel log or a walk of cgroupfs have it. A leading `/../..` (a cgroup
    /// namespace other than the reader's) is skipped like any other prefix.
    pub fn of_path(path: &[u8]) -> Self {
        Self::read(path).0
    }

    /// What the pod's own container calls what lies in it, where that is `kubepods` or in it again: the node of an agent that runs there.
    pub fn within_of_path(path: &[u8]) -> Option<Self> {
        let (_, inner) = Self::read(path);
        let inner = Self::read(inner?).0;
        inner.is_in_kubepods().then_some(inner)
    }

    /// The outermost, and what lies in its container.
    fn read(path: &[u8]) -> (Self, Option<&[u8]>) {
        let mut found = Self::Host;
        let mut level = Level::Outside;
        let mut rest = path;
        while !rest.is_empty() {
            if matches!(found, Self::Container(_)) {
                return (found, Some(rest));
            }
            let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if name.is_empty() {
                continue;
            }
            if let Some(driver) = kubepods_driver(name).filter(|_| found.pod().is_none()) {
                level = Level::Kubepods(driver);
                found = Self::Kubepods;
            } else if let Some(container) = colon_container(name).filter(|_| found.pod().is_none()) {
                level = Level::Below;
                found = Self::Container(container);
            } else {
                (level, found) = level.descend(name, found);
            }
        }
        (found, None)
    }

    /// The pod it is or belongs to.
    pub fn pod(&self) -> Option<&PodIdentity> {
        match self {
            Self::Pod(pod) => Some(pod),
            Self::Container(container) => Some(&container.pod),
            Self::Kubepods | Self::Qos(_) | Self::Host => None,
        }
    }

    /// It is `kubepods` or something in it.
    pub fn is_in_kubepods(&self) -> bool {
        *self != Self::Host
    }
}

/// Who wrote the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Cgroupfs,
    Systemd,
}

/// Where a walk down the path stands.
#[derive(Clone, Debug)]
enum Level {
    Outside,
    Kubepods(Driver),
    Qos(Driver, Qos),
    Pod(Driver, PodIdentity),
    /// In a container, or in something below `kubepods` that no kubelet makes.
    Below,
}

impl Level {
    /// One step down to `name`; `found` is what the level above was found to be.
    fn descend(self, name: &[u8], found: Identity) -> (Self, Identity) {
        match self {
            Self::Kubepods(driver) => {
                if let Some(qos) = qos_of(name, driver) {
                    (Self::Qos(driver, qos), Identity::Qos(qos))
                } else {
                    Self::enter_pod(name, driver, Qos::Guaranteed)
                }
            }
            Self::Qos(driver, qos) => Self::enter_pod(name, driver, qos),
            Self::Pod(driver, pod) => (Self::Below, Identity::Container(container_of(name, driver, pod))),
            Self::Outside | Self::Below => (self, found),
        }
    }

    fn enter_pod(name: &[u8], driver: Driver, qos: Qos) -> (Self, Identity) {
        match pod_uid_of(name, driver) {
            Some(uid) => {
                let pod = PodIdentity { uid, qos };
                (Self::Pod(driver, pod.clone()), Identity::Pod(pod))
            }
            None => (Self::Below, Identity::Host),
        }
    }
}

/// `kubepods`, `kubepods.slice`, and with a `--cgroup-root` under systemd `ROOT-kubepods.slice`.
fn kubepods_driver(name: &[u8]) -> Option<Driver> {
    if name == b"kubepods" {
        return Some(Driver::Cgroupfs);
    }
    let outer = name.strip_suffix(b"kubepods.slice")?;
    (outer.is_empty() || outer.ends_with(b"-")).then_some(Driver::Systemd)
}

/// `burstable`, or `kubepods-burstable.slice` (whatever stands before it).
fn qos_of(name: &[u8], driver: Driver) -> Option<Qos> {
    let class = match driver {
        Driver::Cgroupfs => name,
        Driver::Systemd => after_last(name.strip_suffix(b".slice")?, b"kubepods-")?,
    };
    match class {
        b"burstable" => Some(Qos::Burstable),
        b"besteffort" => Some(Qos::BestEffort),
        _ => None,
    }
}

/// `podUID`, or `kubepods-QOS-podUID.slice`.
fn pod_uid_of(name: &[u8], driver: Driver) -> Option<PodUid> {
    let uid = match driver {
        Driver::Cgroupfs => name.strip_prefix(b"pod")?,
        Driver::Systemd => after_last(name.strip_suffix(b".slice")?, b"-pod")?,
    };
    (!uid.is_empty()).then(|| PodUid::from_name(uid, driver))
}

fn container_of(name: &[u8], driver: Driver, pod: PodIdentity) -> ContainerIdentity {
    let name = match driver {
        Driver::Cgroupfs => name,
        Driver::Systemd => name.strip_suffix(b".scope").unwrap_or(name),
    };
    let (id, runtime, is_monitor) = split_prefix(name);
    ContainerIdentity {
        pod,
        id: id.into(),
        runtime,
        is_monitor,
    }
}

/// Takes the runtime's prefix off a container's node. The longest match comes first: `crio-conmon-` is no `crio-`.
fn split_prefix(name: &[u8]) -> (&[u8], Runtime, bool) {
    const PREFIXES: [(&[u8], Runtime, bool); 4] = [
        (b"cri-containerd-", Runtime::Containerd, false),
        (b"crio-conmon-", Runtime::CriO, true),
        (b"crio-", Runtime::CriO, false),
        (b"docker-", Runtime::Docker, false),
    ];
    for (prefix, runtime, is_monitor) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| !id.is_empty()) {
            return (id, runtime, is_monitor);
        }
    }
    // An unknown runtime's prefix is recognised by the 64 digits behind it.
    match name
        .iter()
        .rposition(|byte| *byte == b'-')
        .and_then(|dash| name.get(dash + 1..))
    {
        Some(id) if id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit) => (id, Runtime::Unknown, false),
        _ => (name, Runtime::Unknown, false),
    }
}

/// `kubepods-QOS-podUID.slice:cri-containerd:ID`: the runtime was told a systemd slice and uses the cgroupfs driver, so
/// the whole specification became one directory, wherever the runtime itself lives.
fn colon_container(name: &[u8]) -> Option<ContainerIdentity> {
    let mut parts = name.splitn(3, |byte| *byte == b':');
    let (slice, prefix, id) = (parts.next()?, parts.next()?, parts.next()?);
    let unit = after_last(slice.strip_suffix(b".slice")?, b"kubepods-")?;
    let (qos, rest) = [
        (Qos::Burstable, &b"burstable-"[..]),
        (Qos::BestEffort, b"besteffort-"),
    ]
    .into_iter()
    .find_map(|(qos, word)| Some((qos, unit.strip_prefix(word)?)))
    .unwrap_or((Qos::Guaranteed, unit));
    let uid = rest.strip_prefix(b"pod").filter(|uid| !uid.is_empty())?;
    let runtime = match prefix {
        b"cri-containerd" => Runtime::Containerd,
        b"crio" => Runtime::CriO,
        b"docker" => Runtime::Docker,
        _ => Runtime::Unknown,
    };
    let pod = PodIdentity {
        uid: PodUid::from_name(uid, Driver::Systemd),
        qos,
    };
    Some(ContainerIdentity {
        pod,
        id: id.into(),
        runtime,
        is_monitor: false,
    })
}

/// What stands behind the last `needle`.
fn after_last<'a>(name: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    let at = name.windows(needle.len()).rposition(|window| window == needle)?;
    name.get(at + needle.len()..)
}

#[cfg(test)]
mod tests;
