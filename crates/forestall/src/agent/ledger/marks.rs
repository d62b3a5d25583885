//! What the kernel's tracing has told of kills: those whom the OOM killer marked and of whom no line has come yet, and who else was
//! sent SIGKILL.
//!
//! The OOM killer sends SIGKILL and then marks, on one processor and in the name of whoever needed memory. A mark without that signal is
//! of somebody who was ending anyway, and a signal without a mark is not for memory.
//!
//! It reads nothing and is bounded: beyond so many the oldest are forgotten, and counted.

use std::collections::VecDeque;

use forestall_decide::{Moment, Span};
use forestall_kernel::kmsg::When;
use forestall_kernel::oom::{Piece, Report, Seen, Victim};
use forestall_kernel::tracing::{Comm, KillSignal, MarkedVictim, TraceEvent};

/// A mark waits so long for its line; a disk that hangs holds up both.
const LINE_COMES_WITHIN: Span = Span::secs(3);
/// What is told of one process within this time is one kill, microseconds.
const SAME_MICROS: u64 = 5_000_000;
/// So many marks wait. The machine's buffers hold fewer than this for each of a few processors.
const MARKS_MAX: usize = 2048;
/// A signal comes right before its mark.
const SIGNALS_MAX: usize = 64;
/// So many of those who were put into cgroups are remembered.
const MOVED_MAX: usize = 256;
/// So many signals of others are told of at one look.
const SENT_MAX: usize = 64;
/// So many of them to processes of one name, and of one sender: the others are counted with the last of them.
const SENT_ALIKE_MAX: usize = 16;
const SENT_OF_SENDER_MAX: usize = 8;

/// Somebody who was marked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    heard: Moment,
    /// By the clock of the log.
    at_micros: u64,
    /// For whom the kernel was at work.
    pub(super) for_pid: u32,
    /// The kernel sent it SIGKILL for that.
    is_killed: bool,
    marked: MarkedVictim,
    comm: Comm,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The last ones, and whether somebody asked since: whoever asks may do so between a signal and its mark.
    signals: Vec<(KillSignal, bool)>,
    waiting: VecDeque<Mark>,
    /// Those that were overdue and are just being told of.
    kept: Vec<Mark>,
    /// Those who were marked since somebody asked.
    fresh: Vec<u32>,
    /// Each with how many more like it there were.
    sent: Vec<(KillSignal, u64)>,
    /// Who was put into which cgroup.
    moved: Vec<(u32, Box<[u8]>)>,
    /// Signals that were more than could be told of, and marks that were forgotten.
    pub(super) untold: u64,
    /// Marks that no signal came with: of those who were ending anyway, or the signal was lost.
    pub(super) unsigned: u64,
}

impl Marks {
    pub(super) fn hear(&mut self, event: &TraceEvent, now: Moment) {
        match event {
            TraceEvent::Signal(signal) => self.hear_signal(*signal),
            TraceEvent::Marked(marked) => self.hear_mark(*marked, now),
        }
    }

    fn hear_signal(&mut self, signal: KillSignal) {
        // Whoever moved to another processor between the two is read in any order.
        let is_its = |mark: &&mut Mark| {
            let marked = &mark.marked;
            !mark.is_killed && (marked.pid, marked.trigger_pid) == (signal.pid, signal.sender_pid)
        };
        if let Some(mark) = self.waiting.iter_mut().rev().find(is_its) {
            (mark.is_killed, mark.comm) = (true, signal.comm);
            return;
        }
        if self.signals.len() == SIGNALS_MAX {
            let (oldest, is_told) = self.signals.remove(0);
            if !is_told {
                self.pass_on(oldest);
            }
        }
        self.signals.push((signal, false));
    }

