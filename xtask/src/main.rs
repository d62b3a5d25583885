//! The project's own chores: `cargo xtask CHORE …`. Each chore is a module; this file only picks one.
//!
//! One program instead of scripts, so that a chore is type-checked, works the same on every machine and can say what it
//! lacks. What it refuses to do: publish, push, or reach anything but package registries through their own clients.

use std::process::ExitCode;

mod budget;
mod ci;
mod lab;
mod shell;
mod steps;
mod test;
mod tools;

const USAGE: &str = "\
usage: cargo xtask CHORE

  test [--all]   every test of the workspace, then the lab's smoke run; --all: every kernel and scenario of the lab
  ci             formatting, lints, dependencies, documentation, the arm64 check and budgets
  lab …          scenarios with real kills under real kernels; `cargo xtask lab --list` names them";

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("test") => test::run(&args.collect::<Vec<_>>()),
        Some("ci") => ci::run(&args.collect::<Vec<_>>()),
        Some("lab") => lab::run(args.collect()),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}
