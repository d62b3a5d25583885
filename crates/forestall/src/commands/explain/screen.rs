//! The one screen: what a tired person needs first stands first, and what one could look up stands last.

use std::fmt::Write as _;

use forestall_kernel::oom::{CgroupPath, Reap, Report, Row, Victim};

use super::end::sentence;
use super::growth::Growth;
use super::headline::{headline, named};
use super::homes;
use super::killed;
use super::page::Page;
use super::seeker::Seeker;
use super::sent;
use super::timeline::Timeline;
use crate::commands::free::shown::human;
use crate::commands::terminal::Terminal;
use crate::forensics::ending::Ending;
use crate::forensics::evidence::{self, Basis};
use crate::forensics::place::Place;
use crate::forensics::share::{self, Kind, Share, is_machines, percent};
use crate::forensics::source::Read;
use crate::forensics::{advice, time};
use crate::ledger::Signal;
use crate::log::escape;

/// So many victims are told one by one.
const VICTIMS_MAX: usize = 6;

/// So many of the other processes are told.
const OTHERS_MAX: usize = 5;

/// Whoever has this cannot be killed (`OOM_SCORE_ADJ_MIN`).
const EXEMPT: i32 = -1000;

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) seeker: &'a Seeker,
    pub(super) read: &'a Read,
    /// What was read, for a terminal.
    pub(super) name: &'a str,
    /// What the wall clock read when this machine's log clock read 0; `None` for a log that somebody named.
    pub(super) zero_micros: Option<i64>,
    pub(super) is_wide: bool,
    /// What the end comes to with what was typed about it.
    pub(super) ending: Option<Ending>,
    /// What grew before.
    pub(super) growth: Option<&'a Growth>,
    /// Nothing but that was asked for.
    pub(super) is_of_end_alone: bool,
    /// Who sent SIGKILL to whom no kill explains.
    pub(super) sent: Option<&'a Signal>,
}

impl Shown<'_> {
    /// The whole of it.
    pub(super) fn screen(&self, terminal: Terminal) -> String {
        let mut page = Page::new(terminal);
        let name = self.name;
        if let Some(ending) = &self.ending {
            page.title(&sentence(ending));
            if let Some(signal) = self.sent {
                page.dim(&sent::sentence(signal));
                return page.text;
            }
            if let Some(deed) = self.seeker.killed() {
                page.dim(&killed::sentence(deed, self.zero_micros));
            }
            if self.is_of_end_alone {
                return page.text;
            }
            page.text.push('\n');
        }
        let Some(report) = &self.seeker.found else {
            let size = if self.read.bytes > 0 {
                format!(" ({} read)", human(self.read.bytes))
            } else {
                String::new()
            };
            let was = if self.read.left_out.is_empty() {
                "in"
            } else {
                "was read from"
            };
            page.title(&format!("no out-of-memory kill {was} {name}{size}"));
            nothing(&mut page, self.read);
            return page.text;
        };
        page.title(&headline(report));
        let confidence = evidence::overall(report).label();
        let when = time::written(&report.when, self.zero_micros);
        page.dim(&format!("{when}; {name}; confidence {confidence}"));
        page.text.push('\n');
        homes::show(&mut page, &self.seeker.found_homes);
        limit(&mut page, report, self.is_wide);
        filled(&mut page, report);
        victims(&mut page, report, self.is_wide);
        others(&mut page, report);
        for (label, said) in self.growth.map(Growth::lines).unwrap_or_default() {
            page.line(label, &said);
        }
        self.timeline(&mut page, report);
        asked(&mut page, report, self.is_wide);
        for (number, said) in (1..).zip(advice::of(report)) {
            page.line(
                if number == 1 { "what to do" } else { "" },
                &format!("{number}. {said}"),
            );
        }
        rests(&mut page, report, self.is_wide);
        self.before(&mut page);
        page.text
    }

    /// Who did what before and after.
    fn timeline(&self, page: &mut Page, report: &Report) {
        let timeline = Timeline::of(report, &self.seeker.around, self.growth);
        for (place, line) in timeline.lines().iter().enumerate() {
            page.line(if place == 0 { "time line" } else { "" }, line);
        }
        for (label, said) in timeline.remarks {
            page.line(label, &said);
        }
    }

    /// What else is in the log.
    fn before(&self, page: &mut Page) {
        let seeker = self.seeker;
        if let Some(again) = seeker.again() {
            let since = time::written(&again.first, self.zero_micros);
            page.line(
                "again",
                &format!(
                    "kill {} of this pod in a row, first {since}: it is started again and fills up again",
                    again.kills
                ),
            );
        }
        if let Some(before) = seeker.before() {
            let times = if before.kills == 1 {
                "once".to_owned()
            } else {
                format!("{} times", before.kills)
            };
            let since = time::written(&before.first, self.zero_micros);
            page.line(
                "before",
                &format!("{times} at this very limit in this log, first {since}"),
            );
        }
        if seeker.kills > 1 || seeker.no_killable > 0 {
            let mut parts: Vec<String> = seeker
                .by_level
                .iter()
                .map(|(level, count)| format!("{} {count}", level.label()))
                .collect();
            if seeker.no_killable > 0 {
                parts.push(format!("nobody to kill {}", seeker.no_killable));
            }
            let parts = parts.join(", ");
            page.line(
                "in all",
                &format!(
                    "{} kills in this log ({parts}); forestall kills lists them",
                    seeker.kills
                ),
            );
        }
        if let Some(left_out) = self.read.left_out.sentence() {
            page.line("not read", &left_out);
        }
        if self.read.lost > 0 {
            page.line(
                "",
                &format!(
                    "{} older records were overwritten: kills may be missing",
                    self.read.lost
                ),
            );
        }
    }
}