    fn hear_mark(&mut self, marked: MarkedVictim, now: Moment) {
        // Before Linux 5.4 the OOM killer's signal has the code of kill(2): it is told by whom it was sent in the name of.
        let is_its = |(signal, _): &(KillSignal, bool)| {
            (signal.pid, signal.sender_pid) == (marked.pid, marked.trigger_pid)
        };
        let place = self.signals.iter().rposition(is_its);
        let signal = place.map(|place| self.signals.remove(place).0);
        let (Ok(pid), Ok(for_pid)) = (u32::try_from(marked.pid), u32::try_from(marked.trigger_pid)) else {
            return;
        };
        if self.waiting.len() == MARKS_MAX {
            self.waiting.pop_front();
            self.untold = self.untold.saturating_add(1);
        }
        let comm = signal.map(|signal| signal.comm).or(marked.comm);
        self.waiting.push_back(Mark {
            heard: now,
            at_micros: marked.at_nanos / 1000,
            for_pid,
            is_killed: signal.is_some(),
            marked,
            comm: comm.unwrap_or_default(),
        });
        self.fresh.push(pid);
    }

    /// A signal that no mark has followed. The kernel's own are for memory only where one has.
    fn pass_on(&mut self, signal: KillSignal) {
        if signal.is_kernels() {
            return;
        }
        // A loop leaves room for the rare ones that come beside it.
        let is_of_sender = |other: &KillSignal| other.sender_pid == signal.sender_pid;
        let is_alike = |(other, _): &&(KillSignal, u64)| other.comm == signal.comm;
        let alike = self.sent.iter().filter(is_alike).count();
        let of_sender = self
            .sent
            .iter()
            .filter(|one| is_alike(one) && is_of_sender(&one.0));
        if of_sender.count() < SENT_OF_SENDER_MAX && alike < SENT_ALIKE_MAX && self.sent.len() < SENT_MAX {
            self.sent.push((signal, 0));
            return;
        }
        let of_sender = |one: &(KillSignal, u64)| is_alike(&one) && is_of_sender(&one.0);
        let place = self.sent.iter().rposition(of_sender);
        let place = place.or_else(|| self.sent.iter().rposition(|one| is_alike(&one)));
        match place.and_then(|place| self.sent.get_mut(place)) {
            Some((_, more)) => *more = more.saturating_add(1),
            None => self.untold = self.untold.saturating_add(1),
        }
    }

    pub(super) fn hear_moved(&mut self, pid: i32, path: &[u8]) {
        let Ok(pid) = u32::try_from(pid) else { return };
        if self.moved.len() == MOVED_MAX {
            self.moved.remove(0);
        }
        self.moved.push((pid, path.into()));
    }

    /// Where somebody of this number was put last. It may have been another one.
    pub(super) fn place_of(&self, pid: u32) -> Option<&[u8]> {
        let moved = self.moved.iter().rev().find(|(other, _)| *other == pid);
        moved.map(|(_, path)| &**path)
    }

    /// Those who were marked since the last time.
    pub(super) fn fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// Those who were sent SIGKILL by somebody since the last time.
    pub(super) fn sent(&mut self) -> Vec<(KillSignal, u64)> {
        let mut signals = std::mem::take(&mut self.signals);
        for (signal, is_told) in &mut signals {
            if !std::mem::replace(is_told, true) {
                self.pass_on(*signal);
            }
        }
        self.signals = signals;
        std::mem::take(&mut self.sent)
    }

    /// A line has told of this one, too.
    pub(super) fn take(&mut self, victim: &Victim) -> Option<Mark> {
        let is_same = |mark: &Mark| {
            let is_near = |micros: u64| micros.abs_diff(mark.at_micros) < SAME_MICROS;
            u32::try_from(mark.marked.pid) == Ok(victim.pid) && victim.when.micros.is_none_or(is_near)
        };
        if let Some(place) = self.kept.iter().position(is_same) {
            return Some(self.kept.swap_remove(place));
        }
        let place = self.waiting.iter().position(is_same)?;
        self.waiting.remove(place)
    }

    /// This one is told of without a line.
    pub(super) fn keep(&mut self, mark: Mark) {
        self.kept.push(mark);
    }

    /// All of those have been told of.
    pub(super) fn forget_kept(&mut self) {
        self.kept = Vec::new();
    }

