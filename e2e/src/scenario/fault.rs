//! What breaks in the middle: the API server answers no more, or the agent ends, while a pod grows.
use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::cluster::clear;
use crate::course::Course;
use crate::kernel;
use crate::node::Node;
use crate::pod::State;
use crate::wait::{wait_for, wait_within};

use super::eviction::{is_evicted, is_untouched};
use super::guarded::{Guard, growth, guarded, is_over, pod};
use super::refusal::{alone, begin, start};
use super::{PATIENCE, Stage};

/// The API server is stopped, with its connections open, once the agent has seen what is coming: nobody can be evicted by it, and the node is saved
/// by who needs no API: the kubelet's own eviction, or the agent's last resort. When the server answers again, the agent finds it by itself.
pub(super) fn server(stage: &mut Stage<'_>) -> Result<()> {
    let (kubectl, node) = begin(stage)?;
    kubectl.apply(&pod("batch", 10, &growth(4, None)).to_string())?;
    State::wait_for(kubectl, "batch", "Running", |state| state.phase() == "Running")?;
    let mut course = Course::begin("kubelet", node)?;
    let halt = stage.plane.halt_server()?;
    wait_within(PATIENCE, "the kubelet's end of what grows", || {
        course.look(node)?;
        Ok(course.has_recovered())
    })?;
    drop(halt);
    wait_within(PATIENCE, "the API server's word of the end of batch", || {
        Ok(is_over(kubectl, "batch").unwrap_or(false))
    })?;
    is_evicted(kubectl, &State::of(kubectl, "batch")?)?;
    course.of_kubelet(node)?;
    stage.tell(course);
    clear(stage.node, stage.kubectl)?;
    guarded(stage, |stage, guard| {
        foresees(stage, guard)?;
        clear(stage.node, stage.kubectl)?;
        saves(stage, guard)
    })
}

/// What grows slowly is the kubelet's. The agent says what is coming, and that it has lost the server and found it again.
fn foresees(stage: &mut Stage<'_>, guard: Guard<'_>) -> Result<()> {
    let (kubectl, node) = begin(stage)?;
    kubectl.apply(&pod("batch", 10, &growth(4, None)).to_string())?;
    let state = State::wait_for(kubectl, "batch", "Running", |state| state.phase() == "Running")?;
    let uid = state.uid()?.to_owned();
    let mut course = Course::begin("forestall", node)?;
    let said_before = guard.told(&["cluster"])?.len();
    let halt = stage.plane.halt_server()?;
    let raised_before = raised(guard)?;
    wait_for("the agent's word that the API server is away", || {
        let told = guard.told(&["cluster"])?;
        let mut since = told.iter().skip(said_before);
        Ok(since.any(|line| line["level"] == "warn"))
    })?;
    wait_within(PATIENCE, "the end of what grows, without an API server", || {
        course.look(node)?;
        Ok(course.has_recovered())
    })?;
    let raised_meanwhile = raised(guard)?.saturating_sub(raised_before);
    // It is on its way to the kubelet's next look, or to the agent's.
    drop(halt);
    wait_for("the API server", || {
        Ok(kubectl.run(&["get", "--raw", "/readyz"]).is_ok())
    })?;
    wait_within(PATIENCE, "the end of batch", || is_over(kubectl, "batch"))?;
    guard.say()?;
    course.of_agent(&guard.told(&["alarm", "action"])?);
    eprintln!("e2e:   {course}");
    stage.tell(course);
    is_alone(node)?;
    wait_for("the agent's word of the API server", || {
        let told = guard.told(&["cluster"])?;
        let mut since = told.iter().skip(said_before);
        Ok(since.any(|line| line["message"].to_string().contains("pods on this node")))
    })?;
    ensure!(raised_meanwhile > 0, "no alarm while the server stood still");
    let kills = kernel::kills_of(node, &uid)?;
    ensure!(kills.is_empty(), "the kernel had to kill: {kills:?}");
    is_untouched(kubectl, "bystander")
}

