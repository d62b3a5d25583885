//! A machine without a cluster: a container of containerd's alone, and a scope as systemd makes them for people and their programs. Whoever leaks there
//! ends before the kernel has to choose, and nobody beside it.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::kernel;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::wait::{wait_for, wait_within};

use super::{PATIENCE, Stage};

/// The kubelet's service waits as long as this is there (`e2e/guest/kubelet`).
const AWAY: &str = "/run/kubelet-away";
const CGROUPS: &str = "/sys/fs/cgroup";

/// Where a program lives that no kubelet has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Container,
    Scope,
}

/// Each home first with the kernel alone, then with forestall.
pub(super) fn machine(stage: &mut Stage<'_>) -> Result<()> {
    let (kubectl, node) = (stage.kubectl, stage.node);
    send_kubelet_away(node)?;
    let shown = all(node);
    let brought = bring_kubelet_back(kubectl, node);
    shown.and(brought)
}

fn all(node: &Node) -> Result<()> {
    node.run("ctr images import --digests=false /images/work.tar")?;
    Home::Container.start(node, "bystander", &json!({"hold": {"hold": 80}}))?;
    for home in [Home::Container, Home::Scope] {
        alone(node, home)?;
        guarded(node, home)?;
    }
    ensure!(
        !Home::Container.procs(node, "bystander")?.is_empty(),
        "the bystander has ended"
    );
    Home::Container.end(node, "bystander")
}

fn alone(node: &Node, home: Home) -> Result<()> {
    let before = kernel::kills(node)?.len();
    home.start(node, "leak", &leak())?;
    wait_within(PATIENCE, "the kernel's end of the leak", || {
        Ok(kernel::kills(node)?.len() > before)
    })?;
    let kills = kernel::kills(node)?.split_off(before);
    eprintln!("e2e:   {home:?}: the kernel alone: {kills:?}");
    ensure!(
        kills
            .iter()
            .all(|kill| kill.constraint == "CONSTRAINT_NONE" && kill.victim == home.path("leak")),
        "the kernel ended somebody else"
    );
    home.end(node, "leak")
}

fn guarded(node: &Node, home: Home) -> Result<()> {
    let before = kernel::kills(node)?.len();
    let agent = Agent::start(node, "enforce")?;
    home.start(node, "leak", &leak())?;
    let process: u64 = {
        let procs = home.procs(node, "leak")?;
        let first = procs.split_whitespace().next().context("a leak that runs")?;
        first.parse().context("a number of a process")?
    };
    wait_within(PATIENCE, "the end of the leak", || {
        Ok(home.procs(node, "leak")?.is_empty())
    })?;
    ensure!(kernel::kills(node)?.len() == before, "the kernel had to kill");
    let told = agent.told(&["action"])?;
    for line in &told {
        eprintln!(
            "e2e:   {home:?}: {}",
            line["message"].as_str().unwrap_or_default()
        );
    }
    let kills: Vec<&Value> = told.iter().filter(|line| line["rung"] == "kill").collect();
    ensure!(
        told.len() == kills.len()
            && !kills.is_empty()
            && kills
                .iter()
                .all(|line| line["evidence"]["culprit"]["pid"] == process
                    || line["target_name"]
                        .as_str()
                        .is_some_and(|name| name.contains("leak"))),
        "forestall did otherwise: {told:?}"
    );
    agent.end()?;
    home.end(node, "leak")
}

/// More than half of the machine at once, and then on without end, slowly enough to be seen.
fn leak() -> Value {
    json!({"grow": {"rate": 6, "total": null, "start": 500}})
}

impl Home {
    fn path(self, name: &str) -> String {
        match self {
            Self::Container => format!("/default/{name}"),
            Self::Scope => format!("/user.slice/user-1000.slice/{name}.scope"),
        }
    }

    fn start(self, node: &Node, name: &str, work: &Value) -> Result<()> {
        let folder = format!("{CGROUPS}{}", self.path(name));
        let said = node.run(&match self {
            // Whom `ctr` starts inherits from its shim that nobody may kill it (-998), unlike the containers of nerdctl and Docker.
            Self::Container => format!(
                "ctr run -d forestall.test/work:1 {name} /bin/busybox sh -c \
                 'echo 0 >/proc/self/oom_score_adj; exec /work work \"$0\"' '{work}' 2>&1"
            ),
            Self::Scope => format!(
                "mkdir -p {folder}; for above in user.slice user.slice/user-1000.slice; do \
                 echo +memory >{CGROUPS}/$above/cgroup.subtree_control; done; \
                 setsid sh -c 'echo 0 >{folder}/cgroup.procs; exec work work \"$0\"' '{work}' >/dev/null 2>&1 </dev/null &"
            ),
        })?;
        wait_for(&format!("{name} to run: {said}"), || {
            Ok(!self.procs(node, name)?.is_empty())
        })?;
        Ok(())
    }

    /// Who lives there.
    fn procs(self, node: &Node, name: &str) -> Result<String> {
        let said = node.run(&format!(
            "cat {CGROUPS}{}/cgroup.procs 2>/dev/null",
            self.path(name)
        ))?;
        Ok(said.trim().to_owned())
    }

    /// Removes it, whether anybody is left in it or not.
    fn end(self, node: &Node, name: &str) -> Result<()> {
        let folder = format!("{CGROUPS}{}", self.path(name));
        match self {
            Self::Container => node.run(&format!(
                "ctr task kill -s KILL {name} 2>/dev/null; ctr task rm -f {name} 2>/dev/null; ctr container rm {name}"
            ))?,
            Self::Scope => node.run(&format!("echo 1 >{folder}/cgroup.kill"))?,
        };
        wait_for(&format!("{name} to be gone"), || {
            let said = node.run(&format!("rmdir {folder} 2>/dev/null; ls -d {folder} 2>/dev/null"))?;
            Ok(said.is_empty())
        })?;
        Ok(())
    }
}

/// The kubelet ends, and what it has made of cgroups with it.
fn send_kubelet_away(node: &Node) -> Result<()> {
    let service = format!("{CGROUPS}/system.slice/kubelet.service/cgroup.procs");
    node.run(&format!("touch {AWAY}; kill $(cat {service})"))?;
    wait_for("the kubelet's end", || {
        node.run(&format!(
            "find {CGROUPS}/kubepods -depth -type d -exec rmdir {{}} \\; 2>/dev/null"
        ))?;
        Ok(node
            .run(&format!("cat {service}; ls -d {CGROUPS}/kubepods 2>/dev/null"))?
            .is_empty())
    })?;
    Ok(())
}

fn bring_kubelet_back(kubectl: &Kubectl, node: &Node) -> Result<()> {
    node.run(&format!("rm {AWAY}"))?;
    wait_for("the kubelet again", || {
        let said = node.summary(kubectl);
        Ok(said.is_ok_and(|summary| summary["node"]["nodeName"].is_string()))
    })?;
    Ok(())
}
