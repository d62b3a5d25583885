//! `memory.events` of cgroup v2: how often a limit was met since the cgroup was made. Descendants are counted in, unless
//! cgroup2 is mounted with `memory_localevents` (`Documentation/admin-guide/cgroup-v2.rst`).

use super::keyed::entries;

/// The counters. `memory.events.local` has the same form; v1's `memory.oom_control` shares the key `oom_kill` (4.13 and
/// later) and can be read with this, too, which leaves the others 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Reclaimed below its `memory.low` protection.
    pub low: u64,
    /// Throttled for exceeding `memory.high`.
    pub high: u64,
    /// About to exceed `memory.max`.
    pub max: u64,
    /// The limit was met and an allocation about to fail; the OOM killer of the whole machine does not count here.
    pub oom: u64,
    /// Processes of this cgroup killed by any kind of OOM killer, the global one included.
    pub oom_kill: u64,
    /// Killed as a group (`memory.oom.group`, 5.17 and later; 0 before).
    pub oom_group_kill: u64,
}

impl MemoryEvents {
    /// Reads the file.
    pub fn parse(content: &[u8]) -> Self {
        let mut read = Self::default();
        for entry in entries(content) {
            let field = match entry.key {
                b"low" => &mut read.low,
                b"high" => &mut read.high,
                b"max" => &mut read.max,
                b"oom" => &mut read.oom,
                b"oom_kill" => &mut read.oom_kill,
                b"oom_group_kill" => &mut read.oom_group_kill,
                _ => continue,
            };
            *field = entry.number();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_counters_and_an_unknown_one() {
        let read = MemoryEvents::parse(
            b"low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n",
        );
        let expected = MemoryEvents {
            low: 1,
            high: 2,
            max: 3,
            oom: 4,
            oom_kill: 5,
            oom_group_kill: 6,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_kill_counter_of_v1_is_found_in_oom_control() {
        let read = MemoryEvents::parse(b"oom_kill_disable 0\nunder_oom 1\noom_kill 9\n");
        assert_eq!(
            read,
            MemoryEvents {
                oom_kill: 9,
                ..MemoryEvents::default()
            }
        );
    }
}
