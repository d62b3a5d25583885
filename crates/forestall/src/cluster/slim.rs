//! What is read of a pod's object: a twentieth of it. Whatever is missing, null, of another type or longer than Kubernetes lets it be reads as nothing, in a list or a
//! map that element alone, and nothing is fatal but what is no JSON: one strange pod must not cost the list.
//!
//! Whoever may write a pod may make it large, but not this agent: of annotations only those that are read are kept, and [`SlimPod::weight`] says how much
//! that is.
//!
//! Source: `k8s.io/api/core/v1/types.go`, `k8s.io/apimachinery/pkg/apis/meta/v1/types.go`.

use std::collections::BTreeMap;
use std::mem::size_of;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A map of texts, of which null is an empty one.
pub(crate) type Texts = BTreeMap<String, String>;

/// No text of a pod that is read is longer: a name has 253 bytes, a label's with its prefix 317, and of a message its beginning is enough
/// (k8s.io/apimachinery `pkg/util/validation`).
pub(super) const TEXT_BYTES_MAX: usize = 512;

/// The annotations that are read: what is asked of this agent, and what tells a static pod.
const ANNOTATIONS: [&str; 2] = ["forestall.io/", "kubernetes.io/config."];

/// `v1.Pod`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct SlimPod {
    #[serde(deserialize_with = "lenient")]
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "lenient")]
    pub(crate) spec: Spec,
    #[serde(deserialize_with = "lenient")]
    pub(crate) status: Status,
}

/// `metav1.ObjectMeta`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Meta {
    #[serde(deserialize_with = "text")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "text")]
    pub(crate) name: String,
    #[serde(deserialize_with = "text")]
    pub(crate) namespace: String,
    #[serde(deserialize_with = "text")]
    pub(crate) resource_version: String,
    #[serde(deserialize_with = "texts")]
    pub(crate) labels: Texts,
    #[serde(deserialize_with = "annotations")]
    pub(crate) annotations: Texts,
    #[serde(deserialize_with = "each")]
    pub(crate) owner_references: Vec<OwnerReference>,
    /// RFC 3339; it lies ahead of when deletion was asked for by the grace period.
    #[serde(deserialize_with = "short_text")]
    pub(crate) deletion_timestamp: Option<String>,
}

/// `metav1.OwnerReference`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct OwnerReference {
    #[serde(deserialize_with = "text")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "text")]
    pub(crate) name: String,
    #[serde(deserialize_with = "text")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) controller: bool,
}

/// `v1.PodSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    #[serde(deserialize_with = "text")]
    pub(crate) node_name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) priority: i32,
    #[serde(deserialize_with = "text")]
    pub(crate) priority_class_name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) termination_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "each")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "each")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "texts")]
    pub(crate) overhead: Texts,
    #[serde(deserialize_with = "lenient")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "each")]
    pub(crate) volumes: Vec<Volume>,
}

/// `v1.Container`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container {
    #[serde(deserialize_with = "text")]
    pub(crate) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) resources: Resources,
    /// `Always` makes an init container a sidecar.
    #[serde(deserialize_with = "text")]
    pub(crate) restart_policy: String,
}

/// `v1.ResourceRequirements`: quantities as texts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    #[serde(deserialize_with = "texts")]
    pub(crate) requests: Texts,
    #[serde(deserialize_with = "texts")]
    pub(crate) limits: Texts,
}

/// `v1.Volume`, of which only this kind lies in memory.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Volume {
    #[serde(deserialize_with = "lenient")]
    pub(crate) empty_dir: EmptyDir,
}

/// `v1.EmptyDirVolumeSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EmptyDir {
    #[serde(deserialize_with = "text")]
    pub(crate) medium: String,
    #[serde(deserialize_with = "short_text")]
    pub(crate) size_limit: Option<String>,
}

/// `v1.PodStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Status {
    #[serde(deserialize_with = "text")]
    pub(crate) phase: String,
    #[serde(deserialize_with = "text")]
    pub(crate) reason: String,
    #[serde(deserialize_with = "text")]
    pub(crate) message: String,
    #[serde(deserialize_with = "text")]
    pub(crate) qos_class: String,
    #[serde(deserialize_with = "each")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "each")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

/// `v1.ContainerStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    #[serde(deserialize_with = "text")]
    pub(crate) name: String,
    /// `runtime://ID`.
    #[serde(rename = "containerID", deserialize_with = "text")]
    pub(crate) container_id: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) restart_count: i64,
}

/// What is of another type than it should be is nothing, as what is null or missing.
pub(super) fn lenient<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(from)?).unwrap_or_default())
}

/// The same, element by element.
pub(super) fn each<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Value::Array(all) = Value::deserialize(from)? else {
        return Ok(Vec::new());
    };
    Ok(all
        .into_iter()
        .filter_map(|one| serde_json::from_value(one).ok())
        .collect())
}

/// A text, of a long one its beginning.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let mut text: String = lenient(from)?;
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.shrink_to_fit();
    }
    Ok(text)
}

/// A text whose beginning alone would say something else.
fn short_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = lenient(from)?;
    Ok(text.filter(|text| text.len() <= TEXT_BYTES_MAX))
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Texts, D::Error> {
    map(from, |_| true)
}

fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<Texts, D::Error> {
    map(from, |key| {
        ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix))
    })
}

fn map<'de, D: Deserializer<'de>>(from: D, is_read: impl Fn(&str) -> bool) -> Result<Texts, D::Error> {
    let Value::Object(all) = Value::deserialize(from)? else {
        return Ok(Texts::new());
    };
    let texts = all.into_iter().filter_map(|(key, value)| match value {
        Value::String(value) if is_read(&key) => Some((key, value)),
        _ => None,
    });
    Ok(texts.collect())
}

impl SlimPod {
    /// How much memory it takes, near enough.
    pub(super) fn weight(&self) -> usize {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let texts = |texts: &Texts| -> usize {
            texts
                .iter()
                .map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len())
                .sum()
        };
        let resources = |resources: &Resources| texts(&resources.requests) + texts(&resources.limits);
        let containers = spec.containers.iter().chain(&spec.init_containers);
        let statuses = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses);
        size_of::<Self>()
            + metadata.uid.len()
            + metadata.name.len()
            + metadata.namespace.len()
            + status.message.len()
            + texts(&metadata.labels)
            + texts(&metadata.annotations)
            + texts(&spec.overhead)
            + resources(&spec.resources)
            + metadata
                .owner_references
                .iter()
                .map(|it| size_of::<OwnerReference>() + it.kind.len() + it.name.len() + it.uid.len())
                .sum::<usize>()
            + spec.volumes.len() * size_of::<Volume>()
            + containers
                .map(|it| size_of::<Container>() + it.name.len() + resources(&it.resources))
                .sum::<usize>()
            + statuses
                .map(|it| size_of::<ContainerStatus>() + it.name.len() + it.container_id.len())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_null_or_of_another_type_is_nothing_and_the_rest_stands() {
        let text = r#"{
            "kind": "Pod", "apiVersion": "v1", "managedFields": [{}],
            "metadata": {"name": "web", "uid": 7, "labels": null, "annotations": {"forestall.io/evict": "never", "forestall.io/grow": 5}, "ownerReferences": {}},
            "spec": {"priority": "high", "containers": [null, {"name": "c", "resources": {"limits": {"memory": "1Gi", "cpu": 1}}}, 7, {"name": "d"}]},
            "status": null
        }"#;
        let pod: SlimPod = serde_json::from_str(text).expect("an object");
        assert_eq!((&*pod.metadata.name, &*pod.metadata.uid), ("web", ""));
        assert_eq!(pod.metadata.annotations.len(), 1);
        assert_eq!(pod.metadata.annotations["forestall.io/evict"], "never");
        assert_eq!(pod.spec.priority, 0);
        assert_eq!(pod.spec.containers[0].resources.limits["memory"], "1Gi");
        assert_eq!(pod.spec.containers[1].name, "d");
        assert_eq!(pod.status, Status::default());
        assert!(serde_json::from_str::<SlimPod>("{\"metadata\":").is_err());
    }

    #[test]
    fn a_pod_takes_no_more_room_than_a_pod_needs() {
        let large = "x".repeat(1 << 20);
        let pod = |change: &dyn Fn(&mut Value)| {
            let mut pod = serde_json::json!({"metadata": {"uid": "u"}, "spec": {}, "status": {}});
            change(&mut pod);
            serde_json::from_str::<SlimPod>(&pod.to_string()).expect("an object")
        };
        let read = pod(&|pod| {
            pod["metadata"]["annotations"] =
                serde_json::json!({"a.b/c": large, "forestall.io/evict": "never"});
            pod["status"]["message"] = format!("é{large}").into();
        });
        assert_eq!(read.metadata.annotations.len(), 1);
        assert!(read.status.message.len() <= TEXT_BYTES_MAX && read.weight() < 4 << 10);
        // Each element counts, and most of what is in it.
        let empty = pod(&|_| {}).weight();
        assert!(empty < 2 << 10, "{empty}");
        let container =
            serde_json::json!({"name": "c".repeat(50), "resources": {"limits": {"memory": "1Gi"}}});
        for (path, element, least) in [
            ("/metadata/ownerReferences", serde_json::json!({}), 24),
            ("/spec/containers", container.clone(), 50 + 48 + 9),
            ("/spec/initContainers", container, 50 + 48 + 9),
            ("/spec/volumes", serde_json::json!({}), 24),
            (
                "/status/containerStatuses",
                serde_json::json!({"containerID": "i".repeat(80)}),
                80 + 24,
            ),
        ] {
            let read = pod(&|pod| {
                let (folder, name) = path.rsplit_once('/').expect("a path");
                pod.pointer_mut(folder).expect("a folder")[name] = vec![element.clone(); 1_000].into();
            });
            assert!(read.weight() >= 1_000 * least, "{path}: {}", read.weight());
        }
        let labels: serde_json::Map<String, Value> = (0..20_000)
            .map(|nth| (format!("label-{nth}"), "on".into()))
            .collect();
        assert!(pod(&|pod| pod["metadata"]["labels"] = labels.clone().into()).weight() > 1 << 20);
    }
}
