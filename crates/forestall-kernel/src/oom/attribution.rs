//! A report that is being told: how far it is, and whether a line about some process can be part of it.

use super::domain::Domain;
use super::join::Head;
use super::kill::Kill;
use super::level::Level;
use super::part::Header;
use super::pieces::Piece;
use super::report::{CgroupPath, Report, Seen, Task, Trigger, Victim, kept_name, kept_text};
use super::table::{Columns, Table};
use super::verdict::Verdict;
use crate::kmsg::{Caller, When};

/// How far a report is, in the order in which the kernel prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    #[default]
    Asked,
    Header,
    Banner,
    Limit,
    Usage,
    Stats,
    Table,
    Verdict,
    Chosen,
    Ended,
}

/// What the lines that follow are read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Section {
    #[default]
    None,
    Stats,
    Machine,
    Table(Columns),
}

/// Whether a line about a process can be part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    Against,
    Unknown,
    For,
}

/// One report, not yet over.
#[derive(Debug, Default)]
pub(crate) struct Open {
    pub(crate) report: Report,
    pub(crate) caller: Option<Caller>,
    pub(crate) last: When,
    /// Records were lost since its last line: only a line that names a process of it can be known to belong to it.
    pub(crate) is_torn: bool,
    /// Lines heard since the last of its own.
    pub(crate) silence: u32,
    pub(crate) stage: Stage,
    pub(crate) section: Section,
    verdict_pid: Option<u32>,
    chosen: Option<Task>,
    verdict_comm: Box<[u8]>,
    uid: Option<u32>,
    /// A cgroup's limit was met, or the machine's memory ran out.
    pub(crate) is_cgroups: Option<bool>,
    /// The limit is known from the stats alone.
    is_limit_by_stats: bool,
    /// So many victims were there when their group was named: the kernel names it behind the first.
    victims_before_group: usize,
    /// Victims of it have been handed out.
    is_drained: bool,
}

/// Members of a group are killed one right after the other: what lies between is the time that a serial console takes for a line.
const MEMBER_MICROS: u64 = 30_000;

/// So many of them are told that were ending already.
const EXITING_MAX: usize = 256;

/// So many lines of others may stand between whom the kernel chose and whom it killed.
const CHOICE_LINES: u32 = 4;

impl Open {
    pub(crate) fn new(head: &Head) -> Self {
        Self {
            caller: head.caller,
            last: head.when,
            report: Report {
                when: head.when,
                ..Report::default()
            },
            ..Self::default()
        }
    }

    #[inline(never)]
    pub(crate) fn advance(&mut self, stage: Stage, piece: Piece, when: When) {
        self.stage = self.stage.max(stage);
        self.report.pieces.add(piece);
        self.is_torn = false;
        self.touch(when);
    }

    /// A line of it has come.
    pub(crate) fn touch(&mut self, when: When) {
        self.last = when;
        self.silence = 0;
    }

    /// Records were lost.
    pub(crate) fn tear(&mut self) {
        self.is_torn = true;
        self.report.has_gap = true;
    }

    /// A whole group is killed.
    pub(crate) fn is_of_group(&self) -> bool {
        self.stage == Stage::Ended && self.report.group.is_some()
    }

    pub(crate) fn has_victim(&self, pid: u32) -> bool {
        self.report.victims.iter().any(|victim| victim.pid == pid)
    }

    /// Whether a process that is killed may be one of the group: it is in the table, or its kill comes right after the last one. The kernel
    /// says of all members what it says of the first: the machine's memory is no reason for one of a cgroup's (`oom_kill_memcg_member`).
    /// A container's processes have the `oom_score_adj` that its runtime gave to it: of whom no table tells, one who has another is taken
    /// for somebody else's. A kill that is put to no pod is told all the same; one that is put to the wrong one misleads.
    pub(crate) fn may_have_member(&self, kill: &Kill<'_>, when: &When) -> bool {
        let is_other = self
            .is_cgroups
            .zip(kill.is_cgroups)
            .is_some_and(|(own, other)| own != other);
        let table = &self.report.table;
        let is_possible = if table.processes > 0 && table.is_complete() && !self.report.has_gap {
            table.row(kill.pid).is_some()
        } else {
            let victims = &self.report.victims;
            let is_like = |victim: &Victim| victim.adj.zip(kill.adj).is_none_or(|(own, other)| own == other);
            let is_soon = when
                .micros_since(&self.last)
                .is_none_or(|passed| passed <= MEMBER_MICROS);
            is_soon && (victims.is_empty() || victims.iter().any(is_like))
        };
        self.is_of_group() && is_possible && !is_other
    }

