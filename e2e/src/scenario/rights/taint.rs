//! What of a Node the account may change with the component `taint`: its own taint, on the node that its token is bound to.
use anyhow::Result;
use serde_json::{Value, json};

use super::{NOBODY, Row, patch};
use crate::caller::{Caller, Request};
use crate::kubectl::Kubectl;
use crate::wait::wait_for;

/// As the policy says it.
const ANOTHER: &str = "bound to another node, or to none";
const ONE: &str = "and no other, and none that ends pods";

/// Adds the component, and takes it away again.
pub(in crate::scenario) fn component(kubectl: &Kubectl, words: &[&str]) -> Result<()> {
    for file in ["role.yaml", "confine.yaml"] {
        let file = kubectl.profiles().join("components/taint").join(file);
        let file = file.display().to_string();
        kubectl.run(&[words, &["-f", &file]].concat())?;
    }
    Ok(())
}

/// Waits until right and policy are in force.
pub(super) fn settle(caller: &Caller) -> Result<()> {
    let (own, far) = (taint("n1", "NoSchedule"), taint("n9", "NoSchedule"));
    wait_for("the policy of taints", || {
        Ok(caller.ask(&far)?.text.contains(ANOTHER) && caller.ask(&own)?.code == 200)
    })
    .map(drop)
}

/// Without the component.
pub(super) fn without() -> Row {
    (
        "the own taint without the component",
        taint("n1", "NoSchedule"),
        403,
        "cannot patch",
    )
}

/// With it, by the account itself.
pub(super) fn with() -> [Row; 7] {
    let other = json!([{"key": "a.example/b", "effect": "NoSchedule"}]);
    [
        (
            "the own taint of the own node",
            taint("n1", "PreferNoSchedule"),
            200,
            "",
        ),
        (
            "the own taint of another node",
            taint("n9", "NoSchedule"),
            403,
            ANOTHER,
        ),
        (
            "the own taint, which ends pods",
            taint("n1", "NoExecute"),
            403,
            ONE,
        ),
        (
            "another taint",
            change("n1", &json!({"spec": {"taints": other}})),
            403,
            ONE,
        ),
        (
            "a cordon",
            change("n1", &json!({"spec": {"unschedulable": true}})),
            403,
            "its own taint alone",
        ),
        (
            "a label of the own node",
            change("n1", &json!({"metadata": {"labels": {"a.example/b": "c"}}})),
            403,
            "no label",
        ),
        (
            "lifting it",
            change("n1", &json!({"spec": {"taints": []}})),
            200,
            "",
        ),
    ]
}

fn taint(node: &str, effect: &str) -> Request {
    let taints = json!([{"key": "forestall.io/memory-runway-low", "effect": effect}]);
    change(node, &json!({"spec": {"taints": taints}}))
}

fn change(node: &str, change: &Value) -> Request {
    patch(NOBODY, &format!("/api/v1/nodes/{node}"), change)
}
