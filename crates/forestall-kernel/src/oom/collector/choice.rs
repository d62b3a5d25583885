//! Which of the open reports a line belongs to, and which of them are over.

use super::super::attribution::{Evidence, Open, Stage};
use super::super::join::Head;
use super::super::kill::Kill;
use super::super::report::{Report, Seen};
use super::{Collector, Recent, STORM_MICROS, padded};
use crate::kmsg::{Caller, When};

/// So many reports are open at once. Kernels from 4.2 on print one at a time (`oom_lock`).
const OPEN_MAX: usize = 16;

/// So many victims are in one report; the next ones of the same group come in another.
const VICTIMS_MAX: usize = 256;

/// So many kinds of fruitless search are told apart at once.
const STORMS_MAX: usize = 8;

/// So many victims are remembered, to know whom the reaper speaks of.
const RECENT_MAX: usize = 1024;

/// A report without its kill is given up when nothing of it has come for so long. Records have numbers, so that nothing can be missing
/// between them unseen; lines of a file may have been left out, and one of the next report's must not be taken for one of this.
const SILENCE_MICROS: u64 = 10_000_000;
const SILENCE_IN_FILES_MICROS: u64 = 500_000;

/// A report with its kill waits so long for the rest of a group, and for the reaper.
const ENDED_MICROS: u64 = 1_000_000;

/// The same in lines, for files without any time.
const SILENCE_LINES: u32 = 4096;
const ENDED_LINES: u32 = 64;

impl Collector {
    /// The report of this caller that is furthest, of those that `fits` takes. Two that are equally far and of which nobody says who prints
    /// cannot be told apart: then it is none.
    #[inline(never)]
    pub(super) fn latest(&self, caller: Option<Caller>, fits: &dyn Fn(&Open) -> bool) -> Option<usize> {
        let is_candidate = |open: &Open| open.caller == caller && !open.is_torn && fits(open);
        let stages = self
            .open
            .iter()
            .enumerate()
            .filter(|(_, open)| is_candidate(open));
        let (stage, index) = stages.clone().map(|(index, open)| (open.stage, index)).max()?;
        let is_rival = |(other, open): (usize, &Open)| other != index && open.stage == stage;
        let is_unclear = caller.is_none() && stage < Stage::Ended && stages.clone().any(is_rival);
        (!is_unclear).then_some(index)
    }

    /// The report that a line after such a stage belongs to, which is begun if there is none.
    #[inline(never)]
    pub(super) fn target(
        &mut self,
        head: &Head,
        is_before: &dyn Fn(Stage) -> bool,
        done: &mut dyn FnMut(Report),
    ) -> usize {
        let fits = |open: &Open| open.stage != Stage::Asked && is_before(open.stage);
        let found = self.latest(head.caller, &fits);
        found.unwrap_or_else(|| self.begin_anew(head, done))
    }

    /// The report of this caller that has its kill, for a line that comes after one.
    pub(super) fn ended(&mut self, head: &Head, done: &mut dyn FnMut(Report)) -> usize {
        let found = self.latest(head.caller, &|open| open.stage == Stage::Ended);
        found.unwrap_or_else(|| self.begin_anew(head, done))
    }

    /// The report that tells of this process, before `stage`.
    pub(super) fn teller(&self, head: &Head, pid: u32, stage: Stage) -> Option<usize> {
        // Between numbered records nothing is missing unseen. In a file a verdict or a choice follows the table at once, and a kill
        // names somebody who has been named.
        let is_trusted = head.when.sequence.is_some() || stage < Stage::Ended;
        let evidence = |open: &Open| match open.evidence(pid, stage) {
            Evidence::Unknown if !is_trusted || open.is_torn => Evidence::Against,
            evidence => evidence,
        };
        let is_candidate =
            |open: &Open| open.caller == head.caller && open.stage != Stage::Asked && open.stage < stage;
        let all = self
            .open
            .iter()
            .enumerate()
            .filter(|(_, open)| is_candidate(open));
        let mut fitting = all
            .map(|(index, open)| (evidence(open), open.stage, index))
            .filter(|(evidence, ..)| *evidence != Evidence::Against);
        let best = fitting.clone().max()?;
        // Of two that may be it, and of which nobody says who prints, neither is.
        let is_unclear =
            head.caller.is_none() && best.0 == Evidence::Unknown && fitting.any(|other| other != best);
        (!is_unclear).then_some(best.2)
    }

    /// The same; a report is begun if there is none.
    #[inline(never)]
    pub(super) fn place(
        &mut self,
        head: &Head,
        pid: u32,
        stage: Stage,
        done: &mut dyn FnMut(Report),
    ) -> usize {
        let found = self.teller(head, pid, stage);
        found.unwrap_or_else(|| self.begin_anew(head, done))
    }

    /// Begins a report; what this caller has brought to its end is over.
    #[inline(never)]
    pub(super) fn begin_anew(&mut self, head: &Head, done: &mut dyn FnMut(Report)) -> usize {
        let is_over = |open: &Open| open.caller == head.caller && open.stage == Stage::Ended;
        while let Some(index) = self.open.iter().position(is_over) {
            self.close(index, done);
        }
        self.begin(head, done)
    }

    pub(super) fn begin(&mut self, head: &Head, done: &mut dyn FnMut(Report)) -> usize {
        self.make_room(done);
        let mut open = Open::new(head);
        open.report.has_gap = std::mem::take(&mut self.is_after_gap);
        self.open.push(open);
        self.open.len() - 1
    }

