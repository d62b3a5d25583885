//! What tells of victims more than the kernel's log does: names, `/proc`, the cgroups' counters, and tracing where it is wanted.

use forestall_decide::Span;
use forestall_kernel::oom::{Piece, Report, Victim};

use super::counted::Counted;
use super::names::Names;
use super::traced::Traced;
use super::witness::Witness;
use crate::agent::clock::now;
use crate::forensics::place::Place;
use crate::ledger::{Entry, Home, Intake, Sender, Signal};

/// All of them.
pub(super) struct Eyes {
    pub(super) names: Names,
    pub(super) witness: Witness,
    pub(super) counted: Counted,
    /// `None` where it is not wanted, or cannot be had.
    pub(super) traced: Option<Traced>,
}

impl Eyes {
    /// Hears what tracing tells. Whoever was marked a moment ago is looked at while he is still ending; `is_now` is false for what was
    /// before the agent's start. An error ends it: the log and the counters are left.
    pub(super) fn listen(&mut self, is_now: bool) -> Result<(), String> {
        let Some(traced) = &mut self.traced else {
            return Ok(());
        };
        let heard = traced.read(now());
        for pid in traced.marks.fresh() {
            if is_now {
                self.witness.look(pid, now());
            }
        }
        heard.inspect_err(|_| self.traced = None)
    }

    /// Who was sent SIGKILL by somebody who is not the kernel.
    pub(super) fn signals(&mut self) -> Vec<Signal> {
        let Some(traced) = &mut self.traced else {
            return Vec::new();
        };
        let sent = traced.marks.sent();
        sent.iter().filter_map(|signal| traced.explain(signal)).collect()
    }

    /// Takes in those who were marked and of whom no line has come, or will come.
    pub(super) fn take_in(&mut self, intake: &mut Intake, are_lines_read: bool) {
        let Some(traced) = &mut self.traced else { return };
        for mark in traced.marks.overdue(now(), are_lines_read) {
            if intake.hear_traced(mark.report()) {
                traced.marks.keep(mark);
            }
        }
    }

    /// When a mark has waited long enough for its line, or a count, which waits for a report that is just being told, too.
    pub(super) fn patience(&self, is_silent: bool) -> Option<Span> {
        let traced = self.traced.as_ref();
        let mark = traced.and_then(|traced| traced.marks.patience(now()));
        let count = is_silent.then(|| self.counted.patience(now())).flatten();
        mark.into_iter().chain(count).min()
    }

    /// Notes where the victims of reports lived, and whose limit it was.
    pub(super) fn place(&mut self, entries: &mut [Entry]) {
        let mut seen = Vec::new();
        for report in entries.iter_mut().map(|entry| &mut entry.report) {
            let is_of_group = report.group.is_some();
            for victim in &mut report.victims {
                // Asked of everybody, so that nobody is remembered of whom a line has told.
                let path = self.witness.cgroup_of(victim);
                if victim.memcg.is_none() && !is_of_group {
                    victim.memcg = path;
                    seen.extend(victim.memcg.is_some().then_some(victim.pid));
                }
            }
        }
        let senders = self.senders(entries);
        let traced = self.traced.as_ref();
        let place_of = |pid| traced.and_then(|traced| traced.marks.place_of(pid));
        let counted = self.counted.complete(entries, place_of, now());
        for entry in entries {
            let report = &entry.report;
            let homes = report.victims.iter().map(|victim| {
                let mut home = self.name(report, victim);
                home.is_cgroup_from_proc = seen.contains(&victim.pid);
                home.is_cgroup_from_counters = counted.contains(&victim.pid);
                let of_victim = |(pid, _): &&(u32, Sender)| *pid == victim.pid;
                home.sender = senders.iter().find(of_victim).map(|(_, sender)| sender.clone());
                home
            });
            let homes: Vec<Home> = homes.filter(Home::says_something).collect();
            entry.homes = homes;
        }
    }

    /// Adds what tracing tells of victims, and says for whom the kernel killed them.
    fn senders(&mut self, entries: &mut [Entry]) -> Vec<(u32, Sender)> {
        let Some(traced) = &mut self.traced else {
            return Vec::new();
        };
        let mut senders = Vec::new();
        for report in entries.iter_mut().map(|entry| &mut entry.report) {
            for victim in &mut report.victims {
                if let Some(mark) = traced.marks.take(victim) {
                    mark.complete(victim);
                    report.pieces.add(Piece::Mark);
                    senders.push((
                        victim.pid,
                        traced.kernel_for(mark.for_pid, victim.pid, &victim.comm),
                    ));
                }
            }
        }
        traced.marks.forget_kept();
        senders
    }

    fn name(&mut self, report: &Report, victim: &Victim) -> Home {
        let mut home = Home {
            pid: victim.pid,
            ..Home::default()
        };
        let shared = report.group.as_ref().or(report.task_memcg.as_ref());
        let path = victim.memcg.as_ref().or(shared).or(report.limit.as_ref());
        let place = path.map(Place::of).unwrap_or_default();
        let at = now();
        if let Some([namespace, pod]) = place.pod.and_then(|uid| self.names.pod(&uid, at)) {
            (home.namespace, home.pod) = (namespace.to_owned(), pod.to_owned());
        }
        if let Some(name) = place.container.and_then(|id| self.names.container(&id, at)) {
            name.clone_into(&mut home.container);
        }
        home
    }
}