    /// All of it has been handed out.
    pub(crate) fn is_told(&self) -> bool {
        self.is_drained && self.report.victims.is_empty()
    }

    /// Whether a line that names `pid` as the chosen one or as the victim belongs here.
    pub(crate) fn evidence(&self, pid: u32, stage: Stage) -> Evidence {
        let chosen = self.chosen.as_ref().map(|task| task.pid);
        if self.verdict_pid == Some(pid) || chosen == Some(pid) {
            return Evidence::For;
        }
        // A child may be taken for whoever was chosen, and that is told at once.
        if chosen.is_some() && !self.is_torn && self.silence <= CHOICE_LINES {
            return Evidence::For;
        }
        if self.verdict_pid.is_some() && chosen.is_none() {
            return Evidence::Against;
        }
        // A table that is all there has the victim. Whom 3.x chose may be a thread, which no table has.
        let table = &self.report.table;
        let trigger = self.report.trigger.as_ref();
        if table.row(pid).is_some() || trigger.and_then(|trigger| trigger.pid) == Some(pid) {
            Evidence::For
        } else if stage != Stage::Chosen && table.processes > 0 && table.is_complete() && !self.report.has_gap
        {
            Evidence::Against
        } else {
            Evidence::Unknown
        }
    }

    pub(crate) fn hear_header(&mut self, header: &Header<'_>) {
        self.report.nodemask = header.nodemask.map(kept_text);
        self.report.trigger = Some(Trigger {
            comm: kept_name(header.comm),
            pid: None,
            gfp_mask: header.gfp_mask,
            gfp: kept_text(header.gfp),
            order: header.order,
            adj: header.adj,
        });
    }

    /// Whether a banner with this name behind `Comm: ` is the trigger's.
    pub(crate) fn is_trigger(&self, comm_and_more: &[u8]) -> bool {
        let trigger = self.report.trigger.as_ref();
        trigger.is_some_and(|trigger| trigger.pid.is_none() && comm_and_more.starts_with(&trigger.comm))
    }

    pub(crate) fn hear_limit(&mut self, task: &[u8], limit: &[u8]) {
        self.report.task_memcg = CgroupPath::of(task, false);
        self.report.limit = CgroupPath::of(limit, false);
    }

    /// Takes in whose stats follow. Up to 4.19 the cgroups below the limit have theirs, too, each with its figures: the first is the limit's,
    /// if it is the first. Records without a hole before it show that; in a file the others have to lie below it.
    pub(crate) fn hear_stats_of(&mut self, path: &[u8], figures: &[u8], when: &When) {
        if self.is_limit_by_stats {
            let lies_below = |limit: &CgroupPath| path.starts_with(&limit.path);
            self.report.limit = self.report.limit.take().filter(lies_below);
        } else if self.report.limit.is_none() && self.stage < Stage::Stats {
            let is_first = figures.is_empty() || self.stage == Stage::Usage || when.sequence.is_none();
            self.report.limit = CgroupPath::of(path, false).filter(|_| is_first);
            self.is_limit_by_stats = self.report.limit.is_some();
        }
        self.report.domain.hear_legacy_stats(figures);
    }

    pub(crate) fn hear_verdict(&mut self, verdict: &Verdict<'_>) {
        let report = &mut self.report;
        report.constraint = Some(kept_name(verdict.constraint));
        report.is_global = verdict.is_global;
        report.nodemask = verdict.nodemask.map(kept_text).or(report.nodemask.take());
        report.cpuset = verdict.cpuset.map(kept_text);
        report.mems_allowed = verdict.mems_allowed.map(kept_text);
        if let Some(path) = verdict.oom_memcg {
            // The stat lines have the whole path where this one is cut.
            let is_known = report
                .limit
                .as_ref()
                .is_some_and(|limit| limit.path.starts_with(path));
            if !verdict.is_limit_cut() || !is_known {
                report.limit = CgroupPath::of(path, verdict.is_limit_cut());
            }
        }
        let task = verdict.task_memcg.unwrap_or_default();
        self.report.task_memcg = CgroupPath::of(task, verdict.is_task_cut());
        self.section = Section::None;
        self.verdict_pid = verdict.pid;
        self.verdict_comm = kept_name(verdict.comm.unwrap_or_default());
        self.uid = verdict.uid;
    }

    pub(crate) fn hear_chosen(&mut self, is_cgroups: bool, pid: u32, comm: &[u8]) {
        self.is_cgroups = Some(is_cgroups);
        self.chosen = Some(Task::of(pid, comm));
    }

