//! A node: an emulated machine with a kubelet, which joins the cluster by itself.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::child::{self, Running};
use crate::kubectl::Kubectl;
use crate::parts::Parts;
use crate::wait::wait_for;

/// How a node is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeSpec {
    /// One of [`crate::pki::NODES`]: its name is `n1`, its address 10.0.11.15.
    pub(crate) number: u8,
    pub(crate) memory_mib: u32,
    /// The multi-gen LRU on or off; `None` leaves what the kernel has.
    pub(crate) multi_gen: Option<bool>,
    /// Whether the kernel may kill one process of a container, as the kubelet's `singleProcessOOMKill` has it; else all go at once.
    pub(crate) kills_single: bool,
    /// The mode of an agent that is a service of the host, if there is one.
    pub(crate) agent: Option<&'static str>,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: NodeSpec,
    _machine: Running,
    /// From its start to its being ready.
    pub(crate) ready_after: Duration,
}

impl Node {
    /// Starts it, and waits until pods can run there.
    pub(crate) fn start(
        spec: NodeSpec,
        parts: &Parts,
        disk: &Path,
        folder: &Path,
        kubectl: &Kubectl,
    ) -> Result<Self> {
        let name = spec.name();
        // What an earlier one of its name said of itself is not its own.
        kubectl.run(&["delete", "node", &name, "--ignore-not-found"])?;
        let mut machine = Running::start(&name, &mut spec.command(parts, disk, folder), &parts.logs)?;
        let ready_after = wait_for(&format!("{name}, ready"), || {
            machine.check()?;
            let path = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            let status = kubectl.run(&["get", "node", &name, "--ignore-not-found", path])?;
            Ok(status == "True")
        })?;
        Ok(Self {
            spec,
            _machine: machine,
            ready_after,
        })
    }

    /// What its kubelet makes known of its figures; they are some ten seconds old.
    pub(crate) fn summary(&self, kubectl: &Kubectl) -> Result<Value> {
        let path = format!("/api/v1/nodes/{}/proxy/stats/summary", self.spec.name());
        let said = kubectl.run(&["get", "--raw", &path])?;
        serde_json::from_str(&said).context("the kubelet's summary is no JSON")
    }

    /// What a shell there prints.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        let address = format!("{}:2222", self.spec.address());
        let mut shell =
            TcpStream::connect(&address).with_context(|| format!("a shell of {}", self.spec.name()))?;
        shell.set_read_timeout(Some(Duration::from_mins(1)))?;
        shell.write_all(format!("{line}\nexit\n").as_bytes())?;
        let mut said = Vec::new();
        shell
            .read_to_end(&mut said)
            .with_context(|| format!("`{line}` on {}", self.spec.name()))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

impl NodeSpec {
    pub(crate) fn name(self) -> String {
        format!("n{}", self.number)
    }

    pub(crate) fn address(self) -> String {
        format!("10.0.1{}.15", self.number)
    }

    fn command(self, parts: &Parts, disk: &Path, folder: &Path) -> Command {
        let (number, address) = (self.number, self.address());
        let agent = self
            .agent
            .map_or(String::new(), |mode| format!(" forestall={mode}"));
        let single = if self.kills_single { " kills_single" } else { "" };
        let lru = self
            .multi_gen
            .map_or(String::new(), |on| format!(" lru_gen={}", u8::from(on)));
        let forward = |port: u16| format!("hostfwd=tcp:{address}:{port}-:{port}");
        let mut command = child::command(&parts.qemu);
        command
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-monitor", "none", "-m", &self.memory_mib.to_string()])
            .arg("-kernel")
            .arg(parts.machine.join("vmlinuz"))
            .arg("-initrd")
            .arg(parts.machine.join("initrd"))
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet panic=-1 psi=1 mitigations=off cgroup_no_v1=all node={number}{lru}{single}{agent}"
            ))
            .arg("-serial")
            .arg(format!("file:{}", parts.logs.join(format!("n{number}.console")).display()))
            .arg("-drive")
            .arg(format!("file={},if=virtio,format=raw,snapshot=on,cache=unsafe", disk.display()))
            .arg("-netdev")
            .arg(format!("user,id=net,net=10.0.1{number}.0/24,{},{}", forward(10250), forward(2222)))
            .args(["-device", "virtio-net-pci,netdev=net,romfile="])
            // What it writes to its disk goes there, and away with the run.
            .env("TMPDIR", folder);
        command
    }
}