    pub(super) fn make_room(&mut self, done: &mut dyn FnMut(Report)) {
        while self.open.len() >= OPEN_MAX {
            self.close(0, done);
        }
    }

    /// Whoever begins a report has no other any more. Where nobody says who prints, two may have just begun.
    pub(super) fn close_before_header(&mut self, caller: Option<Caller>, done: &mut dyn FnMut(Report)) {
        let is_over = |open: &Open| {
            let has_begun = caller.is_some() || open.stage > Stage::Banner;
            open.caller == caller && has_begun && open.stage != Stage::Asked
        };
        while let Some(index) = self.open.iter().position(is_over) {
            self.close(index, done);
        }
    }

    /// Closes what nothing has come of for long.
    pub(super) fn expire(&mut self, now: &When, done: &mut dyn FnMut(Report)) {
        for open in &mut self.open {
            open.silence = open.silence.saturating_add(1);
        }
        let is_over = |open: &Open| {
            let has_ended = open.stage == Stage::Ended;
            let lines = if has_ended { ENDED_LINES } else { SILENCE_LINES };
            // Whoever is named can wait for its kill: a kill of somebody else is not taken for it.
            let is_safe = now.sequence.is_some() || open.stage >= Stage::Verdict;
            let micros = match (has_ended, is_safe) {
                (true, _) => ENDED_MICROS,
                (false, true) => SILENCE_MICROS,
                (false, false) => SILENCE_IN_FILES_MICROS,
            };
            match now.micros_since(&open.last) {
                Some(passed) => passed > micros,
                None => open.silence > lines,
            }
        };
        while let Some(index) = self.open.iter().position(is_over) {
            self.close(index, done);
        }
        let is_calm = |since: &When| {
            now.micros_since(since)
                .is_some_and(|passed| passed > SILENCE_MICROS)
        };
        while let Some(index) = self.storms.iter().position(|(_, since)| is_calm(since)) {
            done(self.storms.remove(index).0);
        }
    }

    /// Of a group the first is told twice, and what lay between may have been lost.
    pub(super) fn is_repeat(&self, kill: &Kill<'_>, now: &When) -> bool {
        let is_same = |recent: &&Recent| recent.pid == kill.pid && recent.is_by_kill_line;
        let last = self.recent.iter().rev().find(is_same);
        last.is_some_and(|last| match now.micros_since(&last.when) {
            Some(passed) => passed <= ENDED_MICROS,
            None => last.total_vm == kill.total_vm,
        })
    }

    pub(super) fn close_ended(&mut self, done: &mut dyn FnMut(Report)) {
        while let Some(index) = self.open.iter().position(|open| open.stage == Stage::Ended) {
            self.close(index, done);
        }
    }

    pub(super) fn close_all(&mut self, done: &mut dyn FnMut(Report)) {
        while !self.open.is_empty() {
            self.close(0, done);
        }
    }

    pub(super) fn close(&mut self, index: usize, done: &mut dyn FnMut(Report)) {
        let open = self.open.remove(index);
        let last = open.last;
        if !open.is_told() {
            self.emit(open.close(), last, done);
        }
    }

    /// Hands out what a group has so far when that is all that a report holds.
    pub(super) fn drain_full(&mut self, index: usize, head: &Head, done: &mut dyn FnMut(Report)) {
        let full = self
            .open
            .get_mut(index)
            .filter(|open| open.report.victims.len() >= VICTIMS_MAX);
        if let Some(report) = full.map(Open::drain) {
            self.emit(report, head.when, done);
        }
    }

    /// Hands a report out; one that nobody could be killed is held back and counted with those like it.
    pub(super) fn emit(&mut self, report: Report, last: When, done: &mut dyn FnMut(Report)) {
        for victim in &report.victims {
            if self.recent.len() >= RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(Recent {
                pid: victim.pid,
                comm: padded(&victim.comm),
                when: victim.when,
                total_vm: victim.total_vm,
                is_by_kill_line: victim.seen == Seen::KillLine,
            });
        }
        let is_vain = report.no_killable > 0 && report.victims.is_empty();
        if !is_vain {
            return done(report);
        }
        let alike = self
            .storms
            .iter_mut()
            .find(|(storm, _)| are_alike(storm, &report));
        if let Some((storm, since)) = alike {
            // One that goes on has to be told of while somebody can still do something.
            let lasts = report.when.micros_since(&storm.when);
            if lasts.is_some_and(|lasts| lasts > STORM_MICROS) {
                *since = last;
                return done(std::mem::replace(storm, report));
            }
            storm.no_killable = storm.no_killable.saturating_add(report.no_killable);
            storm.suppressed = storm.suppressed.saturating_add(report.suppressed);
            storm.has_gap |= report.has_gap;
            storm.pieces.join(report.pieces);
            *since = last;
            return;
        }
        if self.storms.len() >= STORMS_MAX {
            done(self.storms.remove(0).0);
        }
        self.storms.push((report, last));
    }

    pub(super) fn end_storms(&mut self, done: &mut dyn FnMut(Report)) {
        for (storm, _) in self.storms.drain(..) {
            done(storm);
        }
    }
}

/// Processes of one name ask in vain at the same limit: the threads of one, or its brothers. What lost its header in a storm that overran the
/// ring is alike, too.
fn are_alike(one: &Report, other: &Report) -> bool {
    let name = |report: &Report| report.trigger.as_ref().map(|trigger| trigger.comm.clone());
    let is_same_trigger = other.trigger.is_none() || name(one) == name(other);
    let is_same_limit = other.limit.is_none() || one.limit == other.limit;
    is_same_trigger && is_same_limit && one.is_sysrq() == other.is_sysrq()
}