    /// Somebody was to be killed and is ending already.
    pub(crate) fn hear_exiting(&mut self, task: Task) {
        if self.report.exiting.len() < EXITING_MAX {
            self.report.exiting.push(task);
        }
    }

    pub(crate) fn hear_kill(&mut self, kill: &Kill<'_>, when: When) {
        self.is_cgroups = kill.is_cgroups.or(self.is_cgroups);
        // Of a group whoever was chosen is told twice.
        if self.has_victim(kill.pid) {
            return;
        }
        self.section = Section::None;
        let is_first = self.report.victims.is_empty() && self.report.group.is_none();
        let verdict_is_about_it = self.verdict_pid.is_none_or(|pid| pid == kill.pid);
        let memcg = self.report.task_memcg.clone();
        self.report.victims.push(Victim {
            when,
            pid: kill.pid,
            comm: kept_name(kill.comm.unwrap_or_default()),
            uid: kill.uid.or(self.uid.filter(|_| is_first && verdict_is_about_it)),
            adj: kill.adj,
            total_vm: kill.total_vm,
            anon: kill.anon,
            file: kill.file,
            shmem: kill.shmem,
            page_tables: kill.page_tables,
            memcg: memcg.filter(|_| is_first && verdict_is_about_it),
            seen: Seen::KillLine,
            reap: None,
        });
        if let Some(chosen) = self.chosen.take_if(|chosen| chosen.pid != kill.pid) {
            self.report.sacrificed_for = Some(chosen);
        }
    }

    pub(crate) fn hear_group(&mut self, path: &[u8]) {
        self.report.group = CgroupPath::of(path, false);
        self.victims_before_group = self.report.victims.len();
    }

    /// Moves the last victim into a report of its own: it was the first of another group. `None` if nobody was killed since this group was
    /// named.
    pub(crate) fn split_last(&mut self) -> Option<Self> {
        if self.report.victims.len() <= self.victims_before_group {
            return None;
        }
        let victim = self.report.victims.pop()?;
        let mut other = Self {
            caller: self.caller,
            last: self.last,
            is_cgroups: self.is_cgroups,
            report: Report {
                when: victim.when,
                behind: self.report.behind,
                victims: vec![victim],
                ..Report::default()
            },
            ..Self::default()
        };
        other.advance(Stage::Ended, Piece::Kill, self.last);
        Some(other)
    }

    /// What has been told so far as a report, with the victims moved there: for groups of more than a report holds.
    pub(crate) fn drain(&mut self) -> Report {
        self.is_drained = true;
        self.victims_before_group = 0;
        let victims = std::mem::take(&mut self.report.victims);
        let mut report = self.report.clone();
        report.victims = victims;
        self.report.domain = Domain::default();
        self.report.table = Table::default();
        Self {
            report,
            is_cgroups: self.is_cgroups,
            ..Self::default()
        }
        .close()
    }

    /// Whoever was named and has no kill line is a victim all the same, unless the kernel says otherwise.
    fn add_named(&mut self) {
        let report = &mut self.report;
        let is_told = !report.exiting.is_empty() || report.no_killable > 0 || report.group.is_some();
        if is_told || !report.victims.is_empty() {
            return;
        }
        let by_verdict = self.verdict_pid.map(|pid| Task {
            pid,
            comm: std::mem::take(&mut self.verdict_comm),
        });
        let Some(named) = by_verdict.or_else(|| self.chosen.take()) else {
            return;
        };
        report.victims.push(Victim {
            when: self.last,
            pid: named.pid,
            comm: named.comm,
            uid: self.uid,
            memcg: report.task_memcg.clone(),
            seen: Seen::Named,
            ..Victim::default()
        });
    }

    /// The report, with what follows from its lines.
    #[inline(never)]
    pub(crate) fn close(mut self) -> Report {
        self.add_named();
        let mut report = self.report;
        for victim in &mut report.victims {
            let Some(row) = report.table.row(victim.pid) else {
                continue;
            };
            victim.uid = victim.uid.or(row.uid);
            victim.adj = victim.adj.or(row.adj);
            if victim.comm.is_empty() {
                victim.comm.clone_from(&row.comm);
            }
            // 5.4 as first released printed bytes and called them kB.
            let in_bytes = row.page_tables_bytes.filter(|bytes| *bytes > 0);
            if in_bytes.is_some() && victim.page_tables == in_bytes.map(|bytes| bytes.saturating_mul(1024)) {
                victim.page_tables = in_bytes;
            }
        }
        if let Some(page_bytes) = report.page_bytes() {
            report.domain.settle_machine(page_bytes);
        }
        report.level = Level::of_report(&report, self.is_cgroups);
        report
    }
}
