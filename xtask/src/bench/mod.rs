//! `cargo xtask bench`: what forestall costs, measured in one run beside its peers and beside the floor.
//!
//! A figure of one machine says little about another, so the gates are ratios to something measured a moment earlier or
//! later on the same machine: another daemon, or the bare reads without which nobody can know anything. Sizes are absolute.
//! It refuses to kill or to act on this machine: every guard runs in its dry mode, or on a machine made of files.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::budget;

mod daemon;
mod floor;
mod guard;
mod idle;
mod pods;
mod reaction;
mod report;

use report::Report;

/// How long each process is watched. At one tick a second this gives 20 ticks.
const WATCH: Duration = Duration::from_secs(20);

/// What a daemon does once, at its start, is not part of what it costs.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures everything that this machine allows; `--write` keeps the figures.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let write = match arguments {
        [] => false,
        [flag] if flag == "--write" => true,
        _ => bail!("usage: cargo xtask bench [--write]"),
    };
    let binary = budget::build_static()?;
    let mut report = Report::of_this_machine()?;
    idle::measure(&binary, &mut report)?;
    guard::measure(&binary, &mut report)?;
    reaction::measure(&binary, &mut report)?;
    println!("{}", report.render());
    if write {
        report.write()?;
    }
    Ok(if report.all_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
