//! A thousand random worlds of fresh seeds, with the engine on every node and all checkers looking on.
//!
//! A seed and a commit are all that is needed to see the same again, so both are printed. The worlds themselves are run by an
//! example of the simulator, built with optimisation and without the long linking of a release. What it refuses to do: try
//! again until it fits. A broken rule is a failure, whichever seed shows it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, output, program};

pub(crate) const USAGE: &str = "\
usage: cargo xtask soak [OPTION…]

  --seeds N    so many random worlds (default 1000)
  --from SEED  from this seed on (default: a fresh one)";
/// So many worlds where nothing else is said.
const SEEDS: u64 = 1000;

/// Which seeds are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: u64,
    count: u64,
}

/// Runs them.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let range = parse(arguments)?;
    let commit = commit();
    println!("{} seeds from {} at commit {commit}", range.count, range.from);
    let status = worlds(range)
        .status()
        .context("cannot start cargo for the worlds")?;
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(1) => {
            println!("at commit {commit}; see one again with");
            println!("  cargo run --release -p forestall -- simulate random --checkers --seed SEED");
            Ok(ExitCode::FAILURE)
        }
        _ => bail!("the worlds could not be run to their end: {status}"),
    }
}

/// The program that runs them.
fn worlds(range: Range) -> Command {
    let profile = [
        "profile.soak.inherits=\"release\"",
        "profile.soak.lto=\"off\"",
        "profile.soak.codegen-units=16",
    ];
    let mut command = cargo(&["run", "--quiet", "--profile", "soak"]);
    for setting in profile {
        command.args(["--config", setting]);
    }
    command.args(["-p", "forestall-sim", "--example", "soak", "--"]);
    command.args([range.from.to_string(), range.count.to_string()]);
    command
}

/// What is asked for.
fn parse(arguments: &[String]) -> Result<Range> {
    let mut range = Range {
        from: fresh_seed(),
        count: SEEDS,
    };
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let into = match word.as_str() {
            "--seeds" => &mut range.count,
            "--from" => &mut range.from,
            other => bail!("unknown argument {other:?}\n{USAGE}"),
        };
        let value = rest
            .next()
            .with_context(|| format!("{word} needs a number\n{USAGE}"))?;
        *into = value
            .parse()
            .with_context(|| format!("{word} {value:?} is no number\n{USAGE}"))?;
    }
    Ok(range)
}

/// Where nobody has been before: a number from the operating system's own randomness, short enough to be copied by hand.
fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000_000
}

/// What is checked out, and whether it was changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| output(&mut program("git", arguments));
    let Ok(commit) = git(&["rev-parse", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|text| !text.is_empty());
    let mark = if changed { " with changes" } else { "" };
    format!("{}{mark}", commit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_range_is_what_was_asked_for_and_a_thousand_fresh_ones_else() {
        let range = parse(&words("--seeds 5 --from 105")).expect("sound");
        assert_eq!(range, Range { from: 105, count: 5 });
        let (one, other) = (parse(&[]).expect("sound"), parse(&[]).expect("sound"));
        assert_eq!(one.count, 1000);
        assert_ne!(one, other, "fresh each time");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for line in ["--seeds", "--seeds many", "--from -1", "--tries 3"] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn the_worlds_are_told_their_range() {
        let command = worlds(Range { from: 7, count: 2 });
        let told: Vec<_> = command.get_args().collect();
        assert!(told.ends_with(&["--".as_ref(), "7".as_ref(), "2".as_ref()]));
    }
}
