//! A process of the host leaks: the kubelet ends bystanders for it, and forestall the process.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::cluster::clear;
use crate::course::Course;
use crate::kernel::{self, Kill};
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::State;
use crate::wait::{wait_for, wait_within};

use super::agreed::tells_of_kills;
use super::eviction::{hold, is_evicted, is_untouched};
use super::{PATIENCE, Stage};

const SERVICE: &str = "/sys/fs/cgroup/system.slice/leak.service";

/// First the kubelet alone, then forestall.
pub(super) fn leak(stage: &mut Stage<'_>) -> Result<()> {
    let (kubectl, node) = (stage.kubectl, stage.node);
    bystander(kubectl, node)?;
    stage.tell(alone(kubectl, node)?);
    clear(node, kubectl)?;
    let killed = kernel::kills(node)?.len();
    // Before the agent: a pod that comes with its memory is growth, too, and an alarm for it answers for its wall for a while.
    bystander(kubectl, node)?;
    let agent = Agent::start(node, "enforce")?;
    let course = guarded(kubectl, node, &agent)?;
    stage.tell(course);
    ensure!(kernel::kills(node)?.len() == killed, "the kernel had to kill");
    agent.end()
}

/// A bystander goes for it, which helps nobody: by the kubelet where its count of the node comes down to its threshold in time, and else by the
/// kernel, since that count leaves out what the kernel itself holds. The leak ends when the machine is full.
fn alone(kubectl: &Kubectl, node: &Node) -> Result<Course> {
    let mut course = begin(node, "kubelet")?;
    let before = course.look(node)?;
    let mut state = State::of(kubectl, "bystander")?;
    wait_within(PATIENCE, "the end of bystander", || {
        let now = course.look(node)?;
        ensure!(
            now.kubepods_mib < before.kubepods_mib + 50,
            "pods grew, too: {now}, and before {before}"
        );
        state = State::of(kubectl, "bystander")?;
        Ok(state.phase() == "Failed")
    })?;
    if state.reason() == "Evicted" {
        is_evicted(kubectl, &state)?;
    } else {
        state.ended_by("OOMKilled", 137)?;
        eprintln!("e2e:   the kernel was first");
        let kills = kernel::kills_of(node, state.uid()?)?;
        ensure!(
            kills.iter().any(is_of_the_machine),
            "the kernel tells otherwise: {kills:?}"
        );
    }
    wait_within(PATIENCE, "the kernel's end of the leak", || {
        course.look(node)?;
        let kills = kernel::kills_of(node, "leak.service")?;
        Ok(kills.iter().any(is_of_the_machine) && course.has_recovered())
    })?;
    course.of_kubelet(node)?;
    Ok(course)
}

/// The leak alone ends, by name, and the kubelet answers all the while.
fn guarded(kubectl: &Kubectl, node: &Node, agent: &Agent<'_>) -> Result<Course> {
    let mut course = begin(node, "forestall")?;
    let leak: u64 = leaking(node)?
        .trim()
        .parse()
        .context("the number of the process that leaks")?;
    let mut asked = 0;
    wait_within(PATIENCE, "the end of the leak", || {
        course.look(node)?;
        node.summary(kubectl)?;
        asked += 1;
        Ok(leaking(node)?.trim().is_empty() && course.has_recovered())
    })?;
    eprintln!("e2e:   the kubelet answered {asked} times of {asked}");
    let told = agent.told(&["alarm", "action", "outcome"])?;
    course.of_agent(&told);
    let names = |line: &&Value| line["event"] == "alarm" && line["evidence"]["culprit"]["pid"] == leak;
    let named = told.iter().find(names);
    ensure!(
        named.is_some(),
        "no alarm names process {leak}, which leaks: {told:?}"
    );
    let kills: Vec<&Value> = told
        .iter()
        .filter(|line| line["event"] == "action" && line["rung"] != "reclaim")
        .collect();
    for line in &kills {
        eprintln!("e2e:   {}", line["message"].as_str().unwrap_or_default());
    }
    ensure!(
        kills.len() == 1
            && kills
                .iter()
                .all(|line| line["rung"] == "kill" && line["evidence"]["culprit"]["pid"] == leak),
        "forestall did otherwise: {kills:?}"
    );
    is_untouched(kubectl, "bystander")?;
    tells_of_kills(node, State::of(kubectl, "bystander")?.uid()?, "")?;
    Ok(course)
}

fn bystander(kubectl: &Kubectl, node: &Node) -> Result<()> {
    hold(kubectl, node, "bystander", 80, &json!({}))
}

/// A service that takes more than half of the machine at once and goes on.
fn begin(node: &Node, who: &'static str) -> Result<Course> {
    let course = Course::begin(who, node)?;
    node.run(&format!(
        "mkdir -p {SERVICE}; setsid sh -c 'echo 0 >{SERVICE}/cgroup.procs; exec work work \"$0\"' \
         '{}' >/dev/null 2>&1 </dev/null &",
        json!({"grow": {"rate": 3, "total": null, "start": 600}})
    ))?;
    // The shell becomes the process that leaks.
    wait_for("the leak", || Ok(!leaking(node)?.trim().is_empty()))?;
    Ok(course)
}

/// Who lives in the service.
fn leaking(node: &Node) -> Result<String> {
    node.run(&format!("cat {SERVICE}/cgroup.procs"))
}

fn is_of_the_machine(kill: &Kill) -> bool {
    kill.constraint == "CONSTRAINT_NONE" && kill.limit.is_none()
}
