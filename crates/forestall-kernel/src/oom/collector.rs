//! Lines in, reports out: which line belongs to which report, and when a report is over.
//!
//! Who prints tells reports apart where the kernel says it (`caller=`). Where it does not, the order of lines does, and for lines
//! that name a process the processes of each report. A kill that fits no report that is open is a report of its own: better alone
//! than with somebody else's story.
//!
//! A report is over when its caller begins another, when it has its kill and a second has passed, or when nothing of it has come for long.

mod choice;
mod story;

use std::collections::VecDeque;

use super::attribution::{Open, Stage};
use super::join::{Fit, Head, Joiner};
use super::part::Part;
use super::report::Report;
use crate::kmsg::{Line, Origin, When, unescape_into};

/// No line is decoded further.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The shortest stamp that dmesg has, and what it indents by: `[    1.500000] `.
const STAMP_BYTES_MIN: usize = 15;

/// The lines of a kill follow one another at once, however slow a console is: it is written to by whoever prints next.
const KILL_SILENCE_MICROS: u64 = 10_000;

/// Who is killed with a group is told by those who die, one by one.
const GROUP_SILENCE_MICROS: u64 = 250_000;

/// Whoever finds nobody to kill tries again.
const STORM_SILENCE_MICROS: u64 = 1_000_000;
/// One that lasts is handed out in parts of so long.
const STORM_MICROS: u64 = 30_000_000;

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing of interest, or not the kernel's.
    Nothing,
    /// A part of a report.
    Part,
    /// A kill: whoever raises an alarm need not wait for the report. The kernel tells a group's first twice.
    Kill {
        /// Who was killed.
        pid: u32,
    },
}

/// Puts reports together.
#[derive(Debug)]
pub struct Collector {
    open: Vec<Open>,
    joiner: Joiner,
    decoded: Box<[u8]>,
    sequence: Option<u64>,
    /// When the kernel's last line was written, as far as it says so.
    last: When,
    /// Records were lost while something was told, and what is begun next may lack its beginning.
    is_after_gap: bool,
    /// What was suppressed and belongs to the report that comes next.
    suppressed: u64,
    recent: VecDeque<Recent>,
    /// Reports that nobody could be killed, held back because others like them may follow at once.
    storms: Vec<(Report, When)>,
}

/// A name has at most so many bytes (`TASK_COMM_LEN`, its end included).
const COMM_BYTES: usize = 16;

/// A name with zeros behind it; of one that is longer, which no process has, the beginning.
fn padded(comm: &[u8]) -> [u8; COMM_BYTES] {
    let mut name = [0; COMM_BYTES];
    for (to, from) in name.iter_mut().zip(comm) {
        *to = *from;
    }
    name
}

/// Somebody who was killed a while ago.
#[derive(Clone, Copy, Debug)]
struct Recent {
    pid: u32,
    comm: [u8; COMM_BYTES],
    when: When,
    total_vm: Option<u64>,
    is_by_kill_line: bool,
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector {
    /// With nothing heard.
    pub fn new() -> Self {
        Self {
            open: Vec::new(),
            joiner: Joiner::default(),
            decoded: vec![0; TEXT_BYTES_MAX].into_boxed_slice(),
            sequence: None,
            last: When::default(),
            is_after_gap: false,
            suppressed: 0,
            recent: VecDeque::new(),
            storms: Vec::new(),
        }
    }

    /// Nothing is open: a line that begins no report can be left out.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && !self.joiner.is_holding()
    }

    /// The number of the first line of all that is not over yet: whoever comes back later has to hear again from there on.
    pub fn unfinished_from(&self) -> Option<u64> {
        let open = self.open.iter().map(|open| &open.report);
        let reports = open.chain(self.storms.iter().map(|(report, _)| report));
        let begun = reports.map(|report| report.when).chain(self.joiner.held_since());
        begun.filter_map(|when| when.sequence).min()
    }

    /// How long a silence, microseconds, says that what is told has been told: then [`Self::settle`] ends it. `None`: it would end nothing.
    pub fn silence_micros(&self) -> Option<u64> {
        let ended = self.open.iter().filter(|open| open.stage == Stage::Ended);
        let of_kills = ended.map(|open| {
            if open.is_of_group() {
                GROUP_SILENCE_MICROS
            } else {
                KILL_SILENCE_MICROS
            }
        });
        let of_storms = (!self.storms.is_empty()).then_some(STORM_SILENCE_MICROS);
        of_kills.max().or(of_storms)
    }

    /// The reports that are being told, with what is known of them so far. Their level and what follows from all lines together is not
    /// there yet.
    pub fn open_reports(&self) -> impl Iterator<Item = &Report> {
        self.open.iter().map(|open| &open.report)
    }

