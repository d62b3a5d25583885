//! What is new in the kernel's log goes into the ledger: every record is heard once, whoever was interrupted in between.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use forestall_kernel::kmsg::{Line, Record, When, unescape_into};
use forestall_kernel::oom::{Collector, Part, Report, Seen};
use forestall_kernel::parse::Vmstat;

use super::book::Book;
use super::entry::{Entry, Tally};
use crate::forensics::source::open_kernel;
use crate::forensics::time::zero_of_log_clock;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const VMSTAT: &str = "/proc/vmstat";

/// Which boot it is, and what the kernel itself counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Now {
    /// `/proc/sys/kernel/random/boot_id`.
    boot: Box<[u8]>,
    /// What the wall clock read when the log's clock read 0.
    zero_micros: i64,
    /// `oom_kill` of `/proc/vmstat`.
    counted: Option<u64>,
}

/// A process of the same number that is killed so soon after is the same one: of a group the kernel tells the first one twice.
const SAME_MICROS: u64 = 5_000_000;

/// Hears records from the oldest that there is, and keeps what is new.
#[derive(Debug)]
struct Intake {
    now: Now,
    tally: Tally,
    /// Lines of this boot that entries are about, which a write that was cut short has left without a tally.
    known: BTreeSet<u64>,
    /// When each process was killed last.
    killed: BTreeMap<u32, u64>,
    last: Option<u64>,
    is_first: bool,
    decoded: Vec<u8>,
    new: Vec<Entry>,
}

impl Intake {
    fn count(&mut self, record: &Record<'_>) {
        let heard = self.tally.through;
        if self.is_first {
            self.is_first = false;
            // What the ring no longer held.
            let expected = heard.map_or(0, |heard| heard.saturating_add(1));
            self.tally.lost = self
                .tally
                .lost
                .saturating_add(record.sequence.saturating_sub(expected));
        } else if let Some(last) = self.last {
            // A hole among records that were heard before was counted then.
            let hole = record
                .sequence
                .saturating_sub(last.max(heard.unwrap_or(0)).saturating_add(1));
            self.tally.lost = self.tally.lost.saturating_add(hole);
        }
        self.last = Some(record.sequence);
        if heard.is_some_and(|heard| record.sequence <= heard) || !record.is_kernels() {
            return;
        }
        self.decoded.resize(record.text.len(), 0);
        let text = unescape_into(record.text, &mut self.decoded);
        if matches!(Part::of(text), Some(Part::Killed(_))) {
            self.tally.kill_lines = self.tally.kill_lines.saturating_add(1);
        }
    }

    /// `is_over` is false for what the log ends within: who is only named there may have its kill line yet to come.
    fn hear(&mut self, mut report: Report, is_over: bool) {
        let Self {
            tally, known, killed, ..
        } = self;
        let is_news = |when: &When| {
            let is_later = |sequence: u64| tally.through.is_none_or(|through| sequence > through);
            when.sequence
                .is_some_and(|sequence| is_later(sequence) && !known.contains(&sequence))
        };
        let is_worth_it = !report.victims.is_empty() || (report.no_killable > 0 && is_news(&report.when));
        let was_killed = !report.victims.is_empty();
        report.victims.retain(|victim| {
            let micros = victim.when.micros.unwrap_or(0);
            let before = killed.insert(victim.pid, micros);
            let is_same = before.is_some_and(|before| micros.saturating_sub(before) < SAME_MICROS);
            let is_told = matches!(victim.seen, Seen::KillLine | Seen::SharesMemory);
            is_news(&victim.when) && !is_same && (is_told || is_over)
        });
        if !is_worth_it || (was_killed && report.victims.is_empty()) {
            return;
        }
        let entry = Entry {
            boot: self.now.boot.clone(),
            zero_micros: self.now.zero_micros,
            report,
        };
        self.known.extend(entry.sequences());
        self.new.push(entry);
    }
}

/// So many times the kernel may kill somebody while its log is being read before a look is taken as it is.
const LOOKS_MAX: usize = 3;

/// Takes what is new in this machine's log into a book.
pub(crate) fn take_in_now(book: &mut Book) -> anyhow::Result<Tally> {
    let boot = std::fs::read(BOOT_ID).context(BOOT_ID)?;
    let zero_micros = zero_of_log_clock();
    let mut look = |counted: Option<u64>| {
        let mut reader = open_kernel()?;
        let now = Now {
            boot: boot.trim_ascii().into(),
            zero_micros,
            counted,
        };
        take_in(book, now, |hear| {
            while let Some(record) = reader.next_record()? {
                hear(&record);
            }
            Ok(())
        })
    };
    let mut counted = count()?;
    let mut tally = look(counted)?;
    // The kernel counts before it tells, so that a count in between would be ahead of what could be heard.
    for _ in 1..LOOKS_MAX {
        let again = count()?;
        if again == counted {
            break;
        }
        counted = again;
        tally = look(counted)?;
    }
    Ok(tally)
}

fn count() -> anyhow::Result<Option<u64>> {
    let vmstat = std::fs::read(VMSTAT).context(VMSTAT)?;
    Ok(Vmstat::parse(&vmstat).oom_kills)
}

/// Takes what is new into a book. `read` is called once, with whatever hears the records, each as it comes and all from the oldest on.
/// Returns what
/// was heard by now.
fn take_in(
    book: &mut Book,
    now: Now,
    read: impl FnOnce(&mut dyn FnMut(&Record<'_>)) -> anyhow::Result<()>,
) -> anyhow::Result<Tally> {
    let mut intake = Intake {
        tally: book.tally(&now.boot),
        known: book.known(&now.boot),
        killed: book.killed(&now.boot),
        last: None,
        is_first: true,
        decoded: Vec::new(),
        new: Vec::new(),
        now,
    };
    let mut collector = Collector::new();
    read(&mut |record| {
        intake.count(record);
        collector.hear(&Line::of_record(record), &mut |report| intake.hear(report, true));
    })?;
    collector.finish(&mut |report| intake.hear(report, false));
    let Intake {
        mut tally,
        new,
        last,
        now,
        ..
    } = intake;
    tally.through = last.max(tally.through);
    tally.counted = now.counted.or(tally.counted);
    if !new.is_empty() || tally != book.tally(&now.boot) {
        book.append(new, tally.clone())?;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests;
