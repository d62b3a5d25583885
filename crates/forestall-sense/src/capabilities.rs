//! What this machine offers, and what is missing: stated at start, so that nobody takes an absent figure for a calm one.

use std::path::PathBuf;

use forestall_decide::Lru;
use forestall_kernel::cgroup::{Layout, Version};

/// What was found. Notes are whole sentences for the log; they may hold escaped names of files and nothing else from
/// outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The version of the hierarchy that accounts memory; `None`: there is none, only the node's figures are sampled.
    pub version: Option<Version>,
    /// How the hierarchies are mounted.
    pub layout: Option<Layout>,
    /// Where the memory hierarchy is.
    pub cgroup_root: Option<PathBuf>,
    /// `/proc/pressure/memory` can be read.
    pub node_pressure: bool,
    /// `memory.pressure` of a cgroup can be read.
    pub group_pressure: bool,
    /// Which LRU runs.
    pub lru: Lru,
    /// `/proc/vmstat` counts OOM kills (4.13 and later).
    pub counts_oom_kills: bool,
    /// Cgroup files that the followed cgroups lack here, by their v2 names.
    pub lacking: Vec<&'static str>,
    /// Why processes, and with them pods, cannot all be placed in the hierarchy from here, and what to do; `None` where they can.
    pub unplaced: Option<&'static str>,
    /// Sentences about what else is missing and what follows from that.
    pub notes: Vec<String>,
}
