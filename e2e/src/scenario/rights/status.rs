//! What of its Node's status the agent's account may change: its own two conditions. What must not work is a dry run, which passes the same admission: should it
//! work, the node is still ready for those who come after.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Row, patch};
use crate::caller::{Caller, Request};
use crate::kubectl::Kubectl;
use crate::wait::wait_for;

/// As each policy says it.
const NO_OTHER: &str = "MemoryRunwayLow and KernelOOM, and no other";
const NOTHING_ELSE: &str = "its own conditions alone";
const NO_LABEL: &str = "no label";

/// Waits until the policy is in force, which is a moment after it was made.
pub(super) fn settle(kubectl: &Kubectl, caller: &Caller, whom: Option<&'static str>) -> Result<()> {
    let ready = trial(whom, &ready());
    wait_for("the policy", || Ok(caller.ask(&ready)?.text.contains(NO_OTHER)))?;
    // What the API server finds odd about the expressions of a policy it says there.
    let policies = kubectl.get(&["validatingadmissionpolicies"])?.to_string();
    ensure!(
        !policies.contains("expressionWarnings"),
        "a policy is not understood: {policies}"
    );
    Ok(())
}

/// Of the own node.
pub(super) fn status(whom: Option<&'static str>) -> [Row; 11] {
    let refused = |what: &'static str, change: Value, words: &'static str| {
        let request = trial(whom, &change);
        (what, request, 403, words)
    };
    let status = |field: &str, value: Value| json!({"status": {field: value}});
    let metadata = |field: &str, value: Value| json!({"metadata": {field: value}});
    let address = json!([{"type": "InternalIP", "address": "192.0.2.1"}]);
    let with_ready =
        json!({"status": {"conditions": [of_ours("KernelOOM"), {"type": "Ready", "status": "False"}]}});
    [
        refused("the kubelet's condition", ready(), NO_OTHER),
        refused("the kubelet's condition beside an own one", with_ready, NO_OTHER),
        refused(
            "a condition of nobody's",
            status("conditions", json!([{"type": "Tried", "status": "True"}])),
            NO_OTHER,
        ),
        refused("the node's address", status("addresses", address), NOTHING_ELSE),
        refused(
            "the node's capacity",
            status("capacity", json!({"memory": "1Ti"})),
            NOTHING_ELSE,
        ),
        refused(
            "the node's allocatable memory",
            status("allocatable", json!({"memory": "1Mi"})),
            NOTHING_ELSE,
        ),
        refused(
            "a label by way of the status",
            metadata("labels", json!({"a": "b"})),
            NO_LABEL,
        ),
        refused(
            "an annotation by way of the status",
            metadata("annotations", json!({"a": "b"})),
            NO_LABEL,
        ),
        refused(
            "a finalizer by way of the status",
            metadata("finalizers", json!(["a.example/b"])),
            NO_LABEL,
        ),
        (
            "the condition MemoryRunwayLow",
            condition(whom, "n1"),
            200,
            "MemoryRunwayLow",
        ),
        (
            "the condition KernelOOM",
            change(
                whom,
                "n1",
                "",
                &status("conditions", json!([of_ours("KernelOOM")])),
            ),
            200,
            "KernelOOM",
        ),
    ]
}

/// By the same name it may do what it has to.
pub(super) fn of_kubelet() -> [Row; 3] {
    let address = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}});
    let capacity = json!({"status": {"capacity": {"memory": "1Ti"}}});
    [
        ("its condition (dry run)", trial(None, &ready()), 200, ""),
        ("its address (dry run)", trial(None, &address), 200, "192.0.2.1"),
        ("its capacity (dry run)", trial(None, &capacity), 200, "1Ti"),
    ]
}

/// One of ours on any node.
pub(super) fn condition(whom: Option<&'static str>, node: &str) -> Request {
    let conditions = json!({"status": {"conditions": [of_ours("MemoryRunwayLow")]}});
    change(whom, node, "", &conditions)
}

fn of_ours(kind: &str) -> Value {
    json!({"type": kind, "status": "False", "reason": "Tried", "message": "tried"})
}

fn ready() -> Value {
    json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
}

fn trial(whom: Option<&'static str>, what: &Value) -> Request {
    change(whom, "n1", "?dryRun=All", what)
}

fn change(whom: Option<&'static str>, node: &str, how: &str, what: &Value) -> Request {
    patch(whom, &format!("/api/v1/nodes/{node}/status{how}"), what)
}
