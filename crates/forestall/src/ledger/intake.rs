//! What is new in the kernel's log goes into the ledger: every record is heard once, whoever was interrupted in between.
//!
//! Whoever comes back hears the records again that belong to a report that was not yet over, so that what is kept says "heard through here"
//! only of what needs not be heard again.

use std::collections::VecDeque;

use forestall_kernel::kmsg::{Line, Record, When, unescape_into};
use forestall_kernel::oom::{Collector, Heard, Part, Report, Seen};

use super::entry::{Entry, Levels, Missed, Tally};
use super::recent::{Known, Recent};

/// Hears records from the oldest that there is, and keeps what is new.
#[derive(Debug)]
pub(crate) struct Intake {
    collector: Collector,
    ear: Ear,
    last: Option<u64>,
    decoded: Vec<u8>,
    /// Tracing has told a life before this one of what was earlier.
    traced_before: Option<u64>,
    /// What was missed in lives before this one.
    missed_before: Missed,
}

/// Which reports are news.
#[derive(Debug)]
struct Ear {
    zero_micros: i64,
    /// What needs not be heard again.
    tally: Tally,
    recent: Recent,
    /// What came after that, and is to be counted with it once it is over.
    ahead: VecDeque<Mark>,
    new: Vec<Entry>,
}

/// A record behind which there is more to count.
#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: u64,
    kill_lines: u64,
    lost: u64,
}

/// So many are told apart. In a search for a victim that goes on for hours the rest is counted with the last one.
const AHEAD_MAX: usize = 1024;

impl Mark {
    const fn join(&mut self, later: Self) {
        *self = Self {
            sequence: later.sequence,
            kill_lines: self.kill_lines.saturating_add(later.kill_lines),
            lost: self.lost.saturating_add(later.lost),
        };
    }
}

/// What is so much older than the last kill that was kept has been read when that was, microseconds.
const EARLIER_MICROS: u64 = 5_000_000;

impl Intake {
    /// Of one boot, of which so much was kept. `zero_micros` is what the wall clock read when the log's clock read 0.
    pub(super) fn new(known: Known, zero_micros: i64) -> Self {
        let has_lived = known.tally.through.is_some() || known.tally.traced > 0;
        Self {
            traced_before: has_lived.then(|| known.recent.newest().saturating_sub(EARLIER_MICROS)),
            missed_before: known.tally.missed,
            collector: Collector::new(),
            ear: Ear {
                zero_micros,
                tally: known.tally,
                recent: known.recent,
                ahead: VecDeque::new(),
                new: Vec::new(),
            },
            last: None,
            decoded: Vec::new(),
        }
    }

    /// The clocks have been compared anew.
    pub(crate) fn set_zero(&mut self, zero_micros: i64) {
        self.ear.zero_micros = zero_micros;
    }

    /// Hears the next record, whoever wrote it. Returns who was killed by it where no line has told of what cgroup.
    pub(crate) fn hear(&mut self, record: &Record<'_>) -> Option<u32> {
        self.count(record);
        let ear = &mut self.ear;
        let line = Line::of_record(record);
        match self.collector.hear(&line, &mut |report| ear.hear(report, true)) {
            Heard::Kill { pid } if !self.is_placed(pid) => Some(pid),
            _ => None,
        }
    }

    /// Takes in a kill that tracing alone has told of. False where a line has told of it, or is just telling.
    pub(crate) fn hear_traced(&mut self, report: Report) -> bool {
        let Some(victim) = report.victims.first() else {
            return false;
        };
        let is_earlier = |before: u64| victim.when.micros.is_some_and(|micros| micros < before);
        let mut open = self.collector.open_reports();
        let is_open = open.any(|open| open.victims.iter().any(|other| other.pid == victim.pid));
        let ear = &mut self.ear;
        if is_open || self.traced_before.is_some_and(is_earlier) || ear.recent.covers(victim) {
            return false;
        }
        ear.recent.is_same(victim);
        ear.recent.remember_traced(victim);
        ear.tally.traced = ear.tally.traced.saturating_add(1);
        let entry = Entry::new(ear.tally.boot.clone(), ear.zero_micros, report);
        ear.new.push(entry);
        true
    }

    /// Kills of which the cgroups' counters alone tell, and those of them of which a line has told after all. Returns all of the former.
    pub(crate) fn hear_untold(&mut self, untold: Levels, late: Levels) -> Levels {
        let all = &mut self.ear.tally.untold;
        all.join(untold);
        all.part(late);
        *all
    }

    /// Victims that were told of and put to no cgroup, and what was missed since this began. Returns what a tally says of both.
    pub(crate) fn hear_missed(&mut self, unplaced: u64, missed: Missed) -> (u64, Missed) {
        let tally = &mut self.ear.tally;
        tally.unplaced = tally.unplaced.saturating_add(unplaced);
        tally.missed = self.missed_before.and(missed);
        (tally.unplaced, tally.missed)
    }

    /// What is known by now, for whoever counts.
    pub(crate) const fn tally(&self) -> &Tally {
        &self.ear.tally
    }

    /// The log, which could not be read, tells of them from now on.
    pub(crate) fn forget_untold(&mut self) {
        self.ear.tally.untold = Levels::default();
    }

    fn is_placed(&self, pid: u32) -> bool {
        let mut reports = self.collector.open_reports();
        reports.any(|report| {
            // Whom no table shows beside the first of a group may be somebody else's, who was killed right behind it.
            let is_member = |place: usize| place == 0 || report.table.row(pid).is_some();
            let victims = report.victims.iter().enumerate();
            let mut those = victims.filter(|(_, victim)| victim.pid == pid);
            those.any(|(place, victim)| match &report.group {
                Some(_) => is_member(place),
                None => victim.memcg.is_some() || report.task_memcg.is_some(),
            })
        })
    }

