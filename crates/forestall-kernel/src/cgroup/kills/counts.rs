//! What a cgroup has counted, and what of it was told.
//!
//! It refuses to go back: what was told once is not taken back where the kernel has yet to count it higher up.

use std::time::Duration;

use crate::parse::MemoryEvents;

/// A limit that was met is remembered for so long at least, and twice that at most.
const MET_AGO: Duration = Duration::from_secs(1);

/// `oom`, `oom_kill` and `oom_group_kill`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) met: u64,
    pub(super) kills: u64,
    pub(super) groups: u64,
}

impl Counts {
    pub(super) fn of(events: &MemoryEvents) -> Self {
        Self {
            met: events.oom,
            kills: events.oom_kill,
            groups: events.oom_group_kill,
        }
    }

    pub(super) fn with(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            met: join(self.met, other.met),
            kills: join(self.kills, other.kills),
            groups: join(self.groups, other.groups),
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    pub(super) fn plus(self, more: Self) -> Self {
        self.with(more, u64::saturating_add)
    }
}

/// What was told of a cgroup so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) all: Counts,
    pub(super) own: Counts,
    /// When `met_before` was moved last, and what it becomes the next time.
    pub(super) moved_at: Duration,
    pub(super) met_next: Met,
    /// What limits met are counted from.
    pub(super) met_before: Met,
}

/// How often a limit was met: of a cgroup with those below it, and of it alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) all: u64,
    pub(super) own: u64,
}

impl Known {
    pub(super) fn met(&self) -> Met {
        Met {
            all: self.all.met,
            own: self.own.met,
        }
    }

    /// Forgets what was met longer ago.
    pub(super) fn forget(&mut self, now: Duration) {
        let ago = now.saturating_sub(self.moved_at);
        if ago >= MET_AGO {
            self.met_before = if ago >= 2 * MET_AGO {
                self.met()
            } else {
                self.met_next
            };
            self.met_next = self.met();
            self.moved_at = now;
        }
    }
}
