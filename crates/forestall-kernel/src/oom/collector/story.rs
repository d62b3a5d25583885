//! What each line adds to the report it belongs to.

use super::super::attribution::{Open, Section, Stage};
use super::super::join::Head;
use super::super::kill::Kill;
use super::super::part::{Header, Part};
use super::super::pieces::Piece;
use super::super::report::{Reap, Report, Seen, Task, Victim, kept_name, kept_text};
use super::super::table::{Columns, row_start};
use super::super::verdict::Verdict;
use super::{Collector, Heard};
use crate::parse::words;

type Done<'a> = dyn FnMut(Report) + 'a;

impl Collector {
    pub(super) fn hear_part(
        &mut self,
        head: &Head,
        text: &[u8],
        part: &Part<'_>,
        done: &mut Done<'_>,
    ) -> Heard {
        match part {
            Part::Header(header) => self.hear_header(head, header, done),
            Part::Cpuset {
                comm,
                cpuset,
                mems_allowed,
            } => {
                let fits = |open: &Open| open.stage == Stage::Header && open.is_trigger(comm);
                let index = self.latest(head.caller, &fits);
                self.add(index, head, Stage::Header, Piece::Header, |open| {
                    open.report.cpuset = Some(kept_text(cpuset));
                    open.report.mems_allowed = Some(kept_text(mems_allowed));
                })
            }
            Part::Banner { pid, comm_and_more } => {
                let fits = |open: &Open| open.stage == Stage::Header && open.is_trigger(comm_and_more);
                let index = self.latest(head.caller, &fits);
                self.add(index, head, Stage::Banner, Piece::Banner, |open| {
                    if let Some(trigger) = &mut open.report.trigger {
                        trigger.pid = Some(*pid);
                    }
                })
            }
            Part::LimitLine { task, limit } => {
                let index = self.target(head, &|stage| stage < Stage::Limit, done);
                self.add(index, head, Stage::Limit, Piece::LimitLine, |open| {
                    open.hear_limit(task, limit);
                })
            }
            Part::Usage => {
                let index = self.latest(head.caller, &|open| open.stage <= Stage::Usage);
                self.add(index, head, Stage::Usage, Piece::Usage, |open| {
                    open.report.domain.hear_usage(text);
                })
            }
            Part::StatsOf { path, figures } => {
                let index = self.target(head, &|stage| stage <= Stage::Stats, done);
                self.add(index, head, Stage::Stats, Piece::Stats, |open| {
                    open.hear_stats_of(path, figures, &head.when);
                    open.section = Section::Stats;
                })
            }
            Part::MemInfo => {
                let index = self.latest(head.caller, &|open| open.stage < Stage::Table);
                self.add(index, head, Stage::Stats, Piece::MemInfo, |open| {
                    open.section = Section::Machine;
                })
            }
            Part::TableHead => {
                let index = self.target(head, &|stage| stage < Stage::Table, done);
                self.add(index, head, Stage::Table, Piece::Table, |open| {
                    open.section = Columns::parse(text).map_or(Section::None, Section::Table);
                })
            }
            Part::Verdict(verdict) => self.hear_verdict(head, verdict, done),
            Part::Chosen {
                is_cgroups,
                pid,
                comm,
            } => {
                let index = self.place(head, *pid, Stage::Chosen, done);
                self.add(index, head, Stage::Chosen, Piece::Chosen, |open| {
                    open.hear_chosen(*is_cgroups, *pid, comm);
                })
            }
            Part::Killed(kill) => self.hear_kill(head, kill, done),
            Part::SharesMemory { pid, comm } => self.hear_sharer(head, *pid, comm, done),
            Part::Group { path } => self.hear_group(head, path, done),
            Part::Reaped { pid, comm, anon } => {
                self.hear_reaper(head, *pid, comm, Reap::Reaped { anon: *anon }, done)
            }
            Part::ReapFailed { pid, comm } => self.hear_reaper(head, *pid, comm, Reap::Failed, done),
            Part::Exiting { pid, comm } => {
                // Members of a group may be ending, too.
                let index = self.teller(head, *pid, Stage::Ended).or_else(|| {
                    self.latest(head.caller, &|open| {
                        let member = Kill {
                            pid: *pid,
                            ..Kill::default()
                        };
                        open.may_have_member(&member, &head.when)
                    })
                });
                let index = index.unwrap_or_else(|| self.begin_anew(head, done));
                let task = Task::of(*pid, comm);
                self.add(index, head, Stage::Ended, Piece::Exiting, |open| {
                    open.hear_exiting(task);
                })
            }
            Part::NoKillable => {
                // A verdict names somebody, so it is another's.
                let index = self.target(head, &|stage| stage <= Stage::Table, done);
                self.add(index, head, Stage::Ended, Piece::NoKillable, |open| {
                    open.report.no_killable = 1;
                })
            }
            Part::Suppressed { count } => {
                self.suppressed = self.suppressed.saturating_add(*count);
                Heard::Part
            }
            Part::Sysrq => {
                let index = self.begin(head, done);
                self.add(index, head, Stage::Asked, Piece::Sysrq, |_| {})
            }
            Part::SysrqInVain => Heard::Part,
            Part::Panic => {
                let index = self.latest(head.caller, &|open| open.stage != Stage::Asked);
                let index = index.unwrap_or_else(|| self.begin(head, done));
                self.add(index, head, Stage::Ended, Piece::Panic, |_| {})
            }
        }
    }

