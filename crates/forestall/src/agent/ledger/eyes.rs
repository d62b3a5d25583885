//! What tells of victims more than the kernel's log does: names, `/proc`, the cgroups' counters, and tracing where it is wanted.

use forestall_decide::Span;
use forestall_kernel::oom::{CgroupPath, Piece, Report, Victim};

use super::counted::Counted;
use super::names::Names;
use super::traced::Traced;
use super::witness::Witness;
use crate::agent::clock::now;
use crate::forensics::place::Place;
use crate::ledger::{Entry, Home, Intake, Missed, Sender, Signal};

/// All of them.
pub(super) struct Eyes {
    pub(super) names: Names,
    pub(super) witness: Witness,
    pub(super) counted: Counted,
    /// `None` where it is not wanted, or cannot be had.
    pub(super) traced: Option<Traced>,
    /// What could not be heard of what tracing told in this life.
    pub(super) missed: Missed,
}

impl Eyes {
    /// Hears what tracing tells. Whoever was marked a moment ago is looked at while he is still ending; `is_now` is false for what was
    /// before the agent's start. An error ends it: the log and the counters are left.
    pub(super) fn listen(&mut self, is_now: bool) -> Result<(), String> {
        let Some(traced) = &mut self.traced else {
            return Ok(());
        };
        let heard = traced.read(now());
        self.missed = traced.missed();
        for pid in traced.marks.fresh() {
            if is_now {
                self.witness.look(pid, now());
            }
        }
        heard.inspect_err(|_| self.traced = None)
    }

    /// Who was sent SIGKILL by somebody who is not the kernel.
    pub(super) fn signals(&mut self, is_end: bool) -> Vec<Signal> {
        let traced = self.traced.as_mut();
        traced.map_or_else(Vec::new, |traced| traced.signals(now(), is_end))
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
    pub(super) fn place(&mut self, entries: &mut Vec<Entry>) {
        let mut seen = Vec::new();
        self.part_strangers(entries, &mut seen);
        for report in entries.iter_mut().map(|entry| &mut entry.report) {
            let is_of_group = report.group.is_some();
            for victim in &mut report.victims {
                // Asked of everybody, so that nobody is remembered of whom a line has told.
                let path = self.witness.cgroup_of(victim);
                if victim.memcg.is_none() && !is_of_group && path.is_some() {
                    victim.memcg = path;
                    seen.push(victim.pid);
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

    /// Whoever was killed right behind a group and lived elsewhere was no member of it: the log's order alone had put them there.
    fn part_strangers(&mut self, entries: &mut Vec<Entry>, seen: &mut Vec<u32>) {
        let traced = self.traced.as_ref();
        let mut strangers = Vec::new();
        for entry in &mut *entries {
            let Some(group) = entry.report.group.clone() else {
                continue;
            };
            let mut place = 0;
            while let Some(victim) = entry.report.victims.get(place) {
                let home = self.witness.cgroup_of(victim);
                let moved = traced.and_then(|traced| traced.marks.place_of(victim.pid));
                let known = home.as_ref().map(|home| &*home.path).or(moved);
                if place == 0 || known.is_none_or(|known| may_be_in(known, &group)) {
                    place += 1;
                    continue;
                }
                let mut victim = entry.report.victims.remove(place);
                seen.extend(home.is_some().then_some(victim.pid));
                victim.memcg = home;
                let report = entry.report.of_stranger(victim);
                strangers.push(Entry::new(entry.boot.clone(), entry.zero_micros, report));
            }
        }
        entries.extend(strangers);
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
        let at = now();
        // In a pod that is a node itself (kind), its own agent knows the pods there, and not the one that it runs in.
        let places = [path.map(Place::of), path.and_then(Place::within)];
        for place in places.into_iter().flatten() {
            let uid = place.pod.as_deref();
            if let Some([namespace, pod]) = uid.and_then(|uid| self.names.pod(uid, at)) {
                (home.namespace, home.pod) = (namespace.to_owned(), pod.to_owned());
            }
            let id = place.container.as_deref();
            let member_of = uid.filter(|_| !may_be_sandbox(victim));
            if let Some(name) = id.and_then(|id| self.names.container(member_of, id, at)) {
                name.clone_into(&mut home.container);
            }
            if !home.pod.is_empty() {
                break;
            }
        }
        home
    }
}

/// Whether it may be the process that holds a pod's namespaces, which is in a cgroup like a container's and is none: by the score that the kubelet and the
/// runtimes give it (`PodInfraOOMAdj`, `pkg/kubelet/qos/policy.go`) and no container has, or, where nobody told that, by its usual name.
fn may_be_sandbox(victim: &Victim) -> bool {
    victim.adj == Some(-998) || &*victim.comm == b"pause"
}

/// Those who were put to no cgroup.
pub(super) fn count_unplaced(entries: &[Entry]) -> u64 {
    let reports = entries.iter().map(|entry| &entry.report);
    let unplaced = reports
        .filter(|report| report.group.is_none())
        .flat_map(|report| &report.victims);
    unplaced
        .filter(|victim| victim.memcg.as_ref().is_none_or(|path| path.is_cut))
        .count() as u64
}

/// Whether a place in `/proc` may be a group's, or below it. In a cgroup namespace of the reader's own the beginning of its path is missing.
fn may_be_in(place: &[u8], group: &CgroupPath) -> bool {
    let path = &*group.path;
    let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut ends = starts.filter_map(|(at, _)| path.get(at..));
    ends.any(|end| {
        let rest = place.strip_prefix(end);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || group.is_cut)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_groups_by_all_of_its_names() {
        let group = |path: &[u8], is_cut| CgroupPath {
            path: path.into(),
            is_cut,
        };
        let own = group(b"/docker/n/kubepods/pod1/web", false);
        for (place, is_in) in [
            (&b"/docker/n/kubepods/pod1/web"[..], true),
            (b"/docker/n/kubepods/pod1/web/inner", true),
            (b"/kubepods/pod1/web", true),
            (b"/docker/n/kubepods/pod1/web2", false),
            (b"/docker/n/kubepods/pod1", false),
            (b"/system.slice/a.service", false),
            (b"/", false),
        ] {
            assert_eq!(may_be_in(place, &own), is_in, "{}", place.escape_ascii());
        }
        assert!(may_be_in(b"/a/b-and-more", &group(b"/a/b", true)));
    }
}