fn nothing(page: &mut Page, read: &Read) {
    if let Some(left_out) = read.left_out.sentence() {
        page.line("", &format!("{left_out}."));
    }
    if read.lost > 0 {
        page.line(
            "",
            &format!(
                "{} older records were overwritten before they could be read.",
                read.lost
            ),
        );
    }
    page.line(
        "",
        "A kill inside a virtual machine, by a userspace killer or by the kubelet's eviction is not in the kernel's log; exit code 137 alone does not tell them apart.",
    );
    page.line("", "Older boots: journalctl -k -b -1 | forestall explain --log -");
}

fn limit(page: &mut Page, report: &Report, is_wide: bool) {
    if let Some(path) = &report.limit {
        page.line("limit", &Place::of(path).words);
        if is_wide {
            page.line("", &shown(path));
        }
    }
    if let Some(task) = report
        .task_memcg
        .as_ref()
        .filter(|task| report.limit.as_ref() != Some(task))
    {
        page.line("victim in", &within(&Place::of(task), report));
        if is_wide {
            page.line("", &shown(task));
        }
    }
    let domain = &report.domain;
    let charges = [
        ("memory", domain.memory),
        ("swap", domain.swap),
        ("memory+swap", domain.memory_and_swap),
    ];
    let mut said: Vec<String> = Vec::new();
    for (name, charge) in charges {
        let Some(charge) = charge.filter(|charge| charge.usage > 0 || name == "memory") else {
            continue;
        };
        let of = charge.limit.bytes().map_or_else(|| "no limit".to_owned(), human);
        let met = match charge.failures {
            0 => String::new(),
            1 => ", met once".to_owned(),
            count => format!(", met {count} times"),
        };
        said.push(format!("{name} {} of {of}{met}", human(charge.usage)));
    }
    if let (Some(total), Some(free)) = (domain.swap_total.filter(|total| *total > 0), domain.swap_free) {
        said.push(format!("swap {} free of {}", human(free), human(total)));
    }
    if !said.is_empty() {
        page.line("in use", &said.join("; "));
    }
}

