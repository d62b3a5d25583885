//! `KernelOOM`: the kernel has killed somebody on this node for memory, lately.
//!
//! That it has is known by its own count (`oom_kill` of `/proc/vmstat`), which needs no right and misses nobody; at whose limit it was, and who, by the ledger
//! a moment later, as far as that may know. It tells nothing of kills from before this agent.

use std::time::{Duration, SystemTime};

use forestall_kernel::oom::Level;
use tokio::time::Instant;

use super::{Condition, Kind, Status};
use crate::cluster::notice::KillWord;
use crate::ledger::Levels;
use crate::log::time::rfc3339_seconds;

/// It is told for so long after the last kill: whoever looks at nodes every few minutes sees it, and a container that is killed after each of its
/// restarts (five minutes apart at most) does not make it come and go.
const CALM: Duration = Duration::from_mins(10);

/// Whose limit it was, from the least to what concerns everybody.
const REASONS: [&str; 7] = [
    "LimitUnknown",
    "CgroupLimit",
    "ContainerLimit",
    "PodLimit",
    "QosLimit",
    "KubepodsLimit",
    "NodeOutOfMemory",
];

const fn gravity(level: Level) -> usize {
    match level {
        Level::Unknown => 0,
        Level::OtherCgroup | Level::SomeCgroup => 1,
        Level::Container => 2,
        Level::Pod => 3,
        Level::Qos => 4,
        Level::Kubepods => 5,
        Level::Node | Level::Numa | Level::Cpuset => 6,
    }
}

/// What was killed lately.
#[derive(Debug)]
pub(super) struct KernelOom {
    begun: SystemTime,
    counted: Option<u64>,
    /// Of those that the counters alone know, whose limit it was.
    untold: Option<Levels>,
    /// Since the first of those that came without a pause.
    since: SystemTime,
    kills: u64,
    last: Option<Instant>,
    /// When somebody was killed last at each kind of limit.
    at: [Option<Instant>; REASONS.len()],
    words: String,
}

impl KernelOom {
    /// Nobody, so far.
    pub(super) fn new(begun: SystemTime) -> Self {
        Self {
            begun,
            counted: None,
            untold: None,
            since: begun,
            kills: 0,
            last: None,
            at: [None; REASONS.len()],
            words: String::new(),
        }
    }

    /// The kernel's count; what it was at first is from before.
    pub(super) fn count(&mut self, counted: Option<u64>, now: Instant) {
        let Some(counted) = counted else { return };
        let before = self.counted.replace(counted).unwrap_or(counted);
        if counted > before {
            self.begin(now);
            self.kills = self.kills.saturating_add(counted - before);
        }
    }

    /// The ledger has heard of one.
    pub(super) fn tell(&mut self, word: KillWord, now: Instant) {
        self.begin(now);
        self.note(word.level, now);
        self.words = word.words;
    }

    /// What the cgroups' counters know where nobody tells: by itself it is no kill, since it may be from before.
    pub(super) fn attribute(&mut self, untold: Levels, now: Instant) {
        let mut fresh = untold;
        fresh.part(self.untold.replace(untold).unwrap_or(untold));
        if self.last.is_none() {
            return;
        }
        for (level, _) in fresh.iter() {
            self.note(level, now);
        }
    }

    fn note(&mut self, level: Level, now: Instant) {
        if let Some(at) = self.at.get_mut(gravity(level)) {
            *at = Some(now);
        }
    }

    /// One more: of those that go on, or the first after a pause.
    fn begin(&mut self, now: Instant) {
        if !is_lately(self.last, now) {
            self.since = SystemTime::now();
            self.kills = 0;
            self.words.clear();
        }
        self.last = Some(now);
    }

    pub(super) fn look(&self, now: Instant) -> Condition {
        if !is_lately(self.last, now) {
            let message = format!(
                "the kernel has killed nobody for memory for {} minutes, or since this agent began at {}",
                CALM.as_secs() / 60,
                rfc3339_seconds(self.begun)
            );
            return Condition::new(Kind::KernelOom, Status::False, "NoKill", message);
        }
        let gravest = self.at.iter().rposition(|at| is_lately(*at, now));
        let reason = gravest.and_then(|nth| REASONS.get(nth)).unwrap_or(&REASONS[0]);
        // Before 4.13 it does not count.
        let counted = match self.kills {
            0 => String::new(),
            kills => format!(", {kills} by its own count"),
        };
        let told = match &*self.words {
            "" => String::new(),
            words => format!("; the last that was told of: {words}"),
        };
        let since = rfc3339_seconds(self.since);
        let message = format!("the kernel has killed for memory since {since}{counted}{told}");
        Condition::new(Kind::KernelOom, Status::True, reason, message)
    }
}

fn is_lately(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.duration_since(at) < CALM)
}
