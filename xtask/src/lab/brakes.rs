//! The trial of the rung `brake` (`--try brakes`): on each kernel one brake that is left to run, and one whose agent is ended by force and
//! started again. It tells what was seen, as a table and as `target/lab/brakes.json`.
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{CONFIG, Class, Plan, Role, Share, Trial, Work};
use forestall_lab_init::report::{BrakeSeen, Report};
use serde::Serialize;

use super::draw::Dice;
use super::guest::{self, Parts};
use super::kernels::Image;
use super::options::Options;
use super::{cast, job};

/// What was seen on one kernel.
#[derive(Debug, Serialize)]
pub(crate) struct Seen {
    /// `uname -r`, as the guest says it.
    release: String,
    seed: u64,
    /// It came to its end.
    complete: bool,
    /// Why it did not, if it said so.
    unable: Option<String>,
    /// How many the kernel killed meanwhile.
    oom_kills: u64,
    brakes: Vec<BrakeSeen>,
}

/// Tries every seed on every kernel, one guest after the other, and writes the file.
pub(crate) fn run(parts: &Parts, images: &[Image], options: &Options) -> Result<Vec<Seen>> {
    let mut all = Vec::new();
    for image in images {
        for seed in options.seed..options.seed.saturating_add(options.runs) {
            let label = format!("{}-brakes-{seed}", image.kernel.name);
            eprintln!("lab: {label}");
            let plan = plan(seed);
            let (outcome, _) = job::boot(&label, || {
                guest::run(parts, image, &plan, options.memory_mib, &label)
            })?;
            let mut seen = Seen {
                release: String::new(),
                seed,
                complete: false,
                unable: None,
                oom_kills: 0,
                brakes: Vec::new(),
            };
            for report in outcome.reports {
                match report {
                    Report::Booted { kernel, .. } => seen.release = kernel,
                    Report::Unable { why } => seen.unable = Some(why),
                    Report::Brake(brake) => seen.brakes.push(brake),
                    Report::Ended { oom_kills, .. } => {
                        seen.complete = true;
                        seen.oom_kills = oom_kills;
                    }
                    _ => {}
                }
            }
            all.push(seen);
        }
    }
    let path = parts.folder.join("brakes.json");
    let text = serde_json::to_vec_pretty(&all).context("what was seen, as JSON")?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("lab: results in {}", path.display());
    Ok(all)
}

/// A node with its bystanders, and two that leak, one after the other: fast enough to be braked within a minute, and slow enough that
/// a guest sees it coming.
fn plan(seed: u64) -> Plan {
    let mut dice = Dice::new(seed, "brakes");
    let mut plan = cast::node(&mut dice, "brakes", seed);
    plan.trial = Some(Trial::Brakes);
    for name in ["first", "second"] {
        let work = Work::Grow {
            rate: Share(dice.between(12, 25)),
            total: None,
            start: Share(dice.between(50, 150)),
        };
        let mut pod = cast::culprit(&mut dice, name, work);
        pod.class = Class::BestEffort;
        pod.request = Share(0);
        plan.pods.push(pod);
    }
    if let Some(agent) = &mut plan.agent {
        agent.args = ["agent", "--config", CONFIG].map(str::to_owned).to_vec();
    }
    plan.calm_millis = 3_000;
    plan.deadline_millis = 600_000;
    debug_assert!(plan.pods.iter().filter(|pod| pod.role == Role::Culprit).count() == 2);
    plan
}

/// The promise, and the time in which it is seen from outside of a guest's own processor.
const LASTS_MILLIS: u64 = 20_000 + 2_000;

/// The next agent lifts what it finds before it does anything else; a guest's processor takes many times as long to start one.
const LIFTED_MILLIS: u64 = 5_000;

/// Whether on every kernel nobody was killed, a leak was slowed down to a quarter at least and no longer than promised, nothing was left
/// behind, and what a dead agent had left was put back by the next as soon as it started.
pub(crate) fn hold(all: &[Seen]) -> bool {
    let is_slowed = |brake: &BrakeSeen| {
        let unbraked = brake.pace_before * brake.held_millis / 1000;
        brake.pace_before > 0 && brake.grew_bytes * 4 <= unbraked
    };
    all.iter().all(|seen| {
        let [left, crashed] = &seen.brakes[..] else {
            return false;
        };
        seen.complete
            && seen.oom_kills == 0
            && is_slowed(left)
            && left.held_millis <= LASTS_MILLIS
            && left.goes_on_after_millis.is_some()
            && left.high_at_end == "max"
            && crashed.orphaned
            && crashed
                .freed_after_start_millis
                .is_some_and(|millis| millis <= LIFTED_MILLIS)
            && crashed.high_at_end == "max"
    })
}

