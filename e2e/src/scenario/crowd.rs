//! What an agent costs on a full node: a hundred pods, and ten thousand changes of them.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::caller::{Caller, Request};
use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::wait::wait_within;

use super::deployed::{Agent, wait_for_agent};
use super::guarded::guarded;
use super::{PATIENCE, Stage};

/// With the cluster's own ones and the agent's there are no more than the 110 that a kubelet takes (`maxPods`).
const PODS: usize = 100;
const CHANGES: usize = 10_000;
/// What an agent may hold, and how much of that the changes may add: what an allocator keeps of them, and no more for more of them.
const RESIDENT_KIB_MAX: u64 = 14 << 10;
const ADDED_KIB_MAX: u64 = 1 << 10;

/// Pods that never begin, since what they are to mount is not there: the kubelet makes their cgroups, and nothing more.
pub(super) fn changes(stage: &mut Stage<'_>) -> Result<()> {
    guarded(stage, |stage, _| {
        let (kubectl, node) = (stage.kubectl, stage.node);
        let agent = wait_for_agent(kubectl)?;
        let alone = known(node, &agent)?;
        let shown = fill(kubectl, node, &agent, alone);
        let cleared = empty(kubectl);
        shown.and(cleared)
    })
}

fn fill(kubectl: &Kubectl, node: &Node, agent: &Agent, alone: u64) -> Result<()> {
    let pods: Vec<Value> = (0..PODS).map(waiting).collect();
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string())?;
    let all = alone + PODS as u64;
    wait_within(PATIENCE, "the agent's count of all pods", || {
        Ok(known(node, agent)? == all)
    })?;
    let before = resident_kib(node)?;
    let caller = Caller::of(kubectl, "crowd")?;
    for number in 0..CHANGES {
        let answer = caller.ask(&Request {
            method: "PATCH",
            path: format!("/api/v1/namespaces/default/pods/{}", name(number % PODS)),
            impersonated: None,
            body: json!({"metadata": {"annotations": {"e2e/change": number.to_string()}}}),
        })?;
        ensure!(
            answer.code == 200,
            "change {number}: {}: {}",
            answer.code,
            answer.text
        );
        if number % 2000 == 1999 {
            eprintln!("e2e:   {} of {CHANGES} changes", number + 1);
        }
    }
    // What a watch tells comes in order: who has seen this one has seen all before it.
    remove(kubectl, &[name(0)])?;
    wait_within(PATIENCE, "the agent's word of the last change", || {
        Ok(known(node, agent)? + 1 == all)
    })?;
    let after = resident_kib(node)?;
    let gap = agent.metric(node, "forestall_tick_gap_seconds_max")?;
    eprintln!(
        "e2e:   {all} pods: {before} KiB resident, {after} after {CHANGES} changes; the longest time between two looks {gap} s"
    );
    ensure!(
        before.max(after) <= RESIDENT_KIB_MAX,
        "it may hold {RESIDENT_KIB_MAX} KiB"
    );
    ensure!(
        after <= before + ADDED_KIB_MAX,
        "changes added more than {ADDED_KIB_MAX} KiB"
    );
    Ok(())
}

fn name(number: usize) -> String {
    format!("waiting-{number}")
}

fn waiting(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name(number), "labels": {"app": "waiting"}},
        "spec": {
            "nodeName": "n1",
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "never", "configMap": {"name": "is-not-there"}}],
            "containers": [{
                "name": "work",
                "image": WORK_IMAGE,
                "imagePullPolicy": "Never",
                "volumeMounts": [{"name": "never", "mountPath": "/never"}],
            }],
        },
    })
}

/// How many pods it knows.
fn known(node: &Node, agent: &Agent) -> Result<u64> {
    let figure = agent.metric(node, "forestall_pods{state=\"known\"}")?;
    figure.parse().with_context(|| format!("{figure:?} pods"))
}

fn resident_kib(node: &Node) -> Result<u64> {
    let said = node.run(
        "for place in /proc/[0-9]*; do [ \"$(cat $place/comm 2>/dev/null)\" = forestall ] && grep VmRSS $place/status; done",
    )?;
    let figures: Vec<u64> = said
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    match *figures {
        [one] => Ok(one),
        _ => anyhow::bail!("one agent was expected: {said:?}"),
    }
}

fn remove(kubectl: &Kubectl, names: &[String]) -> Result<()> {
    let mut words = vec!["delete", "pod", "--force", "--grace-period=0"];
    words.extend(names.iter().map(String::as_str));
    kubectl.run(&words).map(drop)
}

fn empty(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .run(&[
            "delete",
            "pod",
            "-l",
            "app=waiting",
            "--force",
            "--grace-period=0",
        ])
        .map(drop)
}
