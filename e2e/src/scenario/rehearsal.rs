//! The agent as it is handed out, in shadow: it asks the API server for an eviction by dry run, and nothing comes of it. Meanwhile its ConfigMap is spoilt, and it
//! goes on by the one before.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::pod::State;
use crate::wait::wait_within;

use super::deployed::{degraded, wait_for_agent};
use super::eviction::{is_evicted, is_untouched};
use super::guarded::{growth, guarded_by, is_over, pod};
use super::refusal::{begin, start};
use super::{PATIENCE, Stage};

pub(super) fn shadow(stage: &mut Stage<'_>) -> Result<()> {
    guarded_by(stage, "shadow", "", |stage, guard| {
        let (kubectl, node) = begin(stage)?;
        let agent = wait_for_agent(kubectl)?;
        let spoilt = json!({"data": {"forestall.yaml": "mode: [enforce\n"}}).to_string();
        kubectl.run(&[
            "patch",
            "configmap",
            "forestall",
            "-n",
            "forestall",
            "-p",
            &spoilt,
        ])?;
        let batch = [pod("batch", 10, &growth(4, None))];
        let mut course = start(stage, "forestall", &batch)?;
        wait_within(
            PATIENCE,
            "the API server's word that it would evict batch",
            || {
                course.look(node)?;
                let told = guard.told(&["cluster"])?;
                let said = |line: &Value| line["message"].as_str().is_some_and(|said| said.contains(WOULD));
                Ok(told.iter().any(said))
            },
        )?;
        let path = "-o=jsonpath={.metadata.deletionTimestamp}";
        let deleted = kubectl.run(&["get", "pod", "batch", path])?;
        ensure!(deleted.is_empty(), "a dry run deleted it: {deleted}");
        wait_within(PATIENCE, "the agent's word of its spoilt configuration", || {
            course.look(node)?;
            let lines = degraded(node, &agent)?;
            Ok(lines.iter().any(|line| line.contains("configuration")))
        })?;
        wait_within(PATIENCE, "the kubelet's end of batch", || {
            course.look(node)?;
            is_over(kubectl, "batch")
        })?;
        is_evicted(kubectl, &State::of(kubectl, "batch")?)?;
        let told = guard.told(&["cluster"])?;
        let rehearsed = told.iter().filter_map(|line| line["message"].as_str());
        let others: Vec<&str> = rehearsed
            .filter(|said| said.contains("would evict") && !said.contains(WOULD))
            .collect();
        ensure!(others.is_empty(), "others would have gone, too: {others:?}");
        let actions = guard.told(&["action"])?;
        let modes = actions.iter().map(|line| &line["mode"]);
        ensure!(
            !actions.is_empty() && modes.clone().all(|mode| mode == "shadow"),
            "it has acted: {actions:?}"
        );
        ensure!(
            guard.evicted()?.is_empty(),
            "an Event says that it evicted: {:?}",
            guard.evicted()?
        );
        course.of_agent(&guard.told(&["alarm", "action"])?);
        stage.tell(course);
        is_untouched(kubectl, "bystander")
    })
}

/// What the agent says then.
const WOULD: &str = "dry run: the API server would evict default/batch";
