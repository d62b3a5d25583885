//! The trial of the agent's ledger (`--try storms`): on each kernel kills one by one, a thousand while the agent is ended by force, and
//! a storm in which nobody can be killed. It tells what was kept, as a table and as `target/lab/storms.json`.
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{CONFIG, Hierarchy, Naming, Plan, Trial};
use forestall_lab_init::report::{Report, StormKept};
use serde::Serialize;

use super::draw::Dice;
use super::guest::{self, Parts};
use super::kernels::Image;
use super::options::Options;
use super::{cast, job};

/// What was kept on one kernel.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    /// `uname -r`, as the guest says it.
    release: String,
    /// Its cgroups' counters add up: it is v2.
    counts: bool,
    /// It came to its end.
    complete: bool,
    /// Why it did not, if it said so.
    unable: Option<String>,
    storms: Vec<StormKept>,
}

/// Tries on every kernel, one guest after the other, and writes the file.
pub(crate) fn run(parts: &Parts, images: &[Image], options: &Options) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let label = format!("{}-storms", image.kernel.name);
        eprintln!("lab: [{}/{}] {label}", index + 1, images.len());
        let plan = plan(options);
        let (outcome, _) = job::boot(&label, || {
            guest::run(parts, image, &plan, options.memory_mib, &label)
        })?;
        let mut kept = Kept {
            release: String::new(),
            counts: options.hierarchy == Hierarchy::V2,
            complete: false,
            unable: None,
            storms: Vec::new(),
        };
        for report in outcome.reports {
            match report {
                Report::Booted { kernel, .. } => kept.release = kernel,
                Report::Unable { why } => kept.unable = Some(why),
                Report::Ended { .. } => kept.complete = true,
                Report::Storm(storm) => kept.storms.push(storm),
                _ => {}
            }
        }
        all.push(kept);
    }
    let path = parts.folder.join("storms.json");
    let text = serde_json::to_vec_pretty(&all).context("what was kept, as JSON")?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("lab: results in {}", path.display());
    Ok(all)
}

/// An empty node with an agent that may read the kernel's log, and time for storms.
fn plan(options: &Options) -> Plan {
    let mut plan = cast::node(&mut Dice::new(1, "storms"), "storms", 1);
    plan.hierarchy = options.hierarchy;
    plan.naming = Naming::Cgroupfs;
    plan.kubepods_limit = None;
    plan.trial = Some(Trial::Storms);
    if let Some(agent) = &mut plan.agent {
        agent.args = ["agent", "--config", CONFIG].map(str::to_owned).to_vec();
        agent.as_pod = false;
        agent.full_caps = true;
    }
    plan.calm_millis = 2_000;
    plan.deadline_millis = 900_000;
    plan
}

/// Whoever was put into a cgroup before the agent was ended by force, and was not kept by then, is gone with what the first agent knew of it: of
/// eight that grow at a time, and of those that were killed in the last 200 ms, which are kept together.
const IN_FLIGHT: usize = 16;

/// Whether every kernel came to its end, every kill was kept once, and on v2 each with its level and its cgroup, but for those in flight.
pub(crate) fn hold(all: &[Kept]) -> bool {
    let is_kept = |storm: &StormKept, counts: bool| {
        let is_known = storm.levelled == storm.ended && storm.placed + IN_FLIGHT >= storm.ended;
        storm.kept == storm.ended && storm.twice == 0 && (!counts || is_known)
    };
    let are_kept = |kept: &Kept| kept.storms.iter().all(|storm| is_kept(storm, kept.counts));
    all.iter()
        .all(|kept| kept.complete && kept.storms.len() == 3 && are_kept(kept))
}

/// One line for each storm on each kernel.
pub(crate) fn table(all: &[Kept]) -> String {
    let head = [
        "kernel",
        "storm",
        "killed",
        "kept",
        "with their cgroup",
        "with their level",
        "twice",
        "unattributed",
        "records",
        "of them lost",
        "agent's peak, KiB",
        "CPU: agent, of it the ledger's thread, bare reader, ms",
        "kept later than by a bare reader of tracing, ms (median, longest)",
        "took, s",
    ];
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for kept in all {
        if let Some(why) = &kept.unable {
            let _ = writeln!(table, "| {} | unable: {why} |", kept.release);
        }
        for storm in &kept.storms {
            let cells = [
                kept.release.clone(),
                storm.storm.clone(),
                storm.ended.to_string(),
                storm.kept.to_string(),
                storm.placed.to_string(),
                storm.levelled.to_string(),
                storm.twice.to_string(),
                storm.unattributed.to_string(),
                storm.records.to_string(),
                storm.lost_records.to_string(),
                storm.agent_peak_kib.to_string(),
                storm.cpu_millis.map(|millis| millis.to_string()).join(", "),
                storm
                    .delay_micros
                    .map(|micros| format!("{}.{}", micros / 1000, micros % 1000 / 100))
                    .join(", "),
                (storm.took_millis / 1000).to_string(),
            ];
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_did_not_live_through_all_or_kept_one_twice_does_not_hold() {
        let kept = |storms| Kept {
            release: "6.1.0".into(),
            counts: true,
            complete: true,
            unable: None,
            storms: vec![StormKept::default(); storms],
        };
        assert!(hold(&[kept(3)]));
        assert!(!hold(&[kept(3), kept(2)]));
        let mut twice = kept(3);
        twice.storms[1].twice = 1;
        assert!(!hold(&[twice]));
        let mut bare = kept(3);
        (bare.storms[0].ended, bare.storms[0].kept) = (1, 1);
        assert!(!hold(std::slice::from_ref(&bare)));
        bare.counts = false;
        assert!(hold(&[bare]), "v1 counts nothing that could tell");
        let mut unplaced = kept(3);
        let counts = &mut unplaced.storms[1];
        (counts.ended, counts.kept, counts.levelled, counts.placed) = (1000, 1000, 1000, 984);
        assert!(hold(std::slice::from_ref(&unplaced)));
        unplaced.storms[1].placed = 983;
        assert!(!hold(&[unplaced]));
        let mut lost = kept(3);
        lost.storms[0].ended = 1;
        assert!(!hold(&[lost]));
        assert!(table(&[kept(2)]).contains("| 6.1.0 |"));
    }
}
