//! The same once more beside forestall: nothing else happens, it has seen it coming where there was something to see, and what it tells afterwards
//! is what the kernel told.
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::cluster::clear;
use crate::kernel::{self, Kill};
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::State;
use crate::wait::wait_for;

use super::Stage;

/// What is shown twice, and what forestall is to say of it.
pub(super) struct Shown {
    /// The pod that it happens to.
    pub(super) pod: &'static str,
    /// One of the walls that it comes to, as the agent calls them; none where it comes to nobody's.
    pub(super) walls: &'static [&'static str],
    /// How the agent calls the limit that a kill was for.
    pub(super) level: &'static str,
    /// How it calls the end of a pod in which the kernel had no part.
    pub(super) class: &'static str,
    pub(super) run: fn(&Kubectl, &Node) -> Result<()>,
}

/// First alone, then beside an agent in this mode.
pub(super) fn twice(stage: &Stage<'_>, mode: &str, shown: &Shown) -> Result<()> {
    let (kubectl, node) = (stage.kubectl, stage.node);
    (shown.run)(kubectl, node)?;
    eprintln!("e2e:   and beside forestall ({mode})");
    clear(node, kubectl)?;
    let agent = Agent::start(node, mode)?;
    (shown.run)(kubectl, node)?;
    let state = State::of(kubectl, shown.pod)?;
    if kernel::kills_of(node, state.uid()?)?.is_empty() {
        tells_of_the_end(node, &state, shown.class)?;
    } else {
        tells_of_kills(node, state.uid()?, shown.level)?;
    }
    let mut told = agent.told(&["alarm", "action"])?;
    told.retain(|line| line["rung"] != "reclaim");
    let is = |line: &Value, stage: &str| line["event"] == "alarm" && line["stage"] == *stage;
    let acted = told.iter().find(|line| line["event"] == "action");
    ensure!(
        acted.is_none() || mode != "enforce",
        "forestall acted, though it had no business in it: {acted:?}"
    );
    // Both are of the node's clock; the cluster has whole seconds.
    let ended_at = state.ended_at().context("a pod that never ended")?;
    let second = |time: &str| time.get(..19).unwrap_or_default().to_owned();
    let uid = state.uid()?;
    let before: Vec<&Value> = told
        .iter()
        .filter(|line| {
            let wall = line["evidence"]["wall"].as_str().unwrap_or_default();
            let at = line["ts"].as_str().unwrap_or_default();
            (is(line, "raised") || is(line, "named"))
                && shown.walls.contains(&wall)
                && second(at) <= second(ended_at)
        })
        .collect();
    let foretold = before.iter().find(|line| line.to_string().contains(uid));
    match (foretold, shown.walls) {
        (Some(line), _) => eprintln!(
            "e2e:   foretold: {}",
            line["message"].as_str().unwrap_or_default()
        ),
        (None, []) => {}
        (None, walls) => {
            let raised = told.iter().filter(|line| is(line, "raised"));
            let raised: Vec<&Value> = raised.map(|line| &line["message"]).collect();
            anyhow::bail!("no alarm at {walls:?} named it before its end at {ended_at}, but {raised:?}");
        }
    }
    agent.end()
}

/// What the agent makes of an end in which the kernel had no part, from what the cluster says of it and the pod's own log.
fn tells_of_the_end(node: &Node, state: &State, class: &str) -> Result<()> {
    let ending = state.ending().context("a container that never ended")?;
    let pod_reason = match state.reason() {
        "" => String::new(),
        reason => format!("--pod-reason {reason}"),
    };
    let said = node.run(&format!(
        ": | forestall explain --exit-code {1} --reason {2} {pod_reason} --first true --log - \
         --last-words \"$(cat /var/log/pods/*_{0}/*/*.log 2>/dev/null | tail -n 5 | cut -d' ' -f4-)\" -o json",
        state.uid()?,
        ending.code,
        ending.reason
    ))?;
    let said: Value =
        serde_json::from_str(&said).with_context(|| format!("explain printed no JSON: {said:?}"))?;
    let told = &said["ending"];
    ensure!(told["class"] == *class, "explained is {told}, and it was {class}");
    eprintln!(
        "e2e:   explained: {class}: {}",
        told["because"].as_str().unwrap_or_default()
    );
    Ok(())
}

/// As many kills of a pod as the kernel told, and the last one explained by the same limit.
pub(super) fn tells_of_kills(node: &Node, uid: &str, level: &str) -> Result<()> {
    let mut kills: Vec<Kill> = Vec::new();
    // The agent says a kill when its story is whole, which the kernel may still be telling.
    wait_for("the kernel's kills in the ledger", || {
        kills = kernel::kills_of(node, uid)?;
        Ok(victims(&ask(node, "kills")?, uid).len() >= kills.len())
    })?;
    let kept = victims(&ask(node, "kills")?, uid);
    ensure!(
        kept.len() == kills.len() || kept.len() == kernel::kills_of(node, uid)?.len(),
        "the kernel told {} kills, and the ledger has {}",
        kills.len(),
        kept.len()
    );
    let Some(last) = kills.last() else {
        return Ok(());
    };
    let explanation = ask(node, &format!("explain {uid}"))?;
    let report = &explanation["report"];
    ensure!(
        report["level"] == *level && report["constraint"] == *last.constraint,
        "explained is a kill at {} by {}, and the kernel told {last:?}",
        report["level"],
        report["constraint"]
    );
    let path = report["limit"]["path"].as_str();
    ensure!(
        path.map(str::to_owned) == last.limit,
        "explained is the limit of {path:?}, and the kernel told {last:?}"
    );
    eprintln!(
        "e2e:   {} kills, as the kernel told; the last one: {}",
        kept.len(),
        explanation["headline"].as_str().unwrap_or_default()
    );
    Ok(())
}

/// What a command of the agent prints on the node.
pub(super) fn ask(node: &Node, words: &str) -> Result<Value> {
    let said = node.run(&format!("forestall {words} -o json 2>/dev/null"))?;
    serde_json::from_str(&said).with_context(|| format!("`forestall {words}` printed no JSON: {said:?}"))
}

/// The victims of a list of kills whose pod has this UID.
pub(super) fn victims(list: &Value, uid: &str) -> Vec<Value> {
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let reports = all(&list["reports"]).into_iter();
    let victims = reports.flat_map(|report| all(&report["victims"]));
    victims
        .filter(|victim| victim["cgroup"]["pod_uid"] == *uid)
        .collect()
}
