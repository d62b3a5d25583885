//! Events with the figures that were the reason of an eviction: who owns the pod asks Kubernetes why it went, and not the node's log.
//!
//! Source: `k8s.io/api/events/v1` types.

use std::time::SystemTime;

use forestall_decide::Evidence;
use hyper::Method;
use serde_json::{Value, json};

use super::error::Trouble;
use super::link::{Ask, Link};
use super::shelf::Named;
use crate::log::time::rfc3339_micros;
use crate::log::{because, escape};

/// `k8s.io/kubernetes/pkg/apis/core/validation/events.go`: a note, and who reports, is at most so long.
const NOTE_BYTES_MAX: usize = 1024;
const INSTANCE_BYTES_MAX: usize = 128;

/// Writes one on the pod that is evicted.
pub(super) async fn write(link: &Link, node: &str, pod: &Named, evidence: &Evidence) -> Result<(), Trouble> {
    post(
        link,
        &pod.namespace,
        &on_pod(node, pod, evidence, SystemTime::now()),
    )
    .await
}

/// Has the server make it.
pub(super) async fn post(link: &Link, namespace: &str, event: &Value) -> Result<(), Trouble> {
    let ask = Ask {
        method: Method::POST,
        path: &path(namespace),
        content: Some(("application/json", event.to_string().into())),
    };
    link.ask(ask).await.map(drop)
}

/// Where a namespace's Events are.
pub(super) fn path(namespace: &str) -> String {
    format!(
        "/apis/events.k8s.io/v1/namespaces/{}/events",
        super::follow::encoded(namespace)
    )
}

fn on_pod(node: &str, pod: &Named, evidence: &Evidence, at: SystemTime) -> Value {
    let note = format!(
        "forestall evicts this pod, with its own grace period, before memory runs out on {node}: {}",
        because(evidence, b"")
    );
    let regarding = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": pod.namespace,
        "name": pod.name,
        "uid": pod.uid,
    });
    event(node, &pod.namespace, &name(&pod.name, at), regarding, note, at)
}

/// With its name. This pod is the first of those that are evicted.
///
/// A Node is in no namespace, and its Events are in `default`. It has its name for a UID, as in most Events about nodes: that needs no look at the Node, and
/// `kubectl describe node` finds it by either (k8s.io/kubectl `pkg/describe/describe.go`, `NodeDescriber`).
pub(super) fn on_node(node: &str, pod: &Named, evidence: &Evidence, at: SystemTime) -> (String, Value) {
    let note = format!(
        "forestall evicts pods, each with its own grace period, before memory runs out on this node; the first is {}/{}: {}",
        escape::bytes(pod.namespace.as_bytes()),
        escape::bytes(pod.name.as_bytes()),
        because(evidence, b"")
    );
    let regarding = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": node });
    let name = name(node, at);
    let event = event(node, "default", &name, regarding, note, at);
    (name, event)
}

fn event(
    node: &str,
    namespace: &str,
    name: &str,
    regarding: Value,
    mut note: String,
    at: SystemTime,
) -> Value {
    note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
    let instance = node.get(..node.floor_char_boundary(INSTANCE_BYTES_MAX));
    let mut event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "namespace": namespace, "name": name },
        "eventTime": rfc3339_micros(at),
        "type": "Warning",
        "reason": "ForestallEvicted",
        "action": "Evict",
        "note": note,
        "reportingController": "forestall.io/agent",
        "reportingInstance": instance.unwrap_or(node),
    });
    if let Some(event) = event.as_object_mut() {
        event.insert("regarding".to_owned(), regarding);
    }
    event
}

/// An Event's name. Its last part tells those of one object apart, as client-go makes them.
fn name(of: &str, at: SystemTime) -> String {
    let nanos = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("{}.{nanos:x}", short(of))
}

/// As much of a name as leaves room for the rest of an object's name (253 bytes; names are ASCII).
fn short(name: &str) -> &str {
    name.get(..name.len().min(200)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::own_wall;

    #[test]
    fn an_event_names_the_pod_and_the_figures_and_fits() {
        let pod = Named {
            namespace: "shop".to_owned(),
            name: "cart-0".to_owned(),
            uid: "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82".to_owned(),
            class: String::new(),
            controller: None,
            request: forestall_decide::Bytes::ZERO,
        };
        let evidence = Evidence {
            reading: own_wall(),
            time_to_effect: forestall_decide::Span(0),
            rule: "in-time",
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let event = on_pod("n1", &pod, &evidence, at);
        assert_eq!(event["regarding"]["uid"], pod.uid.as_str());
        assert_eq!(event["eventTime"], "2023-11-14T22:13:20.123456Z");
        let note = event["note"].as_str().expect("a note");
        assert!(note.contains("kernel") && note.contains("rule in-time"), "{note}");
        let long = Named {
            name: "n".repeat(253),
            ..pod
        };
        let event = on_pod(&"é".repeat(1000), &long, &evidence, at);
        assert!(event["note"].as_str().expect("a note").len() <= NOTE_BYTES_MAX);
        let instance = event["reportingInstance"].as_str().expect("who reports");
        assert!(!instance.is_empty() && instance.len() <= INSTANCE_BYTES_MAX);
        assert!(event["metadata"]["name"].as_str().expect("a name").len() <= 253);
    }
}