    /// A line that means something only inside of a report.
    pub(super) fn hear_body(&mut self, head: &Head, text: &[u8]) -> Heard {
        let is_told = |open: &Open| open.stage < Stage::Verdict && open.section != Section::None;
        let Some(index) = self.latest(head.caller, &is_told) else {
            return self.hear_trace(head, text);
        };
        let Some(open) = self.open.get_mut(index) else {
            return Heard::Nothing;
        };
        let is_part = match open.section {
            Section::Stats => open.report.domain.hear_stats(text),
            Section::Machine => open.report.domain.hear_machine(text),
            Section::Table(columns) => row_start(text).is_some() && open.report.table.add(&columns, text),
            Section::None => false,
        };
        if !is_part {
            return Heard::Nothing;
        }
        open.touch(head.when);
        Heard::Part
    }

    /// The stack of whoever asked tells a cgroup's limit from the machine's memory, though all that follows is lost.
    fn hear_trace(&mut self, head: &Head, text: &[u8]) -> Heard {
        let has_begun = |open: &Open| matches!(open.stage, Stage::Header | Stage::Banner);
        let Some(index) = self.latest(head.caller, &has_begun) else {
            return Heard::Nothing;
        };
        // Up to 4.4 an address stands before the name; a frame with a `?` may be an old one.
        let mut frame = words(text);
        let is_certain = frame.clone().all(|word| word != b"?");
        let is_cgroups = frame.any(|word| word.starts_with(b"mem_cgroup_out_of_memory"));
        if !is_certain || !is_cgroups {
            return Heard::Nothing;
        }
        let stage = self.open.get(index).map_or(Stage::Header, |open| open.stage);
        self.add(index, head, stage, Piece::Header, |open| {
            open.is_cgroups = Some(true);
        })
    }

    /// Adds a line to a report.
    fn add(
        &mut self,
        index: impl Into<Option<usize>>,
        head: &Head,
        stage: Stage,
        piece: Piece,
        take_in: impl FnOnce(&mut Open),
    ) -> Heard {
        let Some(open) = index.into().and_then(|index| self.open.get_mut(index)) else {
            return Heard::Nothing;
        };
        take_in(open);
        open.report.behind = open.report.behind.max(head.behind);
        open.advance(stage, piece, head.when);
        Heard::Part
    }