    /// Those of whom no line will come: at once where nobody reads any. One whose signal has not been read waits for that in any case.
    pub(super) fn overdue(&mut self, now: Moment, are_lines_read: bool) -> Vec<Mark> {
        let mut overdue = Vec::new();
        let unsigned = &mut self.unsigned;
        self.waiting.retain(|mark| {
            let is_over = !are_lines_read && mark.is_killed || now.since(mark.heard) >= LINE_COMES_WITHIN;
            if is_over && mark.is_killed {
                overdue.push(*mark);
            } else if is_over {
                *unsigned = unsigned.saturating_add(1);
            }
            !is_over
        });
        if self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
        }
        overdue
    }

    /// When there is somebody overdue.
    pub(super) fn patience(&self, now: Moment) -> Option<Span> {
        let first = self.waiting.front()?;
        Some(Span(LINE_COMES_WITHIN.0.saturating_sub(now.since(first.heard).0)))
    }
}

impl Mark {
    /// A report of nothing but this.
    pub(super) fn report(&self) -> Report {
        let marked = &self.marked;
        let when = When {
            micros: Some(self.at_micros),
            ..When::default()
        };
        let mut report = Report {
            when,
            ..Report::default()
        };
        report.pieces.add(Piece::Mark);
        let mut victim = Victim {
            when,
            pid: u32::try_from(marked.pid).unwrap_or(0),
            comm: self.comm.as_bytes().into(),
            seen: Seen::Marked,
            ..Victim::default()
        };
        self.complete(&mut victim);
        report.victims.push(victim);
        report
    }

