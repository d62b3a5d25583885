//! An Event on the pod that is evicted, with the figures that were the reason: who owns the pod asks Kubernetes why it went, and not the node's log.
//!
//! Source: `k8s.io/api/events/v1` types.

use std::time::SystemTime;

use forestall_decide::Evidence;
use hyper::Method;
use serde_json::json;

use super::error::Trouble;
use super::link::{Ask, Link};
use super::shelf::Named;
use crate::log::because;
use crate::log::time::rfc3339_micros;

/// `k8s.io/kubernetes/pkg/apis/core/validation/events.go`: a note is at most so long.
const NOTE_BYTES_MAX: usize = 1024;

/// Writes it.
pub(super) async fn write(link: &Link, node: &str, pod: &Named, evidence: &Evidence) -> Result<(), Trouble> {
    let body = eviction(node, pod, evidence, SystemTime::now());
    let path = format!(
        "/apis/events.k8s.io/v1/namespaces/{}/events",
        super::follow::encoded(&pod.namespace)
    );
    let ask = Ask {
        method: Method::POST,
        path: &path,
        content: Some(("application/json", body.to_string().into())),
    };
    link.ask(ask).await.map(drop)
}

fn eviction(node: &str, pod: &Named, evidence: &Evidence, at: SystemTime) -> serde_json::Value {
    let mut note = format!(
        "forestall evicts this pod, with its own grace period, before memory runs out on {node}: {}",
        because(evidence, b"")
    );
    note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
    // A name's last part tells events of one pod apart, as client-go makes them.
    let nanos = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "namespace": pod.namespace,
            "name": format!("{}.{nanos:x}", short(&pod.name)),
        },
        "eventTime": rfc3339_micros(at),
        "type": "Warning",
        "reason": "ForestallEvicted",
        "action": "Evict",
        "note": note,
        "reportingController": "forestall.io/agent",
        "reportingInstance": node,
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
    })
}

/// As much of a pod's name as leaves room for the rest of an object's name (253 bytes; names are ASCII).
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
        };
        let evidence = Evidence {
            reading: own_wall(),
            time_to_effect: forestall_decide::Span(0),
            rule: "in-time",
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let event = eviction("n1", &pod, &evidence, at);
        assert_eq!(event["regarding"]["uid"], pod.uid.as_str());
        assert_eq!(event["eventTime"], "2023-11-14T22:13:20.123456Z");
        let note = event["note"].as_str().expect("a note");
        assert!(note.contains("kernel") && note.contains("rule in-time"), "{note}");
        let long = Named {
            name: "n".repeat(253),
            ..pod
        };
        let event = eviction(&"é".repeat(1000), &long, &evidence, at);
        assert!(event["note"].as_str().expect("a note").len() <= NOTE_BYTES_MAX);
        assert!(event["metadata"]["name"].as_str().expect("a name").len() <= 253);
    }
}
