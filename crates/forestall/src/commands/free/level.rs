//! One cgroup's memory: its limit and what counts against it. Reads, and judges nothing.

use std::path::{Path, PathBuf};

use forestall_kernel::parse::{Limit, MemoryStat, unsigned};

use super::locate::{Place, Version};
use crate::input;

/// A cgroup with its figures, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// The file the limit was read from.
    pub(crate) limit_file: PathBuf,
    /// Its own limit.
    pub(crate) limit: Limit,
    /// Where the kernel begins to slow it down (`memory.high`, v2 only).
    pub(crate) high: Limit,
    /// What is charged to it, cache included. `None` for the root of v2, which the kernel does not count.
    pub(crate) usage: Option<u64>,
    /// The parts of it.
    pub(crate) stat: MemoryStat,
    /// Swap in use.
    pub(crate) swap: Option<u64>,
    /// Limit on swap alone (v2), or on memory and swap together (v1).
    pub(crate) swap_limit: Limit,
}

impl Level {
    /// Reads the cgroup at `dir`. Files that are absent leave their figure out.
    pub(crate) fn read(dir: &Path, version: Version) -> Self {
        let number = |name: &str| {
            input::read_system(&dir.join(name))
                .ok()
                .and_then(|content| unsigned(&content))
        };
        let limit = |name: &str| {
            input::read_system(&dir.join(name))
                .ok()
                .and_then(|content| Limit::parse(&content))
        };
        let stat = input::read_system(&dir.join("memory.stat")).unwrap_or_default();
        match version {
            Version::V1 => {
                let stat = MemoryStat::parse_v1(&stat);
                Self {
                    dir: dir.to_path_buf(),
                    limit_file: dir.join("memory.limit_in_bytes"),
                    limit: limit("memory.limit_in_bytes").unwrap_or_default(),
                    high: Limit::Max,
                    usage: number("memory.usage_in_bytes"),
                    swap: stat.swap,
                    stat,
                    swap_limit: limit("memory.memsw.limit_in_bytes").unwrap_or_default(),
                }
            }
            Version::V2 => Self {
                dir: dir.to_path_buf(),
                limit_file: dir.join("memory.max"),
                limit: limit("memory.max").unwrap_or_default(),
                high: limit("memory.high").unwrap_or_default(),
                usage: number("memory.current"),
                stat: MemoryStat::parse_v2(&stat),
                swap: number("memory.swap.current"),
                swap_limit: limit("memory.swap.max").unwrap_or_default(),
            },
        }
    }

    /// The process's own cgroup and its visible ancestors, innermost first.
    pub(crate) fn chain(place: &Place) -> Vec<Self> {
        place.chain().map(|dir| Self::read(dir, place.version)).collect()
    }

    /// What the kernel could give away at once when the limit is reached: page cache that is clean, and caches of its own
    /// objects. Shared and anonymous memory is none of it, and neither is what has to be written to a disk first.
    pub(crate) fn reclaimable(&self) -> u64 {
        let unwritten = self.stat.file_dirty.saturating_add(self.stat.file_writeback);
        let cache = self
            .stat
            .active_file
            .saturating_add(self.stat.inactive_file)
            .saturating_sub(unwritten);
        cache
            .saturating_add(self.stat.slab_reclaimable)
            .min(self.usage.unwrap_or(0))
    }

    /// What the kernel could not give away.
    pub(crate) fn unreclaimable(&self) -> u64 {
        self.usage.unwrap_or(0).saturating_sub(self.reclaimable())
    }

    /// The kubelet's figure: usage less inactive file cache, so that active cache counts as used.
    pub(crate) fn working_set(&self) -> u64 {
        self.usage.unwrap_or(0).saturating_sub(self.stat.inactive_file)
    }

    /// Bytes until the kernel kills in this cgroup; `None` without a limit.
    pub(crate) fn distance(&self) -> Option<u64> {
        Some(self.limit.bytes()?.saturating_sub(self.unreclaimable()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One container seen from every side: usage and working set 2133876736, no file cache.
    #[test]
    fn a_container_without_cache_has_one_figure() {
        let level = Level {
            usage: Some(2_133_876_736),
            limit: Limit::Bytes(3000 << 20),
            ..Level::default()
        };
        assert_eq!(level.working_set(), 2_133_876_736);
        assert_eq!(level.unreclaimable(), 2_133_876_736);
        assert_eq!(level.distance(), Some((3000 << 20) - 2_133_876_736));
    }

    #[test]
    fn active_cache_is_used_for_the_kubelet_and_free_for_the_kernel() {
        let level = Level {
            usage: Some(864),
            limit: Limit::Bytes(972),
            stat: MemoryStat {
                active_file: 740,
                inactive_file: 4,
                file_dirty: 30,
                ..MemoryStat::default()
            },
            ..Level::default()
        };
        assert_eq!(level.working_set(), 860);
        assert_eq!(level.reclaimable(), 714);
        assert_eq!(level.distance(), Some(972 - (864 - 714)));
    }

    #[test]
    fn counters_that_disagree_do_not_wrap() {
        // memory.stat is gathered lazily and may run ahead of the usage.
        let level = Level {
            usage: Some(10),
            stat: MemoryStat {
                inactive_file: 4096,
                ..MemoryStat::default()
            },
            ..Level::default()
        };
        assert_eq!(
            (level.working_set(), level.reclaimable(), level.unreclaimable()),
            (0, 10, 0)
        );
    }
}
