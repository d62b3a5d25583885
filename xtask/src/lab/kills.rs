//! The trial of the sources of kills (`--try kills`): on each kernel kills of every kind, and what tracing and the cgroups'
//! counters told of each, beside what the guest's own waiting knows. It goes to the terminal and to `target/lab/kills.json`.
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{CONFIG, Hierarchy, Plan, Trial};
use forestall_lab_init::report::{KillsTold, Report, StormKept};
use serde::Serialize;

use super::draw::Dice;
use super::guest::{self, Parts};
use super::kernels::Image;
use super::options::Options;
use super::{cast, job};

/// What one kernel told.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// `uname -r`, as the guest says it.
    release: String,
    /// It came to its end.
    complete: bool,
    /// Why it did not, if it said so.
    unable: Option<String>,
    kinds: Vec<KillsTold>,
    /// Its cgroups' counters add up: it is v2.
    counts: bool,
    /// What the agent's ledger keeps where it may not read the kernel's log.
    unread: Vec<StormKept>,
}

/// Tries on every kernel, one guest after the other, and writes the file.
pub(crate) fn run(parts: &Parts, images: &[Image], options: &Options) -> Result<Vec<Told>> {
    let mut all = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let label = format!("{}-kills", image.kernel.name);
        eprintln!("lab: [{}/{}] {label}", index + 1, images.len());
        let plan = plan(options);
        let (outcome, _) = job::boot(&label, || {
            guest::run(parts, image, &plan, options.memory_mib, &label)
        })?;
        all.push(Told {
            counts: options.hierarchy == Hierarchy::V2,
            ..Told::of(outcome.reports)
        });
    }
    let path = parts.folder.join("kills.json");
    let text = serde_json::to_vec_pretty(&all).context("what was told, as JSON")?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("lab: results in {}", path.display());
    Ok(all)
}

/// An empty node, and time for a storm.
fn plan(options: &Options) -> Plan {
    let mut plan = cast::node(&mut Dice::new(1, "kills"), "kills", 1);
    if let Some(agent) = &mut plan.agent {
        agent.args = ["agent", "--config", CONFIG].map(str::to_owned).to_vec();
        agent.as_pod = false;
    }
    plan.hierarchy = options.hierarchy;
    plan.kubepods_limit = None;
    plan.naming = forestall_lab_init::plan::Naming::Cgroupfs;
    plan.trial = Some(Trial::Kills);
    plan.deadline_millis = 600_000;
    plan
}

impl Told {
    /// Without the log everybody is kept once; with counters with level and cgroup, too, and nobody is missing but, in the kernel's own count, whom it
    /// chose first of a group and counts twice.
    fn is_kept(&self) -> bool {
        let is_whole = |kept: &StormKept| {
            let is_known = (kept.placed, kept.levelled) == (kept.ended, kept.ended) || !self.counts;
            (kept.kept, kept.twice) == (kept.ended, 0) && is_known && kept.unattributed <= 1
        };
        !self.unread.is_empty() && self.unread.iter().all(is_whole)
    }

    fn of(reports: Vec<Report>) -> Self {
        let mut told = Self {
            release: String::new(),
            complete: false,
            unable: None,
            kinds: Vec::new(),
            counts: true,
            unread: Vec::new(),
        };
        for report in reports {
            match report {
                Report::Booted { kernel, .. } => told.release = kernel,
                Report::Unable { why } => told.unable = Some(why),
                Report::Ended { .. } => told.complete = true,
                Report::Kills(kind) => told.kinds.push(kind),
                Report::Storm(kept) => told.unread.push(kept),
                _ => {}
            }
        }
        told
    }
}

/// Whether every kernel came to its end, and told what happened.
pub(crate) fn hold(all: &[Told]) -> bool {
    all.iter().all(|told| {
        let is_told = !told.kinds.is_empty() && told.kinds.iter().all(|kind| kind.holds);
        told.complete && is_told && told.is_kept()
    })
}

/// One line for each kind of kill on each kernel.
pub(crate) fn table(all: &[Told]) -> String {
    let head = [
        "kernel",
        "kind",
        "killed",
        "marked",
        "SIGKILL by the kernel",
        "by a process",
        "its name",
        "limit, by the counters",
        "kills counted",
        "groups",
        "vmstat",
        "lost",
        "read after, ms (median, longest)",
        "took, s",
        "holds",
    ];
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for told in all {
        if let Some(why) = &told.unable {
            let _ = writeln!(table, "| {} | unable: {why} |", told.release);
        }
        for kind in &told.kinds {
            let millis = kind
                .late_micros
                .map(|micros| format!("{}.{}", micros / 1000, micros % 1000 / 100));
            let cells = [
                told.release.clone(),
                kind.story.clone(),
                kind.ended.to_string(),
                kind.marked.to_string(),
                kind.by_kernel.to_string(),
                kind.by_process.to_string(),
                kind.sender.clone().unwrap_or_default(),
                kind.limit.clone(),
                kind.counted.to_string(),
                kind.groups.to_string(),
                kind.vmstat.to_string(),
                kind.lost.to_string(),
                millis.join(", "),
                format!("{}.{}", kind.took_millis / 1000, kind.took_millis % 1000 / 100),
                if kind.holds { "yes" } else { "NO" }.to_owned(),
            ];
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
    }
    table.push_str(&unread(all));
    table
}

/// The same for what was kept without the log.
fn unread(all: &[Told]) -> String {
    let head = [
        "kernel",
        "kind, the log unread",
        "killed",
        "kept",
        "with their cgroup",
        "with their level and sender",
        "twice",
        "unattributed in all",
    ];
    let mut table = format!("\n| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for told in all {
        for kept in &told.unread {
            let counts = [kept.ended, kept.kept, kept.placed, kept.levelled, kept.twice];
            let counts = counts.map(|count| count.to_string()).join(" | ");
            let _ = writeln!(
                table,
                "| {} | {} | {counts} | {} |",
                told.release, kept.storm, kept.unattributed
            );
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_told_nothing_or_something_else_does_not_hold() {
        let kind = |holds| KillsTold {
            story: "pod limit".into(),
            late_micros: [1_250, 40_000],
            holds,
            ..KillsTold::default()
        };
        let told = |kinds| Told {
            release: "6.1.0".into(),
            complete: true,
            unable: None,
            kinds,
            counts: true,
            unread: vec![StormKept::default()],
        };
        let unread = |kept| Told {
            unread: vec![kept],
            ..told(vec![kind(true)])
        };
        let kept = StormKept {
            ended: 4,
            kept: 4,
            placed: 4,
            levelled: 4,
            unattributed: 1,
            ..StormKept::default()
        };
        assert!(hold(&[unread(kept.clone())]));
        assert!(!hold(&[unread(StormKept {
            placed: 3,
            ..kept.clone()
        })]));
        assert!(!hold(&[unread(StormKept { twice: 1, ..kept })]));
        assert!(hold(&[told(vec![kind(true)])]));
        assert!(!hold(&[told(vec![kind(true), kind(false)])]));
        assert!(!hold(&[told(Vec::new())]));
        assert!(!hold(&[Told {
            complete: false,
            ..told(vec![kind(true)])
        }]));
        let table = table(&[told(vec![kind(false)])]);
        assert!(
            table.contains("| 6.1.0 | pod limit |")
                && table.contains("| 1.2, 40.0 |")
                && table.contains("| NO |"),
            "{table}"
        );
    }
}
