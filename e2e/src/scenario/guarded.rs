//! The agent as it is handed out, acting, and what it tells: what scenarios of graceful action have in common.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::wait::wait_within;

use super::deployed::{follows_its_pods, wait_for_agent};
use super::{PATIENCE, Stage};

/// What the kubelet's threshold leaves, as `e2e/guest/kubelet.yaml` has it.
pub(super) const THRESHOLD_MIB: u64 = 150;

/// An agent that evicts.
#[derive(Clone, Copy)]
pub(super) struct Guard<'a> {
    pub(super) kubectl: &'a Kubectl,
    pub(super) node: &'a Node,
}

/// Has the profile `act` guard the node with evictions, as long as this takes.
pub(super) fn guarded(
    stage: &mut Stage<'_>,
    shows: impl FnOnce(&mut Stage<'_>, Guard<'_>) -> Result<()>,
) -> Result<()> {
    guarded_by(stage, "enforce", "", shows)
}

/// The same in this mode, and with these lines of a policy as well.
pub(super) fn guarded_by(
    stage: &mut Stage<'_>,
    mode: &str,
    more: &str,
    shows: impl FnOnce(&mut Stage<'_>, Guard<'_>) -> Result<()>,
) -> Result<()> {
    let guard = Guard {
        kubectl: stage.kubectl,
        node: stage.node,
    };
    let shown = guard.start(mode, more).and_then(|()| shows(stage, guard));
    if shown.is_err() {
        let log = guard.log().unwrap_or_else(|error| format!("{error:#}"));
        eprintln!("e2e:   the agent's log:\n{log}");
    }
    guard.kubectl.delete_profile("act").and(shown)
}

impl Guard<'_> {
    fn start(&self, mode: &str, more: &str) -> Result<()> {
        let kubectl = self.kubectl;
        self.node.run("rm -rf /var/log/pods/forestall_*")?;
        kubectl.apply_profile("act")?;
        let policy = format!("mode: {mode}\nrungs: {{evict: true}}\nledger: {{tracing: false}}\n{more}");
        let change = json!({"data": {"forestall.yaml": policy}}).to_string();
        kubectl.run(&[
            "patch",
            "configmap",
            "forestall",
            "-n",
            "forestall",
            "-p",
            &change,
        ])?;
        // A change is taken up by a running agent, too, but not before the kubelet has brought it (`deployed`).
        kubectl.run(&["rollout", "restart", "daemonset/forestall", "-n", "forestall"])?;
        let agent = wait_for_agent(kubectl)?;
        follows_its_pods(kubectl, &agent)?;
        wait_within(PATIENCE, "the agent's word of what the kubelet runs with", || {
            Ok(!self.told(&["kubelet"])?.is_empty())
        })?;
        let start = self.told(&["start"])?;
        let told = start.last().map(|line| line["mode"].clone());
        ensure!(told == Some(json!(mode)), "the agent's mode is {told:?}");
        Ok(())
    }

    /// All that its containers have said, where the kubelet keeps it: that is there without the API server, too.
    pub(super) fn log(&self) -> Result<String> {
        self.node.run("cat /var/log/pods/forestall_*/*/*.log")
    }

    /// Every line of it that tells of one of these events, in the order of their times.
    pub(super) fn told(&self, events: &[&str]) -> Result<Vec<Value>> {
        let log = self.log()?;
        let lines = log.lines().filter_map(|line| {
            // The runtime writes time, stream and a letter before what was said (CRI's log format).
            let (_, said) = line.split_once('{')?;
            serde_json::from_str::<Value>(&format!("{{{said}")).ok()
        });
        let mut told: Vec<Value> = lines
            .filter(|line| events.iter().any(|event| line["event"] == **event))
            .collect();
        told.sort_by_key(|line| line["ts"].as_str().unwrap_or_default().to_owned());
        Ok(told)
    }

    /// Its first eviction, once it is ordered.
    pub(super) fn evictions(&self) -> Result<Vec<Value>> {
        let mut told = self.told(&["action"])?;
        told.retain(|line| line["rung"] == "evict");
        Ok(told)
    }

    /// Says the first lines of what it did, and what became of it.
    pub(super) fn say(&self) -> Result<()> {
        for line in self.told(&["action", "outcome"])?.iter().take(8) {
            eprintln!("e2e:   {}", line["message"].as_str().unwrap_or_default());
        }
        Ok(())
    }

    /// The pods, by name, that the Events of its evictions are about.
    pub(super) fn evicted(&self) -> Result<Vec<String>> {
        let events = self
            .kubectl
            .get(&["events", "--field-selector=reason=ForestallEvicted"])?;
        let events = events["items"].as_array().context("a list of events")?;
        let names = events
            .iter()
            .filter(|event| event["involvedObject"]["kind"] == "Pod");
        Ok(names
            .filter_map(|event| event["involvedObject"]["name"].as_str())
            .map(str::to_owned)
            .collect())
    }
}

/// A pod that says of itself that it may be evicted for good, with so many seconds of grace, and does what this line of a shell says.
pub(super) fn pod(name: &str, grace_seconds: u32, line: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": {"forestall.io/evict": "final"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace_seconds,
            "volumes": [{"name": "left", "hostPath": {"path": LEFT}}, {"name": "tmp", "emptyDir": {}}],
            "containers": [{
                "name": "work",
                "image": WORK_IMAGE,
                "imagePullPolicy": "Never",
                "command": ["/bin/busybox", "sh", "-c", line],
                "volumeMounts": [{"name": "left", "mountPath": "/left"}, {"name": "tmp", "mountPath": "/tmp"}],
            }],
        },
    })
}

/// Where pods leave on the node what has to outlive them.
pub(super) const LEFT: &str = "/var/tmp/e2e";

/// A shell's line for work that grows by so many thousandths of the machine a second, to so many of them or without end.
pub(super) fn growth(rate: u32, total: Option<u64>) -> String {
    let work = json!({"grow": {"rate": rate, "total": total, "start": 0}});
    format!("/work work '{work}'")
}

/// True once a pod is gone or over.
pub(super) fn is_over(kubectl: &Kubectl, name: &str) -> Result<bool> {
    let phase = kubectl.run(&[
        "get",
        "pod",
        name,
        "--ignore-not-found",
        "-o=jsonpath={.status.phase}",
    ])?;
    Ok(["", "Failed", "Succeeded"].contains(&&*phase))
}
