//! One token of evictions for the whole cluster, before the real API server: the second pod is let be for want of one.
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::clear;
use crate::kubectl::Kubectl;
use crate::pod::State;
use crate::wait::wait_within;

use super::eviction::{is_evicted, is_untouched};
use super::guarded::{Guard, growth, guarded_by, is_over, pod};
use super::refusal::{alone, begin, start};
use super::{PATIENCE, Stage};

/// Of an hour, which no scenario lasts.
const POLICY: &str = "budget: {evictions: 1, cooldown: 1h}\n";

/// Two pods grow, one after the other. The first is evicted with the only token, which is a Lease in this node's name; the second is the kubelet's, which knows no
/// such budget, and forestall says why it is not its own.
pub(super) fn spent(stage: &mut Stage<'_>) -> Result<()> {
    let pods = ["first", "second"].map(|name| pod(name, 10, &growth(4, None)));
    alone(stage, "first", std::slice::from_ref(&pods[0]))?;
    let kubectl = stage.kubectl;
    let shown = guarded_by(stage, "enforce", POLICY, |stage, guard| {
        component(kubectl, &["apply"])?;
        show(stage, guard, &pods)
    });
    let deleted = component(kubectl, &["delete", "--ignore-not-found"]);
    shown.and(deleted)
}

/// The rights to tokens, by the very files that bring them.
fn component(kubectl: &Kubectl, words: &[&str]) -> Result<()> {
    for file in ["role.yaml", "confine.yaml"] {
        let file = kubectl.profiles().join("components/budget").join(file);
        let file = file.display().to_string();
        kubectl.run(&[words, &["-f", &file]].concat())?;
    }
    Ok(())
}

fn show(stage: &mut Stage<'_>, guard: Guard<'_>, [first, second]: &[Value; 2]) -> Result<()> {
    let (kubectl, node) = begin(stage)?;
    let mut course = start(stage, "forestall", std::slice::from_ref(first))?;
    wait_within(PATIENCE, "the end of first, and its memory", || {
        course.look(node)?;
        Ok(is_over(kubectl, "first")? && course.has_recovered())
    })?;
    course.of_agent(&guard.told(&["alarm", "action"])?);
    stage.tell(course);
    ensure!(
        guard.evicted()? == ["first"],
        "evicted were {:?}",
        guard.evicted()?
    );
    let tokens = tokens(kubectl)?;
    ensure!(
        tokens == [("forestall-evictions-0".to_owned(), "n1".to_owned())],
        "the tokens are {tokens:?}"
    );
    clear(node, kubectl)?;
    begin(stage)?;
    let mut course = start(stage, "forestall, without a token", std::slice::from_ref(second))?;
    wait_within(PATIENCE, "the kubelet's end of second", || {
        course.look(node)?;
        is_over(kubectl, "second")
    })?;
    stage.tell(course);
    is_evicted(kubectl, &State::of(kubectl, "second")?)?;
    let orders = guard.evictions()?;
    ensure!(
        orders.len() == 1,
        "it was tried again without a token: {orders:?}"
    );
    let passed = guard.told(&["passed-over"])?;
    let lacks = |line: &Value| line["pods"].to_string().contains("\"no-token\"");
    ensure!(
        passed.iter().any(lacks),
        "no word of the token that is missing: {passed:?}"
    );
    is_untouched(kubectl, "bystander")
}

/// Their names, and whose they are.
fn tokens(kubectl: &Kubectl) -> Result<Vec<(String, String)>> {
    let leases = kubectl.get(&["leases", "-n", "forestall"])?;
    let leases = leases["items"].as_array().context("a list of Leases")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(leases
        .iter()
        .map(|lease| {
            (
                text(&lease["metadata"]["name"]),
                text(&lease["spec"]["holderIdentity"]),
            )
        })
        .collect())
}
