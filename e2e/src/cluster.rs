//! A cluster: a control plane and, once asked for, a node.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::disk;
use crate::kubectl::Kubectl;
use crate::node::{Node, NodeSpec};
use crate::parts::Parts;
use crate::pki::Pki;
use crate::plane::Plane;
use crate::scenario::Stage;
use crate::wait::wait_for;

/// The image of everybody who works in pods, and of the process that holds a pod's sandbox.
pub(crate) const WORK_IMAGE: &str = "forestall.test/work:1";

/// What `kubepods` may hold when no pod is left.
const EMPTY_BYTES_MAX: u64 = 64 << 20;

/// A running cluster. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Cluster {
    // A node ends before who answers it.
    node: Option<Node>,
    plane: Plane,
    pki: Pki,
    pub(crate) kubectl: Kubectl,
    parts: Parts,
    /// The run's.
    folder: PathBuf,
    disk: PathBuf,
}

impl Cluster {
    /// Starts a control plane, and makes what nodes start from; all that it writes is in `folder`, and its logs where they are left.
    pub(crate) fn start(parts: &Parts, folder: &Path) -> Result<Self> {
        let pki = Pki::make(&folder.join("pki"))?;
        let kubectl = Kubectl::new(
            &parts.program("kubectl")?,
            &pki.path("admin.kubeconfig"),
            &parts.deploy,
        );
        let plane = Plane::start(parts, &pki, folder, &kubectl)?;
        let disk = disk::make(parts, &pki, folder)?;
        Ok(Self {
            node: None,
            plane,
            pki,
            kubectl,
            parts: parts.clone(),
            folder: folder.to_owned(),
            disk,
        })
    }

    /// Has the API server know constrained impersonation, as from Kubernetes 1.36 on, or not, as before.
    pub(crate) fn serve(&mut self, impersonation: bool) -> Result<()> {
        self.plane
            .serve(impersonation, &self.parts, &self.pki, &self.kubectl)
    }

    /// A node like this with nothing left on it: the one there is, or else a new one in its stead.
    pub(crate) fn stage(&mut self, spec: NodeSpec) -> Result<Stage<'_>> {
        self.plane.check()?;
        let fits = self.node.as_ref().is_some_and(|node| node.spec == spec);
        if !fits {
            self.node = None;
            let node = Node::start(spec, &self.parts, &self.disk, &self.folder, &self.kubectl)?;
            eprintln!(
                "e2e: {} is ready after {:.1} s",
                spec.name(),
                node.ready_after.as_secs_f64()
            );
            self.node = Some(node);
        }
        let node = self.node.as_ref().context("the node that was just started")?;
        clear(node, &self.kubectl)?;
        Ok(Stage::new(&self.kubectl, node, &self.plane, &self.parts.agent))
    }

    /// Ends the node: who comes next gets a new one.
    pub(crate) fn end_node(&mut self) {
        self.node = None;
    }

    /// Keeps what tells of a scenario: the node's logs, and what the cluster says of its pods. Whatever cannot be had is left out.
    pub(crate) fn gather(&self, scenario: &str) -> Result<PathBuf> {
        let folder = self.parts.logs.join(scenario);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let keep = |name: &str, text: Result<String>| {
            let text = text.unwrap_or_else(|error| format!("not to be had: {error:#}\n"));
            fs::write(folder.join(name), text).with_context(|| format!("keeping {name}"))
        };
        for (name, what) in [
            ("pods.yaml", "pods"),
            ("nodes.yaml", "nodes"),
            ("events.yaml", "events"),
        ] {
            keep(name, self.kubectl.run(&["get", what, "-o", "yaml"]))?;
        }
        if let Some(node) = &self.node {
            for name in ["kubelet", "containerd", "import", "forestall"] {
                let file = format!("{name}.log");
                keep(&file, node.run(&format!("cat /var/log/{file}")))?;
            }
            keep("kernel.log", node.run("dmesg"))?;
        }
        Ok(folder)
    }

    /// The line by which a person reaches it from another terminal.
    pub(crate) fn line_for_a_person(&self) -> String {
        format!(
            "nsenter -t {} -n {} --kubeconfig {}",
            std::process::id(),
            self.kubectl.program().display(),
            self.kubectl.config().display()
        )
    }
}

/// Waits until nothing is left of what was on a node: no pod, no condition that keeps pods away, and no memory of it in the kubelet, which
/// would evict the next pod, a second old, for what the last one held when the kernel ended it.
pub(crate) fn clear(node: &Node, kubectl: &Kubectl) -> Result<()> {
    let name = node.spec.name();
    kubectl.run(&["delete", "pod", "--all", "--now", "--wait=true", "--timeout=60s"])?;
    wait_for(&format!("figures of {name} without pods"), || {
        let summary = node.summary(kubectl)?;
        let containers = summary["node"]["systemContainers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let pods = containers.iter().find(|container| container["name"] == "pods");
        let held = pods.and_then(|pods| pods["memory"]["workingSetBytes"].as_u64());
        Ok(held.is_some_and(|bytes| bytes < EMPTY_BYTES_MAX))
    })?;
    wait_for(&format!("{name}, without pressure"), || {
        let node = kubectl.get(&["node", &name])?;
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_short =
            |condition: &Value| condition["type"] == "MemoryPressure" && condition["status"] == "True";
        Ok(node["spec"]["taints"].is_null() && !conditions.iter().any(is_short))
    })?;
    kubectl.run(&["delete", "events", "--all"])?;
    Ok(())
}
