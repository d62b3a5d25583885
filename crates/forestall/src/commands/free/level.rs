//! One cgroup's memory: its limit and what counts against it. Reads, and judges nothing but whether it can be true.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use forestall_kernel::parse::{Limit, Meminfo, MemoryStat, entries, unsigned};

use super::locate::{Place, Version};
use super::shown::{self, human};
use crate::input;

/// A cgroup with its figures, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// The file the limit was read from.
    pub(crate) limit_file: PathBuf,
    /// Its own limit; `None` where it could not be read.
    pub(crate) limit: Option<Limit>,
    /// Where the kernel begins to slow it down (`memory.high`, v2 only).
    pub(crate) high: Limit,
    /// What is charged to it, cache included. `None` for the root of v2, which the kernel does not count, and where it could
    /// not be read.
    pub(crate) usage: Option<u64>,
    /// The parts of it; none where they could not be read.
    pub(crate) stat: MemoryStat,
    /// Swap in use.
    pub(crate) swap: Option<u64>,
    /// Limit on swap alone (v2), or on memory and swap together (v1).
    pub(crate) swap_limit: Limit,
    /// What could not be read or cannot be true, each with its place and what follows from it.
    pub(crate) doubts: Vec<String>,
}

/// The most that a figure may be without being impossible, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    memory: u64,
    swap: u64,
}

impl Most {
    /// The kernel counts no more than 2^63 bytes (`PAGE_COUNTER_MAX`).
    const COUNTED: u64 = 1 << 63;

    /// For whoever has no machine to compare with.
    pub(crate) const ANY: Self = Self {
        memory: Self::COUNTED,
        swap: Self::COUNTED,
    };

    /// Nothing holds more than the machine has.
    pub(crate) const fn of(meminfo: &Meminfo) -> Self {
        // What stands for meminfo in a container may hide swap that is there.
        let swap = match meminfo.swap_total {
            0 => Self::COUNTED,
            total => total,
        };
        Self {
            memory: meminfo.total,
            swap,
        }
    }
}

/// Figures of `memory.stat` that are reckoned with here. The first two are in every kernel's.
const STAT_V1: [&str; 6] = [
    "total_active_file",
    "total_inactive_file",
    "total_cache",
    "total_shmem",
    "total_dirty",
    "total_writeback",
];
const STAT_V2: [&str; 7] = [
    "active_file",
    "inactive_file",
    "file",
    "shmem",
    "file_dirty",
    "file_writeback",
    "slab_reclaimable",
];

/// Reads the files of one cgroup and keeps what is wrong with them.
struct Reader<'a> {
    dir: &'a Path,
    doubts: Vec<String>,
}

impl Reader<'_> {
    /// All of a file; `None` where it is absent, and where it is wrong.
    fn content(&mut self, name: &str, what: &str) -> Option<Vec<u8>> {
        match input::read_system(&self.dir.join(name)) {
            Ok(content) if content.is_empty() => self.doubt(name, "is empty", what),
            Ok(content) if !input::cut_line(&content).1.is_empty() => {
                self.doubt(name, "ends in the middle of a line", what)
            }
            Ok(content) => Some(content),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => self.doubt(name, &format!("cannot be read ({error})"), what),
        }
    }

    fn number(&mut self, name: &str, most: u64, what: &str) -> Option<u64> {
        let content = self.content(name, what)?;
        match unsigned(&content) {
            Some(bytes) if bytes <= most => Some(bytes),
            Some(bytes) => {
                let why = format!("says {}, and there are only {}", human(bytes), human(most));
                self.doubt(name, &why, what)
            }
            None => self.doubt_word(name, &content, what),
        }
    }

    /// No limit where there is no such file; `None` where it is wrong.
    fn limit(&mut self, name: &str, what: &str) -> Option<Limit> {
        let before = self.doubts.len();
        let Some(content) = self.content(name, what) else {
            return (self.doubts.len() == before).then_some(Limit::Max);
        };
        Limit::parse(&content).or_else(|| self.doubt_word(name, &content, what))
    }

    /// `memory.stat`, if what is reckoned with is in it and can be true.
    fn stat(&mut self, used: &[&str], most: u64) -> Option<Vec<u8>> {
        let what = "nothing of this cgroup is counted as reclaimable";
        let content = self.content("memory.stat", what)?;
        for (index, name) in used.iter().enumerate() {
            match entries(&content).find(|entry| entry.key == name.as_bytes()) {
                None if index < 2 => return self.doubt("memory.stat", &format!("has no {name}"), what),
                None => {}
                Some(entry) => match entry.bytes() {
                    None => return self.doubt("memory.stat", &format!("has no figure for {name}"), what),
                    Some(bytes) if bytes > most => {
                        let why = format!(
                            "says {} of {name}, and there are only {}",
                            human(bytes),
                            human(most)
                        );
                        return self.doubt("memory.stat", &why, what);
                    }
                    Some(_) => {}
                },
            }
        }
        Some(content)
    }

    fn doubt_word<T>(&mut self, name: &str, content: &[u8], what: &str) -> Option<T> {
        let word = content.trim_ascii();
        let word = word.get(..32).unwrap_or(word);
        self.doubt(
            name,
            &format!("says {:?}, which is no size", shown::bytes(word)),
            what,
        )
    }

    fn doubt<T>(&mut self, name: &str, why: &str, what: &str) -> Option<T> {
        let path = shown::path(&self.dir.join(name));
        self.doubts.push(format!("{path} {why}: {what}"));
        None
    }
}

