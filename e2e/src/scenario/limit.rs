//! Kills of the kernel at the limits that the kubelet has set: a container's own, and that of all pods.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::kernel::{self, Kill};
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::{Pod, State};
use crate::wait::wait_for;

use super::agreed::{Shown, twice};
use super::{Stage, eviction};

/// Grows at once and as fast as it can, without end.
pub(super) fn growth() -> Value {
    json!({"grow": {"rate": 0, "total": null, "start": 0}})
}

/// What a container's own limit looks like, and that it is nobody else's business.
pub(super) fn container_twice(stage: &mut Stage<'_>) -> Result<()> {
    let shown = Shown {
        pod: "limited",
        walls: &["pod", "container"],
        level: "pod",
        class: "container-limit",
        run: container,
    };
    twice(stage, "enforce", &shown)
}

/// Endless restarts, each after a longer pause. It grows slowly enough to be seen.
fn container(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let name = "limited";
    let pod = Pod {
        name,
        work: json!({"grow": {"rate": 6, "total": null, "start": 0}}),
        resources: json!({"limits": {"memory": "128Mi"}}),
        restart: "Always",
        heap_kib: None,
    };
    pod.make(kubectl)?;
    let state = State::wait_for(kubectl, name, "held back after a restart", |state| {
        state.restarts() >= 1 && state.waits_for() == "CrashLoopBackOff"
    })?;
    state.ended_by("OOMKilled", 137)?;
    let uid = state.uid()?;
    let kills = kernel::kills_of(node, uid)?;
    // The pod's cgroup has the sum of its containers' limits, and is reached first.
    let is_its_own = |kill: &Kill| {
        let limit = kill.limit.as_deref().unwrap_or_default();
        kill.constraint == "CONSTRAINT_MEMCG" && limit.ends_with(&format!("pod{uid}"))
    };
    ensure!(
        kills.len() >= 2 && kills.iter().all(is_its_own),
        "the kernel tells otherwise: {kills:?}"
    );
    Ok(())
}

/// A pod fills what all may have at once: first alone, and then beside forestall, which only looks on, has seen it coming, and says what happened.
pub(super) fn kubepods_twice(stage: &mut Stage<'_>) -> Result<()> {
    let shown = Shown {
        pod: "boundless",
        walls: &["kubepods", "kubelet-allocatable", "kernel", "kubelet-node"],
        level: "kubepods",
        class: "evicted",
        run: kubepods,
    };
    twice(stage, "shadow", &shown)
}

/// The kubelet looks every ten seconds. Whoever fills `kubepods` between two looks is the kernel's, and reads as if it had a limit of its own;
/// whom a look finds near the limit is evicted; and whom it finds there after the kernel has killed it is evicted as well, which is then all that
/// the cluster shows. Which of these it is depends on the moment, and on how busy this machine is.
fn kubepods(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let name = "boundless";
    let pod = Pod {
        name,
        work: json!({"grow": {"rate": 60, "total": null, "start": 0}}),
        resources: json!({}),
        restart: "Never",
        heap_kib: None,
    };
    pod.make(kubectl)?;
    let state = State::wait_for(kubectl, name, "Failed", |state| state.phase() == "Failed")?;
    let kills = kernel::kills_of(node, state.uid()?)?;
    let is_evicted = state.reason() == "Evicted";
    let by = match (kills.is_empty(), is_evicted) {
        (true, _) => "the kubelet",
        (false, true) => "the kernel, and evicted after that",
        (false, false) => "the kernel",
    };
    eprintln!("e2e:   ended by {by}");
    if is_evicted {
        eviction::is_evicted(kubectl, &state)?;
    } else {
        ensure!(
            !kills.is_empty(),
            "neither kernel nor kubelet ended it: {state:?}"
        );
        state.ended_by("OOMKilled", 137)?;
    }
    let is_of_all_pods =
        |kill: &Kill| kill.constraint == "CONSTRAINT_MEMCG" && kill.limit.as_deref() == Some("/kubepods");
    ensure!(
        kills.iter().all(is_of_all_pods),
        "the kernel tells otherwise: {kills:?}"
    );
    Ok(())
}

/// A parent that starts its child again and again, as servers with workers do.
pub(super) fn child(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let name = "parent";
    let pod = Pod {
        name,
        work: json!({"supervised": {"work": growth()}}),
        resources: json!({"limits": {"memory": "64Mi"}}),
        restart: "Always",
        heap_kib: None,
    };
    pod.make(kubectl)?;
    let state = State::wait_for(kubectl, name, "Running", |state| state.phase() == "Running")?;
    let container = state.container_id()?;
    wait_for("a third kill in the container", || {
        Ok(kernel::kills_of(node, container)?.len() >= 3)
    })?;
    let state = State::of(kubectl, name)?;
    ensure!(
        state.phase() == "Running" && state.restarts() == 0 && state.ending().is_none(),
        "Kubernetes shows something: {state:?}"
    );
    ensure!(state.container_id()? == container, "the container is another");
    let events = kubectl.run(&["get", "events", "-A", "-o=jsonpath={.items[*].reason}"])?;
    ensure!(!events.contains("OOM"), "Kubernetes shows something: {events}");
    Ok(())
}

/// A heap that is capped is nobody's business either.
pub(super) fn heap_twice(stage: &mut Stage<'_>) -> Result<()> {
    let shown = Shown {
        pod: "capped",
        walls: &[],
        level: "",
        class: "own-out-of-memory",
        run: heap,
    };
    twice(stage, "enforce", &shown)
}

/// What a Java or .NET program does whose heap is capped: it ends by its own hand, and neither the kernel nor the kubelet has a part in it.
fn heap(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let name = "capped";
    let pod = Pod {
        name,
        work: growth(),
        resources: json!({"limits": {"memory": "256Mi"}}),
        restart: "Always",
        heap_kib: Some(100 << 10),
    };
    pod.make(kubectl)?;
    let state = State::wait_for(kubectl, name, "held back after a restart", |state| {
        state.restarts() >= 1 && state.waits_for() == "CrashLoopBackOff"
    })?;
    // abort(3) as the first process of a container: SIGABRT is not delivered to it, and what comes instead is SIGSEGV, as with .NET.
    state.ended_by("Error", 139)?;
    let kills = kernel::kills_of(node, state.uid()?)?;
    ensure!(kills.is_empty(), "the kernel had a part in it: {kills:?}");
    Ok(())
}
