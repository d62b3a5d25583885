//! A pod's object as the engine's [`Pod`].
//!
//! It counts requests as the kubelet's eviction does, and knows a static pod by the hash that names its cgroup. It refuses to guess: whose UID
//! cannot be read is left out, and the engine touches nobody whom it does not know.

use forestall_decide::kubelet::{InitRequest, Nanobytes, PodLevel, Quantity, Requests};
use forestall_decide::{
    Bytes, GroupId, Limit, Moment, Origin, Owner, Pod, PodContainer, PodUid, Qos, Span, Standing,
};

use super::asks;
use super::places::number_of;
use super::slim::{Container, OwnerReference, Resources, SlimPod, Texts};

/// Where its cgroups are: of the pod, and of a container by the runtime's ID.
pub(super) trait Places {
    /// The pod's own.
    fn of_pod(&self, uid: PodUid) -> Option<GroupId>;
    /// One of its containers'.
    fn of_container(&self, uid: PodUid, id: &str) -> Option<GroupId>;
}

const MEMORY: &str = "memory";
/// `metav1.ObjectMeta` annotations of the kubelet's (k/k `pkg/kubelet/types/constants.go`, `pod_update.go`).
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// `v1.DefaultTerminationGracePeriodSeconds`.
const GRACE_SECONDS: i64 = 30;

/// Whether its containers have ended for good (`v1.PodSucceeded`, `v1.PodFailed`).
pub(super) fn has_ended(pod: &SlimPod) -> bool {
    matches!(&*pod.status.phase, "Succeeded" | "Failed")
}

/// The kubelet has evicted it, and not refused to let it begin: a refusal by its eviction manager has the same reason
/// (k/k `pkg/kubelet/eviction/helpers.go`, `eviction_manager.go`).
pub(super) fn was_evicted_for_memory(pod: &SlimPod) -> bool {
    pod.status.phase == "Failed"
        && pod.status.reason == "Evicted"
        && pod
            .status
            .message
            .starts_with("The node was low on resource: memory.")
}

/// Whom the cgroups call it: the UID, or of a static pod the hash of its definition.
pub(super) fn uid_of(pod: &SlimPod) -> Option<PodUid> {
    let hash = pod
        .metadata
        .annotations
        .get(CONFIG_HASH)
        .filter(|_| is_static(pod));
    let text = hash.unwrap_or(&pod.metadata.uid);
    number_of(text.as_bytes())
}

/// The engine's view of it. `terminating_since` is when it was first seen to be going. What is wrong with its annotations goes to `wrong`.
pub(super) fn translate(
    pod: &SlimPod,
    places: &impl Places,
    terminating_since: Option<Moment>,
    wrong: &mut Vec<String>,
) -> Option<Pod> {
    let uid = uid_of(pod)?;
    let (meta, spec) = (&pod.metadata, &pod.spec);
    let labels = meta.labels.iter();
    // `metadata.deletionGracePeriodSeconds` shortens it; a negative one is one second (`v1` defaulting, k/k `pkg/kubelet/pod_workers.go`).
    let grace = spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS);
    let grace = u64::try_from(grace).unwrap_or(1);
    Some(Pod {
        uid,
        group: places.of_pod(uid),
        namespace: meta.namespace.as_str().into(),
        name: meta.name.as_str().into(),
        labels: labels
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        qos: match &*pod.status.qos_class {
            "Guaranteed" => Qos::Guaranteed,
            "BestEffort" => Qos::BestEffort,
            _ => Qos::Burstable,
        },
        priority: spec.priority,
        priority_class: spec.priority_class_name.as_str().into(),
        request: request_of(pod),
        owner: owner_of(pod),
        origin: if is_static(pod) {
            Origin::Static
        } else {
            Origin::Api
        },
        grace: Span::secs(grace),
        terminating_since,
        memory_volumes: memory_volumes_of(pod),
        asks: asks::read(&meta.annotations, wrong),
        standing: Standing::default(),
        containers: containers_of(pod, uid, places),
    })
}

fn is_static(pod: &SlimPod) -> bool {
    let annotations = &pod.metadata.annotations;
    let source = annotations.get(CONFIG_SOURCE);
    annotations.contains_key(CONFIG_MIRROR) || source.is_some_and(|source| source != "api")
}

/// Who makes it anew when it is gone (`metav1.GetControllerOf`).
pub(super) fn controller_of(pod: &SlimPod) -> Option<&OwnerReference> {
    let mut owners = pod.metadata.owner_references.iter();
    owners.find(|owner| owner.controller)
}

fn owner_of(pod: &SlimPod) -> Owner {
    match controller_of(pod).map(|owner| &*owner.kind) {
        None => Owner::Nobody,
        Some("DaemonSet") => Owner::DaemonSet,
        Some(_) => Owner::Controller,
    }
}

/// The memory in a list of resources; what is no quantity counts as none, as the API server lets none through.
fn memory(resources: &Texts) -> Option<Nanobytes> {
    Some(Quantity::parse(resources.get(MEMORY)?).ok()?.exact)
}

fn request_of(pod: &SlimPod) -> Bytes {
    let of = |container: &Container| memory(&container.resources.requests).unwrap_or_default();
    let containers: Vec<Nanobytes> = pod.spec.containers.iter().map(of).collect();
    let init: Vec<InitRequest> = pod
        .spec
        .init_containers
        .iter()
        .map(|container| InitRequest {
            request: of(container),
            sidecar: container.restart_policy == "Always",
        })
        .collect();
    let Resources { requests, limits } = &pod.spec.resources;
    let pod_level = match memory(requests) {
        Some(request) => PodLevel::Request(request),
        None if requests.is_empty() && limits.is_empty() => PodLevel::Unset,
        None => PodLevel::WithoutRequest,
    };
    let requests = Requests {
        containers: &containers,
        init: &init,
        overhead: memory(&pod.spec.overhead).unwrap_or_default(),
        pod_level,
    };
    requests.total().round_down()
}

/// One without a size may fill what the pod may have.
fn memory_volumes_of(pod: &SlimPod) -> Bytes {
    let volumes = pod.spec.volumes.iter().map(|volume| &volume.empty_dir);
    volumes
        .filter(|volume| volume.medium == "Memory")
        .map(|volume| {
            let size = volume
                .size_limit
                .as_deref()
                .and_then(|size| Quantity::parse(size).ok());
            size.map_or(u64::MAX, |size| size.exact.round_up().0)
        })
        .fold(Bytes(0), |sum, size| Bytes(sum.0.saturating_add(size)))
}

/// Those that have started and whose cgroup is there, in order of it.
fn containers_of(pod: &SlimPod, uid: PodUid, places: &impl Places) -> Vec<PodContainer> {
    let statuses = pod.status.container_statuses.iter();
    let statuses = statuses.chain(&pod.status.init_container_statuses);
    let mut containers: Vec<PodContainer> = statuses
        .filter_map(|status| {
            let (_, id) = status.container_id.split_once("://")?;
            let group = places.of_container(uid, id)?;
            let all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
            let resources = &all.into_iter().find(|it| it.name == status.name)?.resources;
            let limit = memory(&resources.limits).filter(|limit| *limit > Nanobytes::default());
            Some(PodContainer {
                group,
                request: memory(&resources.requests).unwrap_or_default().round_down(),
                limit: limit.map_or(Limit::Max, |limit| Limit::Bytes(limit.round_down())),
                restarts: u32::try_from(status.restart_count.max(0)).unwrap_or(u32::MAX),
            })
        })
        .collect();
    containers.sort_by_key(|container| container.group);
    containers
}

#[cfg(test)]
mod tests;