    /// Adds what no line has told of a victim.
    pub(super) fn complete(&self, victim: &mut Victim) {
        let memory = self.marked.memory;
        victim.uid = victim.uid.or(self.marked.uid);
        victim.adj = victim.adj.or(self.marked.oom_score_adj);
        victim.total_vm = victim.total_vm.or(memory.map(|memory| memory.total_vm_bytes));
        victim.anon = victim.anon.or(memory.map(|memory| memory.anon_bytes));
        victim.file = victim.file.or(memory.map(|memory| memory.file_bytes));
        victim.shmem = victim.shmem.or(memory.map(|memory| memory.shmem_bytes));
        victim.page_tables = victim
            .page_tables
            .or(memory.map(|memory| memory.page_tables_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(pid: i32, sender_pid: i32, code: i32) -> TraceEvent {
        TraceEvent::Signal(KillSignal {
            at_nanos: 1_000_000_000,
            sender_pid,
            pid,
            comm: Comm::of(b"java"),
            code,
            is_for_group: true,
            result: 0,
        })
    }

    fn mark(pid: i32, trigger_pid: i32) -> TraceEvent {
        TraceEvent::Marked(MarkedVictim {
            at_nanos: 1_000_050_000,
            trigger_pid,
            pid,
            comm: None,
            uid: None,
            oom_score_adj: None,
            memory: None,
        })
    }

    fn heard(events: &[TraceEvent]) -> Marks {
        let mut marks = Marks::default();
        for event in events {
            marks.hear(event, Moment(0));
        }
        marks
    }

    /// Code 128 is the kernel's (`SI_KERNEL`), 0 is kill(2) and, before Linux 5.4, the OOM killer's, too.
    #[test]
    fn a_kill_is_a_signal_and_a_mark_in_one_name() {
        for code in [128, 0] {
            let mut marks = heard(&[signal(7, 5, code), mark(7, 5)]);
            assert_eq!(marks.fresh(), [7]);
            assert!(marks.sent().is_empty(), "it is the kernel's");
            let all = marks.overdue(Moment(0), false);
            let report = all.first().expect("a kill").report();
            let victim = &report.victims[0];
            assert_eq!(
                (victim.pid, &*victim.comm, all[0].for_pid, victim.when.micros),
                (7, &b"java"[..], 5, Some(1_000_050))
            );
        }
        // Somebody who was ending already, and somebody whom another one killed at the same time.
        assert!(heard(&[mark(7, 5)]).overdue(Moment(0), false).is_empty());
        let mut marks = heard(&[signal(7, 99, 0), mark(7, 5)]);
        assert!(marks.overdue(Moment(0), false).is_empty());
        let sent = marks.sent();
        assert_eq!((sent.len(), sent[0].0.sender_pid), (1, 99));
        // The end of a PID namespace.
        assert!(heard(&[signal(7, 5, 128)]).sent().is_empty());
    }

    #[test]
    fn a_mark_that_is_read_before_its_signal_is_a_kill_all_the_same() {
        let mut marks = heard(&[mark(7, 5), mark(8, 5)]);
        assert!(marks.overdue(Moment(0), false).is_empty(), "the signal may come");
        marks.hear(&signal(7, 5, 128), Moment(1));
        let killed: Vec<i32> = marks
            .overdue(Moment(1), false)
            .iter()
            .map(|mark| mark.marked.pid)
            .collect();
        assert_eq!(killed, [7]);
        assert!(marks.sent().is_empty(), "it is the kernel's");
        assert_eq!(
            (marks.overdue(Moment(3_000_000), true).len(), marks.unsigned),
            (0, 1)
        );
    }

    #[test]
    fn whoever_asks_between_a_signal_and_its_mark_parts_no_kill() {
        let mut marks = heard(&[signal(7, 5, 128), signal(8, 99, 0)]);
        assert_eq!(marks.sent().len(), 1);
        assert!(marks.sent().is_empty(), "each is told once");
        marks.hear(&mark(7, 5), Moment(0));
        assert_eq!(marks.overdue(Moment(0), false).len(), 1);
    }

    #[test]
    fn a_mark_waits_for_its_line_and_is_told_once() {
        let line = |pid, micros| Victim {
            pid,
            when: When {
                micros: Some(micros),
                ..When::default()
            },
            ..Victim::default()
        };
        let mut marks = heard(&[signal(7, 5, 128), mark(7, 5), signal(8, 5, 128), mark(8, 5)]);
        assert!(marks.take(&line(9, 1_000_000)).is_none());
        assert!(
            marks.take(&line(7, 9_000_000)).is_none(),
            "a later one of the same number"
        );
        assert_eq!(marks.take(&line(7, 1_020_000)).map(|mark| mark.for_pid), Some(5));
        assert!(marks.take(&line(7, 1_020_000)).is_none());
        assert_eq!(marks.patience(Moment(1_000_000)), Some(Span(2_000_000)));
        assert!(marks.overdue(Moment(2_999_999), true).is_empty());
        assert_eq!(marks.overdue(Moment(3_000_000), true).len(), 1);
        assert_eq!(marks.patience(Moment(3_000_000)), None);
    }

    #[test]
    fn whoever_is_rare_is_told_of_beside_a_loop() {
        let mut marks = Marks::default();
        for pid in 0..1000 {
            marks.hear(&signal(pid, 5, 0), Moment(0));
            if pid == 900 {
                marks.hear(&signal(7777, 6, 0), Moment(0));
            }
        }
        let sent = marks.sent();
        let told: Vec<(i32, u64)> = sent.iter().map(|(one, more)| (one.sender_pid, *more)).collect();
        let expected = [(5, 0); SENT_OF_SENDER_MAX - 1].into_iter();
        assert_eq!(told, expected.chain([(5, 992), (6, 0)]).collect::<Vec<_>>());
    }

    #[test]
    fn no_flood_of_marks_or_signals_fills_the_memory() {
        let mut marks = Marks::default();
        for pid in 0..10_000 {
            marks.hear(&signal(pid, 10_000 + pid, 0), Moment(0));
            marks.hear(&mark(pid, 2), Moment(0));
        }
        assert_eq!(marks.waiting.len(), MARKS_MAX);
        let sent = marks.sent();
        assert_eq!(sent.len(), SENT_ALIKE_MAX);
        assert_eq!(sent.iter().map(|(_, more)| 1 + more).sum::<u64>(), 10_000);
        assert!(marks.untold > 0, "marks were forgotten");
        for pid in 0..1000 {
            marks.hear_moved(pid % 300, b"/a");
            marks.hear_moved(pid % 300, format!("/{pid}").as_bytes());
        }
        assert_eq!(marks.moved.len(), MOVED_MAX);
        assert_eq!(marks.place_of(99), Some(&b"/999"[..]));
        assert_eq!(marks.place_of(200), None);
    }
}
