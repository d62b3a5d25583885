//! Pods that do not go when they are told to: a budget that lets nobody go, and a process that does not hear.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::clear;
use crate::course::Course;
use crate::kernel;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::State;
use crate::wait::wait_within;

use super::eviction::{hold, is_evicted, is_untouched};
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
    let pods = [
        pod("kept", 5, &growth(3, None)),
        pod("spare", 5, &growth(2, None)),
    ];
    // The kubelet's own eviction knows no budget, and the larger one goes.
    let shown = alone(stage, "kept", &pods).and_then(|()| instead(stage, &pods));
    let deleted = stage
        .kubectl
        .run(&["delete", "poddisruptionbudget", "none-may-go"]);
    shown.and(deleted.map(drop))
}

/// The kubelet alone evicts one of these, and that at once.
pub(super) fn alone(stage: &mut Stage<'_>, victim: &str, pods: &[Value]) -> Result<()> {
    let (kubectl, node) = begin(stage)?;
    let mut course = start(stage, "kubelet", pods)?;
    wait_within(PATIENCE, &format!("the kubelet's end of {victim}"), || {
        course.look(node)?;
        is_over(kubectl, victim)
    })?;
    is_evicted(kubectl, &State::of(kubectl, victim)?)?;
    is_untouched(kubectl, "bystander")?;
    course.of_kubelet(node)?;
    stage.tell(course);
    clear(node, kubectl)
}

/// Makes these pods, and begins where all of them run.
pub(super) fn start(stage: &Stage<'_>, who: &'static str, pods: &[Value]) -> Result<Course> {
    for pod in pods {
        stage.kubectl.apply(&pod.to_string())?;
    }
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        State::wait_for(stage.kubectl, name, "Running", |state| state.phase() == "Running")?;
    }
    Course::begin(who, stage.node)
}

fn instead(stage: &mut Stage<'_>, pods: &[Value]) -> Result<()> {
    guarded(stage, |stage, guard| {
        let (kubectl, node) = begin(stage)?;
        let mut course = start(stage, "forestall", pods)?;
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
    })
}

/// One that does not hear SIGTERM is ended by its kubelet when its grace period is over: until then it is on its way out, and nobody else goes for it.
pub(super) fn deaf(stage: &mut Stage<'_>) -> Result<()> {
    // Nobody else is beyond its request.
    let line = format!("trap '' TERM; {}", growth(4, None));
    let pods = [pod("deaf", 10, &line)];
    alone(stage, "deaf", &pods)?;
    guarded(stage, |stage, guard| {
        let (kubectl, node) = begin(stage)?;
        let mut course = start(stage, "forestall", &pods)?;
        let uid = State::of(kubectl, "deaf")?.uid()?.to_owned();
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
        let has_gone = |line: &Value| line["rung"] == "evict" && line["outcome"] == "done";
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