/// One line for each brake on each kernel, and one for each of those who were asked meanwhile.
pub(crate) fn table(all: &[Seen]) -> String {
    let head = [
        "kernel",
        "seed",
        "brake",
        "pace before, MiB/s",
        "held at, MiB",
        "held for, s",
        "grew meanwhile, MiB",
        "waited for memory, s",
        "goes on after, s",
        "lifted after the next start, s",
        "memory.high at the end",
    ];
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    let seconds = |millis: Option<u64>| millis.map_or_else(|| "–".to_owned(), |millis| tenths(millis, 1000));
    for seen in all {
        if let Some(why) = &seen.unable {
            let _ = writeln!(table, "| {} | {} | unable: {why} |", seen.release, seen.seed);
        }
        for brake in &seen.brakes {
            let cells = [
                seen.release.clone(),
                seen.seed.to_string(),
                brake.what.clone(),
                tenths(brake.pace_before, 1 << 20),
                tenths(brake.high_bytes, 1 << 20),
                tenths(brake.held_millis, 1000),
                tenths(brake.grew_bytes, 1 << 20),
                tenths(brake.stalled_millis, 1000),
                seconds(brake.goes_on_after_millis),
                seconds(brake.freed_after_start_millis),
                brake.high_at_end.clone(),
            ];
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
    }
    table.push('\n');
    table.push_str(&table_of_answers(all));
    table
}

/// What a brake costs those in the container who are asked something.
fn table_of_answers(all: &[Seen]) -> String {
    let head = [
        "kernel",
        "seed",
        "brake",
        "an answer takes, KiB",
        "",
        "asked",
        "median, ms",
        "99 %, ms",
        "longest, ms",
        "longer than 1 s",
    ];
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for seen in all {
        for (brake, it) in seen
            .brakes
            .iter()
            .flat_map(|brake| brake.answers.iter().map(move |it| (brake, it)))
        {
            for (when, answers) in [("before", &it.before), ("braked", &it.braked)] {
                let cells = [
                    seen.release.clone(),
                    seen.seed.to_string(),
                    brake.what.clone(),
                    (it.takes_bytes >> 10).to_string(),
                    when.to_owned(),
                    answers.asked.to_string(),
                    tenths(answers.median_micros, 1000),
                    tenths(answers.p99_micros, 1000),
                    tenths(answers.longest_micros, 1000),
                    answers.late.to_string(),
                ];
                let _ = writeln!(table, "| {} |", cells.join(" | "));
            }
        }
    }
    table
}

fn tenths(value: u64, of: u64) -> String {
    format!("{}.{}", value / of, value % of * 10 / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brake_that_does_not_hold_or_is_left_behind_does_not_hold() {
        let whole = || {
            let left = BrakeSeen {
                what: "let run".into(),
                pace_before: 20 << 20,
                held_millis: 20_100,
                grew_bytes: 100 << 20,
                goes_on_after_millis: Some(1900),
                high_at_end: "max".into(),
                ..BrakeSeen::default()
            };
            let crashed = BrakeSeen {
                orphaned: true,
                freed_after_start_millis: Some(700),
                ..left.clone()
            };
            vec![Seen {
                release: "6.1.0".into(),
                seed: 1,
                complete: true,
                unable: None,
                oom_kills: 0,
                brakes: vec![left, crashed],
            }]
        };
        assert!(hold(&whole()));
        assert!(table(&whole()).contains("| 6.1.0 | 1 | let run | 20.0 |"));
        let breaks: [fn(&mut Seen); 8] = [
            |seen| seen.complete = false,
            |seen| seen.oom_kills = 1,
            // Of 402 MiB a quarter is 100.5.
            |seen| seen.brakes[0].grew_bytes = 101 << 20,
            |seen| seen.brakes[0].held_millis = 22_001,
            |seen| seen.brakes[1].high_at_end = "615514112".into(),
            |seen| seen.brakes[1].freed_after_start_millis = None,
            |seen| seen.brakes[1].freed_after_start_millis = Some(5_001),
            |seen| seen.brakes.truncate(1),
        ];
        for damage in breaks {
            let mut seen = whole();
            damage(&mut seen[0]);
            assert!(!hold(&seen), "{seen:?}");
        }
    }
}
