//! The taint of a Node whose memory runs low, before the real API server and its scheduler.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::pod::State;
use crate::wait::{wait_for, wait_within};

use super::fault::kill_agent;
use super::guarded::{Guard, growth, guarded_by, pod};
use super::refusal::{begin, start};
use super::rights::taint::component;
use super::{PATIENCE, Stage};

const KEY: &str = "forestall.io/memory-runway-low";

/// A pod grows, which may not be evicted: the Node is tainted before any wall is reached, and a pod that comes then finds no place. The agent is killed while it stands, and the
/// next one lifts it once nothing grows any more; the newcomer starts.
pub(super) fn set_and_lifted(stage: &mut Stage<'_>) -> Result<()> {
    // A pod that starts fast on a node this small is an alarm of its own: there is one before the agent looks.
    let (kubectl, _) = begin(stage)?;
    let shown = guarded_by(stage, "enforce", "taint: NoSchedule\n", |stage, guard| {
        component(kubectl, &["apply"])?;
        show(stage, guard)
    });
    let deleted = component(kubectl, &["delete", "--ignore-not-found"]);
    shown.and(deleted)
}

fn show(stage: &mut Stage<'_>, guard: Guard<'_>) -> Result<()> {
    let (kubectl, node) = (stage.kubectl, stage.node);
    let before = taint(kubectl)?;
    ensure!(
        before == Value::Null,
        "the Node is tainted in peace: {before}; {}",
        kubectl.get(&["node", "n1"])?["status"]["conditions"]
    );
    let mut grows = pod("grows", 5, &growth(2, None));
    grows["metadata"]["annotations"] = json!({"forestall.io/evict": "never"});
    let mut course = start(stage, "forestall", std::slice::from_ref(&grows))?;
    let took = wait_within(PATIENCE, "the taint", || {
        course.look(node)?;
        Ok(taint(kubectl)?["effect"] == "NoSchedule")
    })?;
    course.of_agent(&guard.told(&["alarm", "action"])?);
    stage.tell(course);
    eprintln!("e2e:     tainted after {took:.0?}");
    let newcomer = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "newcomer"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": WORK_IMAGE, "imagePullPolicy": "Never", "command": ["/work", "work", "\"pause\""]}],
        },
    });
    kubectl.apply(&newcomer.to_string())?;
    wait_for("the scheduler's word that there is no place", || {
        let state = kubectl.get(&["pod", "newcomer"])?;
        Ok(state["status"]["conditions"].to_string().contains(KEY))
    })?;
    kill_agent(node)?;
    kubectl.run(&["delete", "pod", "grows", "--now"])?;
    let took = wait_within(PATIENCE, "the end of the taint", || {
        Ok(taint(kubectl)? == Value::Null)
    })?;
    eprintln!("e2e:     lifted {took:.0?} after the agent was killed");
    State::wait_for(kubectl, "newcomer", "Running", |state| state.phase() == "Running")?;
    kubectl.run(&["delete", "pod", "newcomer", "--now"]).map(drop)
}

/// Ours of the Node; null where there is none.
fn taint(kubectl: &Kubectl) -> Result<Value> {
    let node = kubectl.get(&["node", "n1"])?;
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    Ok(taints
        .into_iter()
        .find(|taint| taint["key"] == KEY)
        .unwrap_or_default())
}
