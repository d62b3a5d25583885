//! Which NodeMemory the agent's account may write: that of the node its token is bound to, as itself, and figures alone.
use anyhow::Result;
use serde_json::{Value, json};

use super::{NOBODY, OWN, Row, patch, request};
use crate::caller::{Caller, Request};
use crate::wait::wait_for;

/// As the policy and the schema say it.
const ANOTHER: &str = "bound to another node, or to none";
const FIGURES: &str = "no label, annotation or finalizer";
const OWNER: &str = "belongs to its own Node";
const PART: &str = "a part is more than the whole";

/// Waits until kind and policy are in force; the own node has figures then.
pub(super) fn settle(caller: &Caller) -> Result<()> {
    let (own, far) = (write("n1", &json!({})), write("n9", &json!({})));
    wait_for("the policy of NodeMemories", || {
        Ok(caller.ask(&own)?.code == 200 && caller.ask(&far)?.text.contains(ANOTHER))
    })
    .map(drop)
}

/// By the account itself, whoever it is for all else.
pub(super) fn figures() -> [Row; 10] {
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n9", "uid": "1"}]);
    let as_node = Request {
        impersonated: OWN,
        ..write("n1", &json!({}))
    };
    [
        (
            "the own node's figures",
            write("n1", &json!({})),
            200,
            "NodeMemory",
        ),
        ("another node's figures", write("n9", &json!({})), 403, ANOTHER),
        ("the own node's figures as the node", as_node, 403, ""),
        (
            "a finalizer in them",
            write(
                "n1",
                &json!({"metadata": {"name": "n1", "finalizers": ["a.example/b"]}}),
            ),
            403,
            FIGURES,
        ),
        (
            "figures that are another node's",
            write(
                "n1",
                &json!({"metadata": {"name": "n1", "ownerReferences": owner}}),
            ),
            403,
            OWNER,
        ),
        (
            "figures that cannot be",
            write("n1", &json!({"memory": memory("1001Mi")})),
            422,
            PART,
        ),
        (
            "more for pods than there is",
            write("n1", &json!({"scheduling": scheduling("1001Mi")})),
            422,
            "more is allocatable than the machine has",
        ),
        (
            "read figures",
            request("GET", path("n1"), NOBODY),
            403,
            "cannot get",
        ),
        (
            "read all figures without the budget",
            request(
                "GET",
                "/apis/forestall.io/v1alpha1/nodememories".to_owned(),
                NOBODY,
            ),
            403,
            "cannot list",
        ),
        (
            "delete figures",
            request("DELETE", path("n1"), NOBODY),
            403,
            "cannot delete",
        ),
    ]
}

/// By a token that belongs to no pod.
pub(super) fn unbound() -> Row {
    ("figures of a node", write("n1", &json!({})), 403, ANOTHER)
}

fn path(node: &str) -> String {
    format!("/apis/forestall.io/v1alpha1/nodememories/{node}")
}

/// Of a node of 1,000 MiB, with something else in it.
fn write(node: &str, change: &Value) -> Request {
    let mut object = json!({
        "apiVersion": "forestall.io/v1alpha1",
        "kind": "NodeMemory",
        "metadata": {"name": node},
        "seenAt": "2026-01-01T00:00:00Z",
        "memory": memory("75Mi"),
        "walls": [{"name": "kernel", "left": "450Mi", "alarm": false}],
        "scheduling": scheduling("900Mi"),
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    let path = format!("{}?fieldManager=forestall&force=true", path(node));
    patch(NOBODY, &path, &object)
}

fn memory(blind: &str) -> Value {
    json!({"total": "1000Mi", "available": "450Mi", "actual": "500Mi", "kubelet": "450Mi", "blind": blind})
}

/// More may be requested than there is for pods, as where the kubelet's own share has grown.
fn scheduling(allocatable: &str) -> Value {
    json!({"allocatable": allocatable, "requested": "2048Mi", "taints": ["dedicated=batch:NoSchedule"]})
}