    /// After so long a silence, microseconds, [`Self::settle`] has something to say.
    pub(crate) fn silence_micros(&self) -> Option<u64> {
        self.collector.silence_micros()
    }

    /// Nothing has come for a while.
    pub(crate) fn settle(&mut self) {
        let ear = &mut self.ear;
        self.collector.settle(&mut |report| ear.hear(report, true));
    }

    /// Nothing more will come. Who is only named has its kill line yet to come.
    pub(crate) fn finish(&mut self) {
        let ear = &mut self.ear;
        self.collector.finish(&mut |report| ear.hear(report, false));
    }

    /// The number of the last record that was heard.
    pub(crate) const fn last(&self) -> Option<u64> {
        self.last
    }

    /// Reports that are over and were not taken.
    pub(crate) fn news(&self) -> usize {
        self.ear.new.len()
    }

    /// Records that need not be heard again and that the tally does not tell of yet. While a report is being told there are no more of them,
    /// however long it is: there is nothing to be noted then.
    pub(crate) fn records_untold(&self) -> u64 {
        let told = self.ear.tally.through.unwrap_or(0);
        self.over().unwrap_or(0).saturating_sub(told)
    }

    /// The last record that needs not be heard again.
    fn over(&self) -> Option<u64> {
        match self.collector.unfinished_from() {
            Some(first) => first.checked_sub(1),
            None => self.last,
        }
    }

    /// Takes what is to be kept: the reports that are over, and what needs not be heard again. `counted` is what the kernel had counted
    /// before the last record was asked for.
    pub(crate) fn take(&mut self, counted: Option<u64>) -> (Vec<Entry>, Tally) {
        let over = self.over();
        let ear = &mut self.ear;
        ear.tally.through = over.max(ear.tally.through);
        while let Some(mark) = ear.ahead.front()
            && Some(mark.sequence) <= ear.tally.through
        {
            ear.tally.kill_lines = ear.tally.kill_lines.saturating_add(mark.kill_lines);
            ear.tally.lost = ear.tally.lost.saturating_add(mark.lost);
            ear.ahead.pop_front();
        }
        ear.tally.counted = counted.or(ear.tally.counted);
        ear.recent.forget(&ear.tally);
        (std::mem::take(&mut ear.new), ear.tally.clone())
    }

    /// Kills that were told of and lost records, those of reports that are not yet over included.
    pub(crate) fn heard(&self) -> (u64, u64) {
        let ear = &self.ear;
        let sum = |of: fn(&Mark) -> u64| ear.ahead.iter().map(of).fold(0, u64::saturating_add);
        (
            ear.tally.told().saturating_add(sum(|mark| mark.kill_lines)),
            ear.tally.lost.saturating_add(sum(|mark| mark.lost)),
        )
    }

    fn count(&mut self, record: &Record<'_>) {
        let through = self.ear.tally.through;
        // What was heard before was counted then; before the first one is what the ring no longer held.
        let expected = self.last.max(through).map_or(0, |last| last.saturating_add(1));
        let lost = record.sequence.saturating_sub(expected);
        self.last = Some(record.sequence);
        if through.is_some_and(|through| record.sequence <= through) {
            return;
        }
        let kill_lines = u64::from(self.is_kill_line(record));
        if kill_lines + lost == 0 {
            return;
        }
        let mark = Mark {
            sequence: record.sequence,
            kill_lines,
            lost,
        };
        let ahead = &mut self.ear.ahead;
        let is_full = ahead.len() >= AHEAD_MAX;
        match ahead.back_mut().filter(|_| is_full) {
            Some(last) => last.join(mark),
            None => ahead.push_back(mark),
        }
    }

    fn is_kill_line(&mut self, record: &Record<'_>) -> bool {
        // Nearly every line begins with another letter, and is not decoded.
        if !matches!(record.text.first(), Some(b'K' | b'M' | b'O')) || !record.is_kernels() {
            return false;
        }
        self.decoded.resize(record.text.len(), 0);
        let text = unescape_into(record.text, &mut self.decoded);
        matches!(Part::of(text), Some(Part::Killed(_)))
    }
}

impl Ear {
    /// `is_over` is false for what the log ends within: who is only named there may have its kill line yet to come.
    fn hear(&mut self, mut report: Report, is_over: bool) {
        let Self { tally, recent, .. } = self;
        let is_news = |when: &When, recent: &Recent| {
            let is_later = |sequence: u64| tally.through.is_none_or(|through| sequence > through);
            when.sequence
                .is_some_and(|sequence| is_later(sequence) && !recent.knows(sequence))
        };
        let is_worth_it =
            !report.victims.is_empty() || (report.no_killable > 0 && is_news(&report.when, recent));
        let was_killed = !report.victims.is_empty();
        report.victims.retain(|victim| {
            if recent.take_traced(victim) {
                // A line that was read before has taken it out of the count then.
                let is_counted = is_news(&victim.when, recent);
                tally.traced = tally.traced.saturating_sub(u64::from(is_counted));
                return false;
            }
            let is_same = recent.is_same(victim);
            let is_told = matches!(victim.seen, Seen::KillLine | Seen::SharesMemory);
            is_news(&victim.when, recent) && !is_same && (is_told || is_over)
        });
        if !is_worth_it || (was_killed && report.victims.is_empty()) {
            return;
        }
        let entry = Entry::new(tally.boot.clone(), self.zero_micros, report);
        self.new.push(entry);
    }
}

#[cfg(test)]
mod tests;
