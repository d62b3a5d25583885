//! The project's own chores: `cargo xtask CHORE …`. Each chore is a module; this file only picks one.
//!
//! One program instead of scripts, so that a chore is type-checked, works the same on every machine and can say what it
//! lacks. What it refuses to do: publish, push, or reach anything but package registries through their own clients.

use std::process::ExitCode;

mod bench;
mod budget;
mod calibrate;
mod ci;
mod lab;
mod oracle;
mod replay;
mod shell;
mod soak;
mod steps;
mod test;
mod tools;

const USAGE: &str = "\
usage: cargo xtask CHORE

  test [--all]     every test of the workspace, then the lab's smoke run; --all: every kernel and scenario of the lab
  ci               formatting, lints, dependencies, documentation, the arm64 check and budgets
  lab …            scenarios with real kills under real kernels; `cargo xtask lab --list` names them
  calibrate …      the simulator's kills beside the lab's; --measure runs the lab for it, --write keeps the page
  oracle …         the shadow kubelet against Kubernetes' own code: 10,000 random cases of each kind (needs Go)
  replay           every trace under every policy, the same from debug and release builds; how long a day takes
  soak …           1,000 random worlds of fresh seeds under all checkers; --seeds N, --from SEED
  bench [--write]  what forestall costs beside its peers; --write keeps the figures in docs/benchmarks";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run_chore(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_chore(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let chore = arguments
        .split_first()
        .map(|(chore, rest)| (chore.as_str(), rest));
    match chore {
        Some(("test", rest)) => test::run(rest),
        Some(("ci", rest)) => ci::run(rest),
        Some(("lab", rest)) => lab::run(rest.to_vec()),
        Some(("oracle", rest)) => oracle::run(rest),
        Some(("bench", rest)) => bench::run(rest),
        Some(("calibrate", rest)) => calibrate::run(rest),
        Some(("replay", rest)) => replay::run(rest),
        Some(("soak", rest)) => soak::run(rest),
        Some(("help" | "--help" | "-h", _)) => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}
