//! What was said already: where a thread has to begin again it hears again, and nobody is to be alarmed a second time, nor by what was
//! before the agent.

use std::collections::VecDeque;

use crate::ledger::Entry;

/// So many are remembered: more than the kernel's log holds after a storm.
const SAID_MAX: usize = 1024;

/// A process of the same number within this time is the same kill, microseconds: tracing and a line tell of it at different times.
const SAME_MICROS: u64 = 5_000_000;

/// Who was said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The last record of before; `None` while all is from before.
    begun: Option<u64>,
    kills: VecDeque<(u32, u64)>,
}

impl Said {
    /// What is news from now on has been found out.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// What comes behind this record is news.
    pub(super) fn begin(&mut self, last: Option<u64>) {
        self.begun = last.or(Some(0));
    }

    /// All that was in a log which has just been opened has been heard.
    pub(super) fn end(&mut self, last: Option<u64>) {
        if !self.has_begun() {
            self.begin(last);
        }
    }

    /// A log has been opened that could not be read: what it holds was counted by now.
    pub(super) const fn begin_again(&mut self) {
        self.begun = None;
    }

    /// It was before.
    pub(super) fn is_before(&self, entry: &Entry) -> bool {
        let first = entry.report.victims.first();
        let sequence = first.map_or(entry.report.when.sequence, |victim| victim.when.sequence);
        let is_early = |begun: u64| sequence.is_some_and(|sequence| sequence <= begun);
        self.begun.is_none_or(is_early)
    }

    /// Notes it. False where it was said.
    pub(super) fn is_new(&mut self, entry: &Entry) -> bool {
        let first = entry.report.victims.first();
        let pid = first.map_or(0, |victim| victim.pid);
        let when = first.map_or(entry.report.when, |victim| victim.when);
        let micros = when.micros.unwrap_or(0);
        let is_same = |said: &(u32, u64)| said.0 == pid && said.1.abs_diff(micros) < SAME_MICROS;
        if self.kills.iter().any(is_same) {
            return false;
        }
        if self.kills.len() >= SAID_MAX {
            self.kills.pop_front();
        }
        self.kills.push_back((pid, micros));
        true
    }
}
