//! `cargo xtask calibrate`: the simulator's kills beside those of real kernels.
//!
//! Half of the lab's scenarios fit the simulator's figures, the other half is judged, fast and slow ones apart. What really
//! happened is kept in a file, so a judgement needs no emulator; `--measure` makes it anew. What it refuses to do: fit what it
//! judges, or leave a run out because it is far off.
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use self::judge::{Judgement, judge};
use self::measured::{Clock, Measured};
use crate::{lab, shell};

mod doing;
mod fit;
mod halves;
mod judge;
mod measured;
mod page;
mod parameters;
mod predict;
mod world;

/// Where what happened is kept.
const KEPT: &str = "xtask/src/calibrate/measured.jsonl";
/// The page of a judgement.
const PAGE: &str = "docs/benchmarks/calibration.md";

/// Options of the lab that make it something else than a run to be measured, or put the run elsewhere.
const NOT_MEASURING: [&str; 8] = [
    "--list",
    "--try",
    "--hierarchy",
    "--only-with",
    "--into",
    "--record",
    "--keep-logs",
    "--agent-args",
];

pub(crate) const USAGE: &str = "\
usage: cargo xtask calibrate [OPTION…]

  --measure [LAB-OPTION…]  first run the lab's scenarios (all, or those named) with a counted clock and without help, and
                           keep what happened in place of what is kept of the same runs; --write is ours
  --from DIR               the same, from what `cargo xtask lab --only-without --keep-logs DIR` has left there
  --from-counted DIR       the same with --counted-clock, and --record DIR
  --write                  also write docs/benchmarks/calibration.md";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    write: bool,
    from: Vec<(PathBuf, Clock)>,
    /// The lab's own options.
    measure: Option<Vec<String>>,
}

impl Asked {
    /// Behind `--measure` every word but our own `--write` is the lab's.
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut asked = Self::default();
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            match (word.as_str(), &mut asked.measure) {
                ("--write", _) => asked.write = true,
                (word, Some(_)) if NOT_MEASURING.contains(&word) => {
                    bail!(
                        "{word} is nothing to measure with: a measuring run has cgroup v2, no help and results of its own"
                    );
                }
                (word, Some(options)) => options.push(word.to_owned()),
                ("--measure", None) => asked.measure = Some(Vec::new()),
                ("--from" | "--from-counted", None) => {
                    let folder = rest
                        .next()
                        .with_context(|| format!("{word} wants a directory; see --help"))?;
                    let counted = word == "--from-counted";
                    let clock = if counted { Clock::Counted } else { Clock::Machine };
                    asked.from.push((PathBuf::from(folder), clock));
                }
                (other, None) => bail!("unknown option {other}\n{USAGE}"),
            }
        }
        Ok(asked)
    }
}

/// Judges; success means that the error in the middle is small enough.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let Asked {
        write,
        mut from,
        measure: lab_options,
    } = Asked::parse(arguments)?;
    if let Some(options) = lab_options {
        from.push((measure(options)?, Clock::Counted));
    }
    let path = shell::root().join(KEPT);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut runs = measured::parse(&text)?;
    if !from.is_empty() {
        for (folder, clock) in &from {
            runs = keep(runs, measured::collect(folder, *clock)?);
        }
        let text = measured::print(&runs)?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let judgements = [Clock::Counted, Clock::Machine].map(|clock| judge(clock, &runs));
    for judgement in &judgements {
        print!("{}", page::section(judgement));
    }
    for judgement in &judgements {
        println!("calibrate: {}", page::verdict(judgement));
    }
    if write {
        let path = shell::root().join(PAGE);
        std::fs::write(&path, page::page(&judgements))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let holds = judgements.iter().all(Judgement::holds);
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the lab with an agent that only watches; says where everything about the runs is.
fn measure(options: Vec<String>) -> Result<PathBuf> {
    let folder = shell::target_directory()?.join("calibration");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    // A verdict that does not hold is a run like any other here: what happened is compared.
    let ran = lab::run(measuring(&folder, options));
    if let Err(error) = ran {
        // Hours of guests are not thrown away for one that was lost.
        if !folder.exists() {
            return Err(error);
        }
        eprintln!("calibrate: the lab gave up, and what it had measured by then is kept: {error:#}");
    }
    Ok(folder)
}

/// The lab's words for a run that measures.
fn measuring(folder: &Path, options: Vec<String>) -> Vec<String> {
    let place = folder.display().to_string();
    let words = [
        "--only-without",
        "--counted-clock",
        "--record",
        &place,
        "--keep-logs",
        &place,
    ];
    words.into_iter().map(str::to_owned).chain(options).collect()
}

/// New runs take the place of what is kept of the same ones.
fn keep(mut kept: Vec<Measured>, new: Vec<Measured>) -> Vec<Measured> {
    let key = |run: &Measured| {
        (
            run.clock,
            run.kernel.clone(),
            run.plan.scenario.clone(),
            run.plan.seed,
        )
    };
    kept.retain(|old| !new.iter().any(|run| key(run) == key(old)));
    kept.extend(new);
    kept.sort_by_key(key);
    kept
}

#[cfg(test)]
mod tests;
