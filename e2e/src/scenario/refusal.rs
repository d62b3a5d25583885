//! Pods that do not go when they are told to: a budget that lets nobody go, and a process that does not hear.
use anyhow::{Result, ensure};
use serde_json::json;

use crate::course::Course;
use crate::kernel;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::State;
use crate::wait::wait_within;

use super::eviction::{hold, is_untouched};
use super::guarded::{LEFT, growth, guarded, is_over, pod};
use super::{PATIENCE, Stage};

/// Two pods grow, and the budget of the larger one lets none of it go: the API server says no, the other one goes in its stead, and the first one
/// is not evicted through the API by anybody. The kubelet's own eviction knows no budgets.
pub(super) fn budget(stage: &mut Stage<'_>) -> Result<()> {
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "none-may-go"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}},
    });
    stage.kubectl.apply(&budget.to_string())?;
    let shown = guarded(stage, |stage, guard| {
        let (kubectl, node) = begin(stage)?;
        kubectl.apply(&pod("kept", 5, &growth(3, None)).to_string())?;
        kubectl.apply(&pod("spare", 5, &growth(2, None)).to_string())?;
        for name in ["kept", "spare"] {
            State::wait_for(kubectl, name, "Running", |state| state.phase() == "Running")?;
        }
        let mut course = Course::begin("forestall", node)?;
        wait_within(PATIENCE, "the end of one of two", || {
            course.look(node)?;
            Ok(is_over(kubectl, "spare")? || is_over(kubectl, "kept")?)
        })?;
        guard.say()?;
        course.of_agent(&guard.told(&["alarm", "action"])?);
        stage.tell(course);
        let refused = guard.told(&["cluster"])?.into_iter().filter(|line| {
            let said = line["message"].as_str().unwrap_or_default();
            said.contains("default/kept") && said.contains("429") && said.contains("none-may-go")
        });
        ensure!(refused.count() > 0, "no refusal names the budget");
        let evicted = guard.evicted()?;
        ensure!(evicted == ["spare"], "evicted were {evicted:?}");
        is_untouched(kubectl, "kept")?;
        is_untouched(kubectl, "bystander")
    });
    let deleted = stage
        .kubectl
        .run(&["delete", "poddisruptionbudget", "none-may-go"]);
    shown.and(deleted.map(drop))
}

/// One that does not hear SIGTERM is ended by its kubelet when its grace period is over: until then it is on its way out, and nobody else goes for it.
pub(super) fn deaf(stage: &mut Stage<'_>) -> Result<()> {
    guarded(stage, |stage, guard| {
        let (kubectl, node) = begin(stage)?;
        // Nobody else is beyond its request.
        let line = format!("trap '' TERM; {}", growth(4, None));
        kubectl.apply(&pod("deaf", 10, &line).to_string())?;
        let state = State::wait_for(kubectl, "deaf", "Running", |state| state.phase() == "Running")?;
        let uid = state.uid()?.to_owned();
        let mut course = Course::begin("forestall", node)?;
        wait_within(PATIENCE, "the end of deaf, and its memory", || {
            course.look(node)?;
            Ok(is_over(kubectl, "deaf")? && course.has_recovered())
        })?;
        guard.say()?;
        course.of_agent(&guard.told(&["alarm", "action"])?);
        stage.tell(course);
        let orders = guard.evictions()?;
        ensure!(orders.len() == 1, "it was evicted more than once: {orders:?}");
        let outcomes = guard.told(&["outcome"])?;
        let has_gone = |line: &serde_json::Value| line["rung"] == "evict" && line["outcome"] == "done";
        ensure!(outcomes.iter().any(has_gone), "no outcome says so: {outcomes:?}");
        ensure!(
            guard.evicted()? == ["deaf"],
            "evicted were {:?}",
            guard.evicted()?
        );
        let kills = kernel::kills_of(node, &uid)?;
        ensure!(kills.is_empty(), "the kernel had a part in it: {kills:?}");
        is_untouched(kubectl, "bystander")
    })
}

/// Somebody within its request, who is to be left alone.
pub(super) fn begin<'a>(stage: &Stage<'a>) -> Result<(&'a Kubectl, &'a Node)> {
    let (kubectl, node) = (stage.kubectl, stage.node);
    node.run(&format!("rm -rf {LEFT}; mkdir -p {LEFT}"))?;
    hold(
        kubectl,
        node,
        "bystander",
        80,
        &json!({"requests": {"memory": "300Mi"}}),
    )?;
    Ok((kubectl, node))
}
