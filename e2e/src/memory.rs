//! What a node holds, by the kernel's figures and by the kubelet's way to count them.
use std::fmt;

use anyhow::{Context, Result};

use crate::node::Node;

/// In MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(
    clippy::struct_field_names,
    reason = "a quantity says its unit, last in its name"
)]
pub(crate) struct Memory {
    /// When it was, in seconds since the node's boot.
    pub(crate) uptime: f64,
    pub(crate) total_mib: u64,
    /// `MemAvailable`: the kernel's own word.
    pub(crate) available_mib: u64,
    pub(crate) kubepods_mib: u64,
    /// The kubelet's signal `allocatableMemory.available`: the limit of `kubepods` less its working set, which is all but inactive file cache
    /// (<https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>).
    pub(crate) allocatable_available_mib: u64,
}

impl Memory {
    pub(crate) fn of(node: &Node) -> Result<Self> {
        let folder = "/sys/fs/cgroup/kubepods";
        let said = node.run(&format!(
            "cat /proc/uptime; grep -E '^Mem(Total|Available):' /proc/meminfo; grep '^inactive_file ' {folder}/memory.stat; \
             echo max $(cat {folder}/memory.max); echo current $(cat {folder}/memory.current)"
        ))?;
        Self::parse(&said).with_context(|| format!("figures of memory in {said:?}"))
    }

    /// `/proc/uptime` comes first.
    pub(crate) fn parse(said: &str) -> Option<Self> {
        let figure = |name: &str| -> Option<u64> {
            let mut lines = said.lines().filter_map(|line| line.split_once(' '));
            let (_, rest) = lines.find(|(key, _)| *key == name)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let (max, current, inactive) = (figure("max")?, figure("current")?, figure("inactive_file")?);
        let working_set = current.saturating_sub(inactive);
        Some(Self {
            uptime: said.split_whitespace().next()?.parse().ok()?,
            total_mib: figure("MemTotal:")? >> 10,
            available_mib: figure("MemAvailable:")? >> 10,
            kubepods_mib: current >> 20,
            allocatable_available_mib: max.saturating_sub(working_set) >> 20,
        })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {} MiB available, {} MiB in pods, {} MiB allocatable by the kubelet's count",
            self.available_mib, self.total_mib, self.kubepods_mib, self.allocatable_available_mib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Found on a kubelet of 1.37.1: kubepods limit 972 MiB, current 864, of which 0 were inactive file cache.
    #[test]
    fn active_cache_counts_as_used() {
        let said = "11.50 20.00\nMemTotal:        1251328 kB\nMemAvailable:     868352 kB\ninactive_file 0\nmax 1019215872\ncurrent 905969664\n";
        let memory = Memory::parse(said).expect("figures");
        assert_eq!((memory.total_mib, memory.available_mib), (1222, 848));
        assert_eq!(
            (memory.kubepods_mib, memory.allocatable_available_mib),
            (864, 108)
        );
        let inactive = said.replace("inactive_file 0", "inactive_file 104857600");
        assert_eq!(
            Memory::parse(&inactive)
                .expect("figures")
                .allocatable_available_mib,
            208
        );
        assert_eq!(Memory::parse("sh: grep: not found\n"), None);
    }
}
