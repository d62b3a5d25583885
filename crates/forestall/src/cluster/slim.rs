//! What is read of a pod's object: a twentieth of it. Whatever is missing, null or unknown reads as nothing, and nothing is fatal but what is
//! no JSON: one strange pod must not cost the list.
//!
//! Source: `k8s.io/api/core/v1/types.go`, `k8s.io/apimachinery/pkg/apis/meta/v1/types.go`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A map of texts, of which null is an empty one.
pub(crate) type Texts = BTreeMap<String, String>;

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
    #[serde(deserialize_with = "lenient")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) namespace: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) resource_version: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) labels: Texts,
    #[serde(deserialize_with = "lenient")]
    pub(crate) annotations: Texts,
    #[serde(deserialize_with = "lenient")]
    pub(crate) owner_references: Vec<OwnerReference>,
    /// RFC 3339; it lies ahead of when deletion was asked for by the grace period.
    #[serde(deserialize_with = "lenient")]
    pub(crate) deletion_timestamp: Option<String>,
}

/// `metav1.OwnerReference`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct OwnerReference {
    #[serde(deserialize_with = "lenient")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) controller: bool,
}

/// `v1.PodSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    #[serde(deserialize_with = "lenient")]
    pub(crate) node_name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) priority: i32,
    #[serde(deserialize_with = "lenient")]
    pub(crate) priority_class_name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) termination_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) overhead: Texts,
    #[serde(deserialize_with = "lenient")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "lenient")]
    pub(crate) volumes: Vec<Volume>,
}

/// `v1.Container`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container {
    #[serde(deserialize_with = "lenient")]
    pub(crate) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) resources: Resources,
    /// `Always` makes an init container a sidecar.
    #[serde(deserialize_with = "lenient")]
    pub(crate) restart_policy: String,
}

/// `v1.ResourceRequirements`: quantities as texts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    #[serde(deserialize_with = "lenient")]
    pub(crate) requests: Texts,
    #[serde(deserialize_with = "lenient")]
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
    #[serde(deserialize_with = "lenient")]
    pub(crate) medium: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) size_limit: Option<String>,
}

/// `v1.PodStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Status {
    #[serde(deserialize_with = "lenient")]
    pub(crate) phase: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) reason: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) message: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) qos_class: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

/// `v1.ContainerStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    #[serde(deserialize_with = "lenient")]
    pub(crate) name: String,
    /// `runtime://ID`.
    #[serde(rename = "containerID", deserialize_with = "lenient")]
    pub(crate) container_id: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) restart_count: i64,
}

/// What is of another type than it should be is nothing, as what is null or missing.
fn lenient<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_null_or_of_another_type_is_nothing_and_the_rest_stands() {
        let text = r#"{
            "kind": "Pod", "apiVersion": "v1", "managedFields": [{}],
            "metadata": {"name": "web", "uid": 7, "labels": null, "annotations": {"a": "b"}, "ownerReferences": {}},
            "spec": {"priority": "high", "containers": [{"name": "c", "resources": {"limits": {"memory": "1Gi"}}}, {"name": "d"}]},
            "status": null
        }"#;
        let pod: SlimPod = serde_json::from_str(text).expect("an object");
        assert_eq!((&*pod.metadata.name, &*pod.metadata.uid), ("web", ""));
        assert_eq!(pod.metadata.annotations["a"], "b");
        assert_eq!(pod.spec.priority, 0);
        assert_eq!(pod.spec.containers[0].resources.limits["memory"], "1Gi");
        assert_eq!(pod.spec.containers[1].name, "d");
        assert_eq!(pod.status, Status::default());
        assert!(serde_json::from_str::<SlimPod>("{\"metadata\":").is_err());
    }
}