/// The victim's place, without the pod where the limit's line has it.
fn within(place: &Place, report: &Report) -> String {
    let limit = report.limit.as_ref().map(Place::of);
    let is_same_pod = limit.is_some_and(|limit| limit.pod.is_some() && limit.pod == place.pod);
    match place.words.split_once(" of pod ") {
        Some((container, _)) if is_same_pod => container.to_owned(),
        _ => place.words.clone(),
    }
}

fn shown(path: &CgroupPath) -> String {
    format!(
        "{}{}",
        escape::bytes(&path.path),
        if path.is_cut { "…" } else { "" }
    )
}

fn filled(page: &mut Page, report: &Report) {
    let Some(share) = Share::of(report) else { return };
    let cells = share.bar(page.width().min(72));
    let mut bar = String::new();
    for run in cells.chunk_by(|one, other| one == other) {
        let Some(kind) = run.first() else { continue };
        let glyphs: String = run.iter().map(|kind| kind.glyph()).collect();
        bar.push_str(&page.terminal.paint(kind.colour(), &glyphs));
    }
    page.raw("filled by", &bar);
    let legend: Vec<String> = share
        .parts
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(kind, bytes)| {
            format!(
                "{} {} {} ({} %)",
                kind.glyph(),
                word(*kind),
                human(*bytes),
                share.percent(*kind)
            )
        })
        .collect();
    page.line("", &legend.join("  "));
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Anon => "heap and stacks (anon)",
        Kind::Shmem => "tmpfs and shared (shmem)",
        Kind::File => "page cache (file)",
        Kind::Kernel => "kernel",
        Kind::Locked => "locked",
        Kind::Untold => "not accounted for",
        Kind::Free => "free",
    }
}

fn victims(page: &mut Page, report: &Report, is_wide: bool) {
    for (place, victim) in report.victims.iter().take(VICTIMS_MAX).enumerate() {
        page.line(
            if place == 0 { "killed" } else { "" },
            &about(report, victim, is_wide),
        );
    }
    if report.victims.len() > VICTIMS_MAX {
        page.line("", &format!("and {} more", report.victims.len() - VICTIMS_MAX));
    }
    if let Some(group) = &report.group {
        page.line(
            "",
            &format!(
                "all of {} was to die together (memory.oom.group)",
                Place::of(group).words
            ),
        );
    }
    if let Some(task) = &report.sacrificed_for {
        let comm = escape::bytes(&task.comm);
        page.line(
            "sacrificed",
            &format!(
                "in place of {comm} (pid {}), which the kernel had chosen: up to 4.19 it takes a child first",
                task.pid
            ),
        );
    }
    for task in report.exiting.iter().take(OTHERS_MAX) {
        page.line(
            "ending",
            &format!(
                "{} (pid {}) was on its way out already",
                escape::bytes(&task.comm),
                task.pid
            ),
        );
    }
}

fn about(report: &Report, victim: &Victim, is_wide: bool) -> String {
    let mut said = named(victim);
    if let Some(held) = share::held(report, victim.pid) {
        let _ = write!(said, " held {}", human(held));
        // What it shares with others may be charged to them, so that a process can hold more than its limit.
        if let Some(limit) = share::limit(report).filter(|limit| held <= *limit) {
            let _ = write!(said, " ({} % of the limit)", percent(held, limit));
        }
    }
    let kinds = [
        ("anon", victim.anon),
        ("file", victim.file),
        ("shmem", victim.shmem),
        ("page tables", victim.page_tables),
    ];
    for (name, bytes) in kinds {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            let _ = write!(said, ", {name} {}", human(bytes));
        }
    }
    if let Some(adj) = victim.adj {
        let _ = write!(said, ", oom_score_adj {adj}");
    }
    if let Some(uid) = victim.uid.filter(|_| is_wide) {
        let _ = write!(said, ", uid {uid}");
    }
    match victim.reap {
        Some(Reap::Reaped { .. }) if is_wide => said.push_str(", taken back at once"),
        Some(Reap::Failed) => said.push_str(", and its memory could not be taken back at once"),
        _ => {}
    }
    said
}

