//! What must not be kept twice: lines that entries are about and that no tally has behind it, and who was killed a moment ago.

use std::collections::{BTreeMap, BTreeSet};

use forestall_kernel::oom::{Seen, Victim};

use super::entry::{Entry, Tally};

/// A process of the same number that is killed so soon after is the same one: of a group the kernel tells the first one twice.
const SAME_MICROS: u64 = 5_000_000;

/// Beyond so many, those that were killed long ago are forgotten.
const KILLED_MAX: usize = 64;

/// Of one boot, the last that was told of.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    boot: Box<[u8]>,
    known: BTreeSet<u64>,
    /// When each process was killed last, by the log's clock.
    killed: BTreeMap<u32, u64>,
    newest: u64,
    /// Those whom tracing alone has told of: a line may come all the same, once the log can be read.
    traced: BTreeMap<u32, u64>,
}

/// All that whoever hears the records of a boot has to know of what was kept of it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) tally: Tally,
    pub(super) recent: Recent,
}

/// So many of those whom tracing alone has told of are remembered.
const TRACED_MAX: usize = 1024;

fn is_near(micros: u64, victim: &Victim) -> bool {
    victim.when.micros.unwrap_or(0).abs_diff(micros) < SAME_MICROS
}

impl Recent {
    /// An entry was kept.
    pub(super) fn remember(&mut self, entry: &Entry) {
        if self.boot != entry.boot {
            *self = Self {
                boot: entry.boot.clone(),
                ..Self::default()
            };
        }
        self.known.extend(entry.sequences());
        for victim in &entry.report.victims {
            self.is_same(victim);
            if victim.seen == Seen::Marked {
                self.remember_traced(victim);
            }
        }
    }

    /// Notes a kill that no line has told of.
    pub(super) fn remember_traced(&mut self, victim: &Victim) {
        if self.traced.len() >= TRACED_MAX {
            let oldest = self.traced.iter().min_by_key(|(_, micros)| **micros);
            if let Some(pid) = oldest.map(|(pid, _)| *pid) {
                self.traced.remove(&pid);
            }
        }
        self.traced.insert(victim.pid, victim.when.micros.unwrap_or(0));
    }

    /// A line tells of a kill that tracing alone had told of; true once.
    pub(super) fn take_traced(&mut self, victim: &Victim) -> bool {
        let is_same = self
            .traced
            .get(&victim.pid)
            .is_some_and(|micros| is_near(*micros, victim));
        is_same && self.traced.remove(&victim.pid).is_some()
    }

    /// This kill was noted.
    pub(super) fn covers(&self, victim: &Victim) -> bool {
        let is_noted = self
            .killed
            .get(&victim.pid)
            .is_some_and(|micros| is_near(*micros, victim));
        is_noted
            || self
                .traced
                .get(&victim.pid)
                .is_some_and(|micros| is_near(*micros, victim))
    }

    /// When the last kill was that was noted.
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    /// What was heard by now is known by its number.
    pub(super) fn forget(&mut self, tally: &Tally) {
        if self.boot == tally.boot
            && let Some(through) = tally.through
        {
            self.known = self.known.split_off(&through.saturating_add(1));
        }
    }

    /// All that is remembered of this boot.
    pub(super) fn of(&self, boot: &[u8]) -> Self {
        if *self.boot == *boot {
            return self.clone();
        }
        Self {
            boot: boot.into(),
            ..Self::default()
        }
    }

    /// An entry is about this line.
    pub(super) fn knows(&self, sequence: u64) -> bool {
        self.known.contains(&sequence)
    }

    /// Notes a kill; true where it is one that was noted a moment ago.
    pub(super) fn is_same(&mut self, victim: &Victim) -> bool {
        let micros = victim.when.micros.unwrap_or(0);
        self.newest = self.newest.max(micros);
        let newest = self.newest;
        let before = self.killed.insert(victim.pid, micros);
        if self.killed.len() > KILLED_MAX {
            // What is heard again is older than what was kept.
            let oldest = micros
                .min(newest.saturating_sub(SAME_MICROS))
                .saturating_sub(SAME_MICROS);
            self.killed.retain(|_, micros| *micros >= oldest);
        }
        before.is_some_and(|before| micros.saturating_sub(before) < SAME_MICROS)
    }
}
