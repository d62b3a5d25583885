//! Pods as scenarios want them, and what became of them.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::wait::wait_for;

/// A pod of one container, whose folder `/data` is on the node's disk.
#[derive(Clone, Debug)]
pub(crate) struct Pod<'a> {
    pub(crate) name: &'a str,
    /// What it does: the lab's words for work (`lab/init/src/plan.rs`), as JSON.
    pub(crate) work: Value,
    /// `requests` and `limits`.
    pub(crate) resources: Value,
    pub(crate) restart: &'a str,
    /// The address space that it may have, which it ends at by itself; else as much as it can get.
    pub(crate) heap_kib: Option<u32>,
}

impl Pod<'_> {
    /// Has the cluster make it.
    pub(crate) fn make(&self, kubectl: &Kubectl) -> Result<()> {
        let work = self.work.to_string();
        let words = match self.heap_kib {
            None => json!({"args": [work]}),
            Some(kib) => {
                let line = format!("ulimit -v {kib}; exec /work work \"$0\"");
                json!({"command": ["/bin/busybox", "sh", "-c", line, work]})
            }
        };
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name},
            "spec": {
                "restartPolicy": self.restart,
                "terminationGracePeriodSeconds": 2,
                "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{
                    "name": "work",
                    "image": WORK_IMAGE,
                    "imagePullPolicy": "Never",
                    "resources": self.resources,
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
            },
        });
        for (key, value) in words.as_object().into_iter().flatten() {
            pod["spec"]["containers"][0][key] = value.clone();
        }
        kubectl.apply(&pod.to_string())
    }
}

/// What the cluster says of a pod.
#[derive(Clone, Debug)]
pub(crate) struct State(Value);

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) reason: String,
    pub(crate) code: i64,
}

impl State {
    /// As it is now.
    pub(crate) fn of(kubectl: &Kubectl, name: &str) -> Result<Self> {
        kubectl.get(&["pod", name]).map(Self)
    }

    /// Waits until it is so.
    pub(crate) fn wait_for(
        kubectl: &Kubectl,
        name: &str,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<Self> {
        let mut state = Self(Value::Null);
        wait_for(&format!("{name}, {what}"), || {
            state = Self::of(kubectl, name)?;
            Ok(is_so(&state))
        })?;
        Ok(state)
    }

    pub(crate) fn phase(&self) -> &str {
        self.0["status"]["phase"].as_str().unwrap_or_default()
    }

    /// Why the pod as a whole is as it is: `Evicted`.
    pub(crate) fn reason(&self) -> &str {
        self.0["status"]["reason"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.0["status"]["message"].as_str().unwrap_or_default()
    }

    /// The reason of a condition that holds.
    pub(crate) fn condition(&self, kind: &str) -> Option<&str> {
        let mut conditions = self.0["status"]["conditions"].as_array()?.iter();
        let found =
            conditions.find(|condition| condition["type"] == *kind && condition["status"] == "True")?;
        found["reason"].as_str()
    }

    pub(crate) fn uid(&self) -> Result<&str> {
        self.0["metadata"]["uid"].as_str().context("a pod without a UID")
    }

    fn container(&self) -> &Value {
        &self.0["status"]["containerStatuses"][0]
    }

    /// The container's ID without the name of its runtime.
    pub(crate) fn container_id(&self) -> Result<&str> {
        let id = self.container()["containerID"].as_str().unwrap_or_default();
        id.strip_prefix("containerd://")
            .with_context(|| format!("{id:?} is no container of containerd"))
    }

    pub(crate) fn restarts(&self) -> i64 {
        self.container()["restartCount"].as_i64().unwrap_or(0)
    }

    /// Why its container waits.
    pub(crate) fn waits_for(&self) -> &str {
        self.container()["state"]["waiting"]["reason"]
            .as_str()
            .unwrap_or_default()
    }

    /// How its container ended, now or the last time.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let container = self.container();
        let ends = [
            &container["state"]["terminated"],
            &container["lastState"]["terminated"],
        ];
        let end = ends.into_iter().find(|end| end.is_object())?;
        Some(Ending {
            reason: end["reason"].as_str().unwrap_or_default().to_owned(),
            code: end["exitCode"].as_i64()?,
        })
    }

    /// When it ended, as the cluster has it: to the second, in RFC 3339. Of an eviction that is when the kubelet wrote it down.
    pub(crate) fn ended_at(&self) -> Option<&str> {
        let container = self.container();
        let ends = ["state", "lastState"].map(|state| container[state]["terminated"]["finishedAt"].as_str());
        let conditions = self.0["status"]["conditions"].as_array();
        let evicted = conditions
            .into_iter()
            .flatten()
            .filter(|condition| condition["type"] == "DisruptionTarget");
        let evicted = evicted.filter_map(|condition| condition["lastTransitionTime"].as_str());
        ends.into_iter().flatten().chain(evicted).min()
    }

    /// An error unless its container ended like this.
    pub(crate) fn ended_by(&self, reason: &str, code: i64) -> Result<()> {
        let ending = self.ending();
        let is_so = ending
            .as_ref()
            .is_some_and(|ending| ending.reason == reason && ending.code == code);
        ensure!(
            is_so,
            "it should have ended with {reason}, {code}, and did with {ending:?}"
        );
        Ok(())
    }
}
