//! The agent as a service of a node's host that a scenario starts and ends, so that one boot sees a node with and without it.
use anyhow::{Result, ensure};
use serde_json::Value;

use crate::node::Node;
use crate::wait::wait_for;

/// A running one.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    node: &'a Node,
}

impl<'a> Agent<'a> {
    /// Starts it, and waits until it looks. Its log begins anew.
    pub(crate) fn start(node: &'a Node, mode: &str) -> Result<Self> {
        node.run(&format!(
            "rm -f /var/log/forestall.log; setsid /etc/node/forestall {mode} >/dev/null 2>&1 </dev/null &"
        ))?;
        let agent = Self { node };
        wait_for("an agent that looks", || {
            Ok(agent.metric(&format!("forestall_mode{{mode=\"{mode}\"}}"))? == Some(1))
        })?;
        Ok(agent)
    }

    /// The whole number that stands behind this name, with its labels, on the page of its metrics.
    pub(crate) fn metric(&self, name: &str) -> Result<Option<u64>> {
        let page = self
            .node
            .run("wget -qO- http://127.0.0.1:9090/metrics 2>/dev/null")?;
        let found = page.lines().find_map(|line| {
            line.strip_prefix(name)?
                .trim_start_matches("{}")
                .strip_prefix(' ')
        });
        Ok(found.and_then(|figure| figure.parse().ok()))
    }

    /// Every line of its log that tells of one of these events.
    pub(crate) fn told(&self, events: &[&str]) -> Result<Vec<Value>> {
        let log = self.node.run("cat /var/log/forestall.log")?;
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        Ok(lines
            .filter(|line: &Value| events.iter().any(|event| line["event"] == **event))
            .collect())
    }

    /// Ends it as a service manager does.
    pub(crate) fn end(self) -> Result<()> {
        let own = "/sys/fs/cgroup/system.slice/forestall.service/cgroup.procs";
        self.node.run(&format!("kill $(cat {own})"))?;
        wait_for("the agent's end", || {
            Ok(self.node.run(&format!("cat {own}"))?.trim().is_empty())
        })?;
        let log = self.told(&["end"])?;
        ensure!(!log.is_empty(), "the agent's log has no end");
        Ok(())
    }
}