/// What grows so fast that it is over between two of the kubelet's looks would be the kernel's: without a server the agent's last resort comes before that. Where a
/// look of the kubelet's falls into those seconds, it was not needed, and is tried again.
fn saves(stage: &mut Stage<'_>, guard: Guard<'_>) -> Result<()> {
    for _ in 0..FAST_TRIES {
        let (kubectl, node) = begin(stage)?;
        let acted_before = guard.told(&["action"])?.len();
        kubectl.apply(&pod("fast", 10, &fast()).to_string())?;
        let state = State::wait_for(kubectl, "fast", "Running", |state| state.phase() == "Running")?;
        let uid = state.uid()?.to_owned();
        let mut course = Course::begin("forestall", node)?;
        let halt = stage.plane.halt_server()?;
        wait_within(PATIENCE, "the end of what grows fast", || {
            course.look(node)?;
            Ok(course.has_recovered())
        })?;
        drop(halt);
        wait_for("the API server", || {
            Ok(kubectl.run(&["get", "--raw", "/readyz"]).is_ok())
        })?;
        wait_within(PATIENCE, "the end of fast", || is_over(kubectl, "fast"))?;
        let actions = guard.told(&["action"])?;
        let kills = actions.iter().skip(acted_before);
        let kills: Vec<&Value> = kills.filter(|line| line["rung"] == "kill").collect();
        for said in kills.iter().filter_map(|line| line["message"].as_str()) {
            eprintln!("e2e:   {said}");
        }
        // One that has to be hurried is told again, under its number.
        let mut ended: Vec<String> = kills.iter().map(|line| line["action"].to_string()).collect();
        ended.dedup();
        course.of_agent(&guard.told(&["alarm", "action"])?);
        eprintln!("e2e:   {course}");
        let kills = kernel::kills_of(node, &uid)?;
        ensure!(kills.is_empty(), "the kernel had to kill: {kills:?}");
        is_untouched(kubectl, "bystander")?;
        is_alone(node)?;
        if !ended.is_empty() {
            ensure!(ended.len() == 1, "more than one was killed: {ended:?}");
            return Ok(());
        }
        clear(node, kubectl)?;
    }
    bail!("the kubelet was there in time {FAST_TRIES} times")
}

const FAST_TRIES: u32 = 4;

/// Waits for the server to stand still, and then takes all that there is within some twenty seconds.
fn fast() -> String {
    format!("sleep 10; {}", growth(40, None))
}

fn raised(guard: Guard<'_>) -> Result<usize> {
    let told = guard.told(&["alarm"])?;
    Ok(told.iter().filter(|line| line["stage"] == "raised").count())
}

fn is_alone(node: &Node) -> Result<()> {
    let agents = node.run("for pod in /proc/[0-9]*; do [ \"$(cat $pod/comm 2>/dev/null)\" = forestall ] && echo ${pod#/proc/}; done")?;
    ensure!(
        agents.lines().count() == 1,
        "the agent is not alone, or gone: {agents}"
    );
    Ok(())
}

/// With SIGKILL, so that it says nothing.
pub(super) fn kill_agent(node: &Node) -> Result<()> {
    node.run(
        "for place in /proc/[0-9]*; do \
         if [ \"$(cat $place/comm 2>/dev/null)\" = forestall ]; then kill -9 ${place#/proc/}; fi; done",
    )
    .map(drop)
}

/// The agent is killed right after it had a pod evicted, which takes its time to end: the one that the kubelet starts in its stead sees a pod
/// that is on its way out, and sends nobody after it. Nothing is left as it was put on for a while.
pub(super) fn agent(stage: &mut Stage<'_>) -> Result<()> {
    let line = format!("trap 'sleep 12; exit 0' TERM; {} & wait", growth(4, None));
    let pods = [pod("batch", 30, &line), pod("spare", 5, &growth(100, Some(100)))];
    alone(stage, "batch", &pods)?;
    guarded(stage, |stage, guard| {
        let (kubectl, node) = begin(stage)?;
        let mut course = start(stage, "forestall", &pods)?;
        wait_within(PATIENCE, "the order to evict", || {
            course.look(node)?;
            Ok(!guard.evictions()?.is_empty())
        })?;
        wait_for("batch, ending", || {
            let path = "-o=jsonpath={.metadata.deletionTimestamp}";
            Ok(!kubectl.run(&["get", "pod", "batch", path])?.is_empty())
        })?;
        kill_agent(node)?;
        wait_within(PATIENCE, "the end of batch, and its memory", || {
            course.look(node)?;
            Ok(is_over(kubectl, "batch")? && course.has_recovered())
        })?;
        wait_within(PATIENCE, "a second agent", || {
            Ok(guard.told(&["ready"])?.len() >= 2)
        })?;
        guard.say()?;
        course.of_agent(&guard.told(&["alarm", "action"])?);
        stage.tell(course);
        let orders = guard.told(&["action"])?;
        ensure!(
            orders.iter().filter(|line| line["rung"] != "reclaim").count() == 1,
            "more than one was to go: {orders:?}"
        );
        let left = node.run(
            "cd /sys/fs/cgroup/kubepods; grep -Lx max $(find . -name memory.high); grep -lx 1 $(find . -name cgroup.freeze)",
        )?;
        ensure!(left.trim().is_empty(), "something was left put on: {left}");
        is_untouched(kubectl, "spare")?;
        is_untouched(kubectl, "bystander")
    })
}
