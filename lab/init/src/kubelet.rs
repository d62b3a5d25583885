//! A stand-in for the kubelet's eviction manager: every 10 s, the allocatable signal, and one pod a time.
//!
//! It knows one signal (`allocatableMemory.available`), the hard threshold, and the order in which pods go. It is not
//! told of anything between its looks, and it ends a pod as the runtime would: every process, at once.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{Hierarchy, Naming};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::cgroup::Tree;

/// How often the kubelet looks (`--housekeeping-interval` of its eviction manager).
const LOOK: Duration = Duration::from_secs(10);

/// What the stand-in is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) naming: Naming,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) limit_bytes: u64,
    pub(crate) threshold_bytes: u64,
    pub(crate) pods: Vec<PodView>,
}

/// One pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PodView {
    pub(crate) name: String,
    pub(crate) cgroup: PathBuf,
    pub(crate) request_bytes: u64,
    /// Static and critical pods are not evicted.
    pub(crate) critical: bool,
}

/// What begins the line that says who is evicted; the name follows.
pub(crate) const EVICTS: &str = "evicts ";

/// Looks, and evicts, without end.
pub(crate) fn run(view: &View) -> Result<()> {
    let tree = Tree::new(view.naming, view.hierarchy);
    let mut gone: Vec<&str> = Vec::new();
    loop {
        sleep(LOOK);
        let available_bytes = view
            .limit_bytes
            .saturating_sub(working_set(&tree, &tree.kubepods()));
        println!("allocatable available {available_bytes}");
        if available_bytes >= view.threshold_bytes {
            continue;
        }
        let usage = view
            .pods
            .iter()
            .filter(|pod| !pod.critical && !gone.contains(&pod.name.as_str()))
            .map(|pod| (pod, working_set(&tree, &pod.cgroup)));
        if let Some(pod) = first_to_go(usage) {
            println!("{EVICTS}{}", pod.name);
            gone.push(&pod.name);
            end(&pod.cgroup)?;
        }
    }
}

fn working_set(tree: &Tree, cgroup: &Path) -> u64 {
    let usage = tree.usage(cgroup);
    usage.current_bytes.saturating_sub(usage.inactive_file_bytes)
}

/// The kubelet's order without priorities: whoever is over their request first, then by how much.
fn first_to_go<'a>(pods: impl Iterator<Item = (&'a PodView, u64)>) -> Option<&'a PodView> {
    pods.max_by_key(|(pod, usage_bytes)| {
        (
            *usage_bytes > pod.request_bytes,
            i128::from(*usage_bytes) - i128::from(pod.request_bytes),
        )
    })
    .map(|(pod, _)| pod)
}

/// Ends every process of a cgroup and of those below it.
fn end(cgroup: &Path) -> Result<()> {
    if fs::write(cgroup.join("cgroup.kill"), "1").is_ok() {
        return Ok(());
    }
    let entries = fs::read_dir(cgroup).with_context(|| format!("listing {}", cgroup.display()))?;
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        end(&entry.path())?;
    }
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in procs
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter_map(Pid::from_raw)
    {
        // One that has ended meanwhile needs no signal.
        #[allow(
            clippy::disallowed_methods,
            reason = "it stands in for a runtime, in a guest of its own"
        )]
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, request_bytes: u64) -> PodView {
        PodView {
            name: name.into(),
            cgroup: PathBuf::new(),
            request_bytes,
            critical: false,
        }
    }

    #[test]
    fn who_is_over_the_request_goes_before_who_uses_most() {
        let (modest, greedy) = (pod("modest", 900), pod("greedy", 10));
        let first = first_to_go([(&modest, 800), (&greedy, 50)].into_iter());
        assert_eq!(first.map(|pod| pod.name.as_str()), Some("greedy"));
        let first = first_to_go([(&modest, 1000), (&greedy, 50)].into_iter());
        assert_eq!(first.map(|pod| pod.name.as_str()), Some("modest"));
    }
}