    fn hear_header(&mut self, head: &Head, header: &Header<'_>, done: &mut Done<'_>) -> Heard {
        self.close_before_header(head.caller, done);
        // Nothing comes before a header.
        self.is_after_gap = false;
        let asked = self.open.iter().position(|open| open.stage == Stage::Asked);
        let index = asked.filter(|_| header.order == -1);
        let index = index.unwrap_or_else(|| self.begin(head, done));
        let suppressed = std::mem::take(&mut self.suppressed);
        self.add(index, head, Stage::Header, Piece::Header, |open| {
            // Whoever asked by sysrq is not who looks for a victim.
            open.caller = head.caller;
            open.hear_header(header);
            if suppressed > 0 {
                open.report.suppressed = suppressed;
                open.report.pieces.add(Piece::Suppressed);
            }
        })
    }

    fn hear_verdict(&mut self, head: &Head, verdict: &Verdict<'_>, done: &mut Done<'_>) -> Heard {
        let index = match verdict.pid {
            Some(pid) => self.place(head, pid, Stage::Verdict, done),
            None => self.target(head, &|stage| stage < Stage::Verdict, done),
        };
        self.add(index, head, Stage::Verdict, Piece::Verdict, |open| {
            open.hear_verdict(verdict);
        })
    }

    fn hear_kill(&mut self, head: &Head, kill: &Kill<'_>, done: &mut Done<'_>) -> Heard {
        let heard = Heard::Kill { pid: kill.pid };
        let has_it = |open: &Open| open.is_of_group() && open.has_victim(kill.pid);
        let index = self
            .latest(head.caller, &has_it)
            .or_else(|| self.teller(head, kill.pid, Stage::Ended))
            .or_else(|| self.latest(head.caller, &|open| open.may_have_member(kill, &head.when)));
        if index.is_none() && self.is_repeat(kill, &head.when) {
            return heard;
        }
        let index = index.unwrap_or_else(|| self.begin_anew(head, done));
        self.add(index, head, Stage::Ended, Piece::Kill, |open| {
            open.hear_kill(kill, head.when);
        });
        self.drain_full(index, head, done);
        heard
    }

    fn hear_sharer(&mut self, head: &Head, pid: u32, comm: &[u8], done: &mut Done<'_>) -> Heard {
        let index = self.ended(head, done);
        let victim = Victim {
            when: head.when,
            pid,
            comm: kept_name(comm),
            seen: Seen::SharesMemory,
            ..Victim::default()
        };
        self.add(index, head, Stage::Ended, Piece::Kill, |open| {
            open.report.victims.push(victim);
        });
        self.drain_full(index, head, done);
        Heard::Kill { pid }
    }

    fn hear_group(&mut self, head: &Head, path: &[u8], done: &mut Done<'_>) -> Heard {
        let mut index = self.latest(head.caller, &|open| open.stage == Stage::Ended);
        if let Some(last) = self.latest(head.caller, &Open::is_of_group) {
            // The kill before this line was no member of the last group, but the first of this one.
            let other = self.open.get_mut(last).and_then(Open::split_last);
            self.close(last, done);
            self.make_room(done);
            self.open.push(other.unwrap_or_else(|| Open::new(head)));
            index = Some(self.open.len() - 1);
        }
        let index = index.unwrap_or_else(|| self.begin(head, done));
        self.add(index, head, Stage::Ended, Piece::Group, |open| {
            open.hear_group(path);
        })
    }

    fn hear_reaper(&mut self, head: &Head, pid: u32, comm: &[u8], reap: Reap, done: &mut Done<'_>) -> Heard {
        for open in &mut self.open {
            if let Some(victim) = open.report.victims.iter_mut().find(|victim| victim.pid == pid) {
                victim.reap = Some(reap);
                open.report.pieces.add(Piece::Reaper);
                return Heard::Part;
            }
        }
        if self.recent.iter().any(|recent| recent.pid == pid) {
            return Heard::Part;
        }
        let mut report = Report {
            when: head.when,
            behind: head.behind,
            victims: vec![Victim {
                when: head.when,
                pid,
                comm: kept_name(comm),
                seen: Seen::ReaperOnly,
                reap: Some(reap),
                ..Victim::default()
            }],
            ..Report::default()
        };
        report.pieces.add(Piece::Reaper);
        self.emit(report, head.when, done);
        Heard::Kill { pid }
    }
}
