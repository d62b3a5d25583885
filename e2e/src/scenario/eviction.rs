//! Evictions by the kubelet, for memory that pods hold; and what evictions for other reasons have in common with them.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::kernel;
use crate::kubectl::Kubectl;
use crate::memory::Memory;
use crate::node::Node;
use crate::pod::{Pod, State};
use crate::wait::{wait_for, wait_within};

use super::agreed::{Shown, twice};
use super::{PATIENCE, Stage};

/// What an eviction by the kubelet looks like, and that an agent that only looks on has foretold it.
pub(super) fn slow_twice(stage: &mut Stage<'_>) -> Result<()> {
    let shown = Shown {
        pod: "grower",
        walls: &["kubelet-allocatable"],
        level: "",
        class: "evicted",
        run: slow,
    };
    twice(stage, "shadow", &shown)
}

/// Pods that grow slowly enough for the kubelet's ten seconds: it evicts the one that asked for nothing, for good, and the node is not
/// to be had meanwhile. The kernel has no part in it.
fn slow(kubectl: &Kubectl, node: &Node) -> Result<()> {
    // A node has 1,222 MiB, kubepods 972 of them: thousandths of the node's.
    hold(
        kubectl,
        node,
        "holder",
        570,
        &json!({"requests": {"memory": "720Mi"}}),
    )?;
    let grower = Pod {
        name: "grower",
        work: json!({"grow": {"rate": 4, "total": null, "start": 0}}),
        resources: json!({}),
        restart: "Never",
        heap_kib: None,
    };
    grower.make(kubectl)?;
    let state = wait_for_end(kubectl, "grower", || Ok(()))?;
    is_evicted(kubectl, &state)?;
    let kills = kernel::kills_of(node, state.uid()?)?;
    ensure!(kills.is_empty(), "the kernel had a part in it: {kills:?}");
    is_untouched(kubectl, "holder")?;
    wait_for("the end of the pressure", || {
        Ok(condition_of(kubectl, node, "MemoryPressure")?["status"] == "False")
    })?;
    let later = State::of(kubectl, "grower")?;
    ensure!(
        later.phase() == "Failed" && later.uid()? == state.uid()?,
        "it has come back: {later:?}"
    );
    Ok(())
}

/// Makes a pod that holds so many thousandths of the node's memory, and waits until it does and the kubelet knows: a pod of which it has no
/// figures goes before all others, whatever it asked for (`pkg/kubelet/eviction/helpers.go`, `exceedMemoryRequests`).
pub(super) fn hold(kubectl: &Kubectl, node: &Node, name: &str, share: u64, resources: &Value) -> Result<()> {
    let before = Memory::of(node)?;
    let held_mib = before.total_mib * share / 1000;
    let pod = Pod {
        name,
        work: json!({"hold": {"hold": share}}),
        resources: resources.clone(),
        restart: "Never",
        heap_kib: None,
    };
    pod.make(kubectl)?;
    State::wait_for(kubectl, name, "Running", |state| state.phase() == "Running")?;
    wait_for(&format!("what {name} holds"), || {
        let now = Memory::of(node)?;
        Ok(now.kubepods_mib >= before.kubepods_mib + held_mib)
    })?;
    wait_for(&format!("the kubelet's figures of {name}"), || {
        let summary = node.summary(kubectl)?;
        let pods = summary["pods"].as_array().cloned().unwrap_or_default();
        let own = pods.iter().find(|pod| pod["podRef"]["name"] == *name);
        let held = own.and_then(|pod| pod["memory"]["workingSetBytes"].as_u64());
        Ok(held.is_some_and(|bytes| bytes >> 20 >= held_mib))
    })?;
    Ok(())
}

pub(super) fn wait_for_end(
    kubectl: &Kubectl,
    name: &str,
    mut meanwhile: impl FnMut() -> Result<()>,
) -> Result<State> {
    let mut state = State::of(kubectl, name)?;
    wait_within(PATIENCE, &format!("the end of {name}"), || {
        meanwhile()?;
        state = State::of(kubectl, name)?;
        Ok(state.phase() == "Failed")
    })?;
    Ok(state)
}

/// All that an eviction leaves in the API.
pub(super) fn is_evicted(kubectl: &Kubectl, state: &State) -> Result<()> {
    eprintln!(
        "e2e:   {}: {}; {:?}",
        state.reason(),
        state.message(),
        state.ending()
    );
    ensure!(state.reason() == "Evicted", "not evicted: {state:?}");
    let words = [
        "The node was low on resource: memory.",
        "Threshold quantity: 150Mi, available: ",
    ];
    for word in words {
        ensure!(
            state.message().contains(word),
            "no {word:?} in {:?}",
            state.message()
        );
    }
    let target = state.condition("DisruptionTarget");
    ensure!(
        target == Some("TerminationByKubelet"),
        "DisruptionTarget is {target:?}"
    );
    // A container that does not hear SIGTERM; the one second of grace that an eviction gives ends with SIGKILL.
    let ending = state.ending();
    let code = ending.as_ref().map(|ending| ending.code);
    let is_kill = ending.as_ref().is_some_and(|ending| ending.reason == "OOMKilled");
    ensure!(code == Some(137) && !is_kill, "it ended with {ending:?}");
    wait_for("the events of an eviction", || {
        let reasons = kubectl.run(&["get", "events", "-o=jsonpath={.items[*].reason}"])?;
        let has = |reason: &str| reasons.split(' ').any(|found| found == reason);
        Ok(["Evicted", "Killing", "NodeHasInsufficientMemory"]
            .into_iter()
            .all(has))
    })?;
    Ok(())
}

pub(super) fn is_untouched(kubectl: &Kubectl, name: &str) -> Result<()> {
    let state = State::of(kubectl, name)?;
    let is_so = state.phase() == "Running" && state.restarts() == 0;
    ensure!(is_so, "{name} was touched: {state:?}");
    Ok(())
}

/// What the node says of itself.
fn condition_of(kubectl: &Kubectl, node: &Node, kind: &str) -> Result<Value> {
    let status = kubectl.get(&["node", &node.spec.name()])?;
    let conditions = status["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut found = conditions
        .into_iter()
        .filter(|condition| condition["type"] == *kind);
    Ok(found.next().unwrap_or_default())
}
