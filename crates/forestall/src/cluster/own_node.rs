//! This node's object in the cluster, as far as it is acted upon: who it is, and what the scheduler goes by.
//!
//! It refuses to be taken for the machine: whether it is this one is for `identity.rs` to find out.
//!
//! Source: `k8s.io/api/core/v1` types (`Node`, `Taint`), k/k `pkg/scheduler/framework/plugins/noderesources/fit.go`, `plugins/tainttoleration`.

use std::collections::BTreeSet;

use forestall_decide::Bytes;
use forestall_decide::kubelet::Quantity;
use serde_json::Value;

use super::error::Trouble;
use super::follow;
use super::link::{Ask, Link};
use super::taint;

/// Taints of states that pass: Kubernetes' own of pressure, of a cordon, of a node that is not ready, and ours.
const PASSING: [&str; 2] = ["node.kubernetes.io/", taint::KEY];

/// No NodeMemory tells of more.
const TAINTS_MAX: usize = 32;

/// A UUID has 36.
const ID_CHARS_MAX: usize = 64;

/// What its kubelet and the control plane have written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnNode {
    /// `None` where the server does not say.
    pub(super) uid: Option<String>,
    /// Of the kernel that its kubelet runs on; empty where that has not said.
    pub(super) boot: String,
    /// What requests may come to.
    pub(super) allocatable: Option<Bytes>,
    pub(super) taints: Taints,
    /// It bears our own, of whatever effect.
    pub(super) is_low: bool,
}

/// What keeps pods away that do not tolerate it, each as `key=value:Effect`; `PreferNoSchedule` keeps nobody away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taints(pub(super) BTreeSet<String>);

impl Taints {
    /// Whether whoever lives beside these may live beside `others` as well, as far as taints go: each of those is one of these, and will stay.
    pub(super) fn admit(&self, others: &Self) -> bool {
        let passes = |taint: &String| PASSING.iter().any(|key| taint.starts_with(key));
        let lasts = |taint: &String| !passes(taint) && self.0.contains(taint);
        others.0.iter().all(lasts)
    }
}

/// Reads it. What is missing, or of another type than it should be, costs nothing else.
pub(super) async fn read(link: &Link, node: &str) -> Result<OwnNode, Trouble> {
    let path = format!("/api/v1/nodes/{}", follow::encoded(node));
    let node: Value = follow::read(&link.ask(Ask::get(&path)).await?)?;
    let text = |path: &str| node.pointer(path).and_then(Value::as_str);
    let cut = |text: &str| text.chars().take(ID_CHARS_MAX).collect::<String>();
    let allocatable = text("/status/allocatable/memory").and_then(|text| Quantity::parse(text).ok());
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    let taints = taints.map_or(&[][..], Vec::as_slice);
    Ok(OwnNode {
        uid: text("/metadata/uid").filter(|uid| !uid.is_empty()).map(cut),
        boot: cut(text("/status/nodeInfo/bootID").unwrap_or_default()),
        allocatable: allocatable.map(|quantity| quantity.exact.round_down()),
        taints: Taints(taints.iter().filter_map(written).take(TAINTS_MAX).collect()),
        is_low: taints.iter().any(|taint| taint["key"] == taint::KEY),
    })
}

fn written(taint: &Value) -> Option<String> {
    let text = |field: &str| taint[field].as_str();
    let (key, effect) = (text("key")?, text("effect")?);
    let counts = !key.is_empty() && matches!(effect, "NoSchedule" | "NoExecute");
    counts.then(|| match text("value").unwrap_or_default() {
        "" => format!("{key}:{effect}"),
        value => format!("{key}={value}:{effect}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{Stage, answer};

    #[tokio::test]
    async fn what_the_scheduler_goes_by_is_read_and_what_is_odd_costs_nothing_else() {
        let body = r#"{"metadata":{"uid":"8d1f"},"spec":{"taints":[
            {"key":"dedicated","value":"batch","effect":"NoSchedule"},
            {"key":"node.kubernetes.io/memory-pressure","effect":"NoSchedule"},
            {"key":"slow","effect":"PreferNoSchedule"}, 7, {"key":7,"effect":"NoExecute"}]},
            "status":{"nodeInfo":{"bootID":"b"},"allocatable":{"memory":"842240Ki","cpu":"2"}}}"#;
        let stage = Stage::set(vec![answer("GET /api/v1/nodes/n1", body)]).await;
        let node = read(&stage.link, "n1").await.expect("a node");
        assert_eq!((node.uid.as_deref(), &*node.boot), (Some("8d1f"), "b"));
        assert_eq!(node.allocatable, Some(Bytes(842_240 << 10)));
        let taints: Vec<&str> = node.taints.0.iter().map(String::as_str).collect();
        assert_eq!(
            taints,
            [
                "dedicated=batch:NoSchedule",
                "node.kubernetes.io/memory-pressure:NoSchedule"
            ]
        );
        let odd = r#"{"spec":{"taints":"all"},"status":{"allocatable":{"memory":"lots"},"nodeInfo":7}}"#;
        let stage = Stage::set(vec![answer("GET /api/v1/nodes/n1", odd)]).await;
        assert_eq!(read(&stage.link, "n1").await, Ok(OwnNode::default()));
    }

    /// Who lives on a node for batch work may live on another one; a node under pressure is no place for those of another one under pressure.
    #[test]
    fn who_tolerates_what_is_here_is_admitted_where_there_is_no_more() {
        let taints = |all: &[&str]| Taints(all.iter().map(|one| (*one).to_owned()).collect());
        let pressed = "node.kubernetes.io/memory-pressure:NoSchedule";
        let batch = "dedicated=batch:NoSchedule";
        let low = "forestall.io/memory-runway-low:NoSchedule";
        let here = taints(&[pressed, low, batch]);
        assert!(!here.admit(&taints(&[low])));
        assert!(here.admit(&taints(&[])) && here.admit(&taints(&[batch])));
        assert!(!here.admit(&taints(&[pressed])) && !here.admit(&taints(&["dedicated=web:NoSchedule"])));
        assert!(!taints(&[]).admit(&taints(&["node-role.kubernetes.io/control-plane:NoSchedule"])));
    }
}