    /// Whether a kill of this process has been told not long ago: of this number, and of this name where one is said.
    pub fn has_killed(&self, pid: u32, comm: Option<&[u8]>) -> bool {
        let is_named = |known: &[u8; COMM_BYTES]| comm.is_none_or(|comm| padded(comm) == *known);
        let mut victims = self.open.iter().flat_map(|open| &open.report.victims);
        let mut recent = self.recent.iter();
        recent.any(|recent| recent.pid == pid && is_named(&recent.comm))
            || victims.any(|victim| victim.pid == pid && is_named(&padded(&victim.comm)))
    }

    /// Hears the next line; reports that are over by it go to `done`. Hand in all records of `/dev/kmsg`, whoever wrote them: their
    /// numbers tell what was lost. A line that is nothing to a report costs no allocation.
    pub fn hear(&mut self, line: &Line<'_>, done: &mut dyn FnMut(Report)) -> Heard {
        self.track(line.when.sequence, done);
        if !self.open.is_empty() || !self.storms.is_empty() {
            self.expire(&line.when, done);
        }
        if line.origin == Origin::Other {
            return Heard::Nothing;
        }
        self.follow(&line.when, done);
        let mut heard = Heard::Nothing;
        if self.joiner.is_holding() {
            match self.joiner.offer(line) {
                Fit::Taken => return Heard::Part,
                Fit::Completed => return self.release(done),
                Fit::Over => heard = self.release(done),
                Fit::Between => {}
            }
        }
        let is_held = !self.joiner.is_holding() && self.joiner.hold(line);
        let own = if is_held {
            Heard::Part
        } else {
            self.hear_text(&Head::of(line), line.text, done)
        };
        // A kill that was held back is told now.
        let is_kill = |heard: Heard| matches!(heard, Heard::Kill { .. });
        if own == Heard::Nothing || (is_kill(heard) && !is_kill(own)) {
            heard
        } else {
            own
        }
    }

    /// Nothing has come for a while: what is held is read, and reports that have their kill are over.
    pub fn settle(&mut self, done: &mut dyn FnMut(Report)) {
        self.release(done);
        self.close_ended(done);
        self.end_storms(done);
    }

    /// Nothing more will come.
    pub fn finish(&mut self, done: &mut dyn FnMut(Report)) {
        self.release(done);
        self.close_all(done);
        self.end_storms(done);
    }

    /// Follows the clock of lines without numbers. Only the kernel's: others may write whatever time they like.
    fn follow(&mut self, when: &When, done: &mut dyn FnMut(Report)) {
        if when.micros.is_none() && when.calendar.is_none() {
            return;
        }
        let last = std::mem::replace(&mut self.last, *when);
        if when.sequence.is_none() && when.has_gone_back_behind(&last) {
            // Another boot: nothing of it belongs to what was told before, and its processes have the same numbers again.
            self.release(done);
            self.close_all(done);
            self.recent.clear();
        }
    }

    /// Follows the records' numbers.
    fn track(&mut self, sequence: Option<u64>, done: &mut dyn FnMut(Report)) {
        let Some(sequence) = sequence else { return };
        let Some(last) = self.sequence.replace(sequence) else {
            return;
        };
        if sequence <= last {
            // Another boot, or the same records again.
            self.release(done);
            self.close_all(done);
            self.recent.clear();
        } else if sequence - last > 1 && !self.is_idle() {
            self.release(done);
            self.close_ended(done);
            self.is_after_gap = true;
            for open in &mut self.open {
                open.tear();
            }
        }
    }

    fn release(&mut self, done: &mut dyn FnMut(Report)) -> Heard {
        let Some((head, text)) = self.joiner.take() else {
            return Heard::Nothing;
        };
        let heard = self.hear_text(&head, &text, done);
        self.joiner.give_back(text);
        heard
    }

    fn hear_text(&mut self, head: &Head, text: &[u8], done: &mut dyn FnMut(Report)) -> Heard {
        if !head.is_escaped {
            if !head.is_bare {
                return self.hear_decoded(head, text, done);
            }
            // Pasted text is often indented. What stands as far in as a stamp is long follows a newline within the line above, which is
            // no place for a line of the kernel's: somebody may have put it into a name that the kernel prints.
            let inner = text.trim_ascii_start();
            return match text.len() - inner.len() {
                0..STAMP_BYTES_MIN => self.hear_decoded(head, inner, done),
                _ => self.hear_body(head, inner),
            };
        }
        let mut buffer = std::mem::take(&mut self.decoded);
        let heard = self.hear_decoded(head, unescape_into(text, &mut buffer), done);
        self.decoded = buffer;
        heard
    }

    fn hear_decoded(&mut self, head: &Head, text: &[u8], done: &mut dyn FnMut(Report)) -> Heard {
        match Part::of(text) {
            Some(part) => self.hear_part(head, text, &part, done),
            None => self.hear_body(head, text),
        }
    }
}

#[cfg(test)]
mod tests;