fn others(page: &mut Page, report: &Report) {
    let rows: Vec<String> = share::survivors(report)
        .take(OTHERS_MAX)
        .filter_map(|row| {
            Some(format!(
                "{} {}",
                row_named(row),
                human(share::row_bytes(report, row)?)
            ))
        })
        .collect();
    if !rows.is_empty() {
        let more = report
            .table
            .processes
            .saturating_sub(report.victims.len() as u64 + rows.len() as u64);
        let more = if more > 0 {
            format!(", {more} smaller ones")
        } else {
            String::new()
        };
        page.line("there, too", &format!("{}{more}", rows.join(", ")));
    }
    let least = report
        .victims
        .iter()
        .filter_map(|victim| share::held(report, victim.pid))
        .max();
    let is_spared = |row: &&Row| row.adj == Some(EXEMPT) || least < share::row_bytes(report, row);
    let spared: Vec<String> = share::survivors(report)
        .filter(is_spared)
        .take(OTHERS_MAX)
        .map(|row| {
            let adj = row
                .adj
                .map_or_else(String::new, |adj| format!(", oom_score_adj {adj}"));
            format!("{}{adj}", row_named(row))
        })
        .collect();
    if !spared.is_empty() && !report.victims.is_empty() {
        page.line("spared", &spared.join("; "));
    }
}

fn row_named(row: &Row) -> String {
    format!("{} (pid {})", escape::bytes(&row.comm), row.pid)
}

fn asked(page: &mut Page, report: &Report, is_wide: bool) {
    let Some(trigger) = report.trigger.as_ref().filter(|_| !report.is_sysrq()) else {
        return;
    };
    let is_victim = report.victims.iter().any(|victim| match trigger.pid {
        Some(pid) => victim.pid == pid,
        None => victim.comm == trigger.comm,
    });
    let comm = escape::bytes(&trigger.comm);
    let pid = trigger
        .pid
        .map_or_else(String::new, |pid| format!(" (pid {pid})"));
    if !is_victim && !report.victims.is_empty() {
        let whose = if is_machines(report.level) {
            " It need not have grown."
        } else {
            ""
        };
        page.line(
            "asked by",
            &format!("{comm}{pid} wanted the memory that was not there, and was not the one chosen.{whose}"),
        );
    }
    if is_wide {
        let gfp = escape::bytes(&trigger.gfp);
        page.line(
            "request",
            &format!(
                "{comm}{pid}, gfp_mask {:#x} {gfp}, order {}",
                trigger.gfp_mask, trigger.order
            ),
        );
    }
    if let Some(order) = u32::try_from(trigger.order)
        .ok()
        .filter(|order| (1..=20).contains(order))
    {
        let pages = 1_u64 << order;
        page.line(
            "",
            &format!("{pages} pages in one piece were asked for: memory in small pieces was of no use"),
        );
    }
}

fn rests(page: &mut Page, report: &Report, is_wide: bool) {
    let parts = [
        ("kill", evidence::of_kill(report)),
        ("level", evidence::of_level(report)),
        ("memory", evidence::of_memory(report)),
    ];
    let said = |(name, basis): (&str, Option<Basis>)| match basis {
        Some(basis) => format!("{name}: {} ({})", basis.source, basis.confidence.label()),
        None => format!("{name}: nothing"),
    };
    let said: Vec<String> = parts.into_iter().map(said).collect();
    let begins =
        evidence::begins(&report.when).map_or_else(String::new, |begins| format!("; from {begins} on"));
    page.line("evidence", &format!("{}{begins}", said.join("; ")));
    if is_wide && report.when.sequence.is_none() {
        page.line(
            "",
            "a text says what its writer wrote: only records of /dev/kmsg name the kernel beyond doubt",
        );
    }
    for (place, said) in evidence::missing(report).iter().enumerate() {
        page.line(if place == 0 { "missing" } else { "" }, said);
    }
}
