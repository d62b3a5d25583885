//! What the agent tells of kills on a node, beside what the cluster tells: the same ones, of the same pods.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::kernel;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::{Pod, State};
use crate::wait::wait_for;

use super::agreed::{ask, victims};
use super::limit::growth;

/// A pod whose container is killed again and again, and one whose child is, of which the cluster says nothing.
pub(super) fn names(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let pod = |name, work| Pod {
        name,
        work,
        resources: json!({"limits": {"memory": "64Mi"}}),
        restart: "Always",
        heap_kib: None,
    };
    pod("limited", growth()).make(kubectl)?;
    pod("parent", json!({"supervised": {"work": growth()}})).make(kubectl)?;
    let limited = State::wait_for(kubectl, "limited", "held back after a restart", |state| {
        state.restarts() >= 1 && state.waits_for() == "CrashLoopBackOff"
    })?;
    let parent = State::of(kubectl, "parent")?;
    wait_for("kills of a child", || {
        Ok(!kernel::kills_of(node, parent.uid()?)?.is_empty())
    })?;
    for (name, state) in [("limited", &limited), ("parent", &parent)] {
        let uid = state.uid()?;
        // The agent says a kill when its story is whole, which the kernel may still be telling: until then the kernel alone tells of it, who knows no names.
        let told = kernel::kills_of(node, uid)?.len();
        let called = |victim: &Value| ["namespace", "pod", "container"].map(|key| victim[key].clone());
        let own = [json!("default"), json!(name), json!("work")];
        let mut kept = Vec::new();
        wait_for(&format!("{told} kills of {name} by name in the ledger"), || {
            kept = victims(&ask(node, "kills")?, uid);
            Ok(kept.iter().filter(|victim| called(victim) == own).count() >= told)
        })?;
        let is_sound =
            |victim: &Value| [&own, &[Value::Null, Value::Null, Value::Null]].contains(&&called(victim));
        ensure!(
            kept.iter().all(is_sound),
            "the ledger calls {name} otherwise: {kept:?}"
        );
    }
    // The container of the last restart, as the cluster has it. The kernel's log tells the kill, and the ledger the names.
    let container = limited.container_id()?;
    let explanation = ask(node, &format!("explain {container}"))?.to_string();
    for word in ["\"limited\"", container, limited.uid()?] {
        ensure!(explanation.contains(word), "no {word} in {explanation}");
    }
    Ok(())
}