impl Level {
    /// Reads the cgroup at `dir`. Files that are absent leave their figure out.
    pub(crate) fn read(dir: &Path, version: Version, most: Most) -> Self {
        let (limit_name, usage_name) = match version {
            Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            Version::V2 => ("memory.max", "memory.current"),
        };
        let mut reader = Reader {
            dir,
            doubts: Vec::new(),
        };
        let no_limit = "the limit of this cgroup is not known";
        let mut limit = reader.limit(limit_name, no_limit);
        let no_usage = "what this cgroup uses is not known";
        let usage = reader.number(usage_name, most.memory, no_usage);
        let has = |name| dir.join(name).exists();
        if usage.is_some() && !has(limit_name) {
            limit = reader.doubt(limit_name, "is not there", no_limit);
        }
        if limit.is_some_and(|limit| limit != Limit::Max) && !has(usage_name) {
            reader.doubt::<()>(usage_name, "is not there", no_usage);
        }
        let stat = match version {
            Version::V1 => reader.stat(&STAT_V1, most.memory).map(|content| {
                if let Some(told) = entries(&content).find(|entry| entry.key == b"hierarchical_memory_limit")
                    && told.bytes().is_none()
                {
                    let why = "has no figure for hierarchical_memory_limit";
                    reader.doubt::<()>("memory.stat", why, "a limit above this cgroup may be missing");
                }
                MemoryStat::parse_v1(&content)
            }),
            Version::V2 => {
                // The root has one, too, and nothing to reckon with in it.
                let used: &[&str] = if usage.is_some() { &STAT_V2 } else { &[] };
                reader
                    .stat(used, most.memory)
                    .map(|content| MemoryStat::parse_v2(&content))
            }
        };
        if usage.is_some() && !has("memory.stat") {
            let what = "nothing of this cgroup is counted as reclaimable";
            reader.doubt::<()>("memory.stat", "is not there", what);
        }
        let stat = stat.unwrap_or_default();
        let (high, swap, swap_limit) = match version {
            Version::V1 => (
                Some(Limit::Max),
                stat.swap.filter(|swap| *swap <= most.swap),
                reader.limit("memory.memsw.limit_in_bytes", "it is left out"),
            ),
            Version::V2 => (
                reader.limit(
                    "memory.high",
                    "where the kernel slows this cgroup down is not known",
                ),
                reader.number(
                    "memory.swap.current",
                    most.swap,
                    "what this cgroup has in swap is not known",
                ),
                reader.limit(
                    "memory.swap.max",
                    "how much swap this cgroup may use is not known",
                ),
            ),
        };
        Self {
            dir: dir.to_path_buf(),
            limit_file: dir.join(limit_name),
            limit,
            high: high.unwrap_or_default(),
            usage,
            stat,
            swap,
            swap_limit: swap_limit.unwrap_or_default(),
            doubts: reader.doubts,
        }
    }

    /// The process's own cgroup and its visible ancestors, innermost first.
    pub(crate) fn chain(place: &Place, most: Most) -> Vec<Self> {
        let levels = place.chain().map(|dir| Self::read(dir, place.version, most));
        levels.collect()
    }

    /// What the kernel could give away at once when the limit is reached: page cache that is clean, and caches of its own
    /// objects. Shared and anonymous memory is none of it, and neither is what has to be written to a disk first.
    pub(crate) fn reclaimable(&self) -> Option<u64> {
        let unwritten = self.stat.file_dirty.saturating_add(self.stat.file_writeback);
        let cache = self
            .stat
            .active_file
            .saturating_add(self.stat.inactive_file)
            .saturating_sub(unwritten);
        Some(cache.saturating_add(self.stat.slab_reclaimable).min(self.usage?))
    }

    /// What the kernel could not give away.
    pub(crate) fn unreclaimable(&self) -> Option<u64> {
        Some(self.usage?.saturating_sub(self.reclaimable()?))
    }

    /// The kubelet's figure: usage less inactive file cache, so that active cache counts as used.
    pub(crate) fn working_set(&self) -> Option<u64> {
        Some(self.usage?.saturating_sub(self.stat.inactive_file))
    }

    /// Bytes until the kernel kills in this cgroup; `None` without a limit, and where it is not known what is used.
    pub(crate) fn distance(&self) -> Option<u64> {
        Some(self.limit?.bytes()?.saturating_sub(self.unreclaimable()?))
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
            limit: Some(Limit::Bytes(3000 << 20)),
            ..Level::default()
        };
        assert_eq!(level.working_set(), Some(2_133_876_736));
        assert_eq!(level.unreclaimable(), Some(2_133_876_736));
        assert_eq!(level.distance(), Some((3000 << 20) - 2_133_876_736));
    }

    #[test]
    fn active_cache_is_used_for_the_kubelet_and_free_for_the_kernel() {
        let level = Level {
            usage: Some(864),
            limit: Some(Limit::Bytes(972)),
            stat: MemoryStat {
                active_file: 740,
                inactive_file: 4,
                file_dirty: 30,
                ..MemoryStat::default()
            },
            ..Level::default()
        };
        assert_eq!(level.working_set(), Some(860));
        assert_eq!(level.reclaimable(), Some(714));
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
            (Some(0), Some(10), Some(0))
        );
    }
}
