//! `cargo xtask bench`: what forestall costs, measured in one run beside its peers and beside the floor.
//!
//! A figure of one machine says little about another, so the gates are ratios to something measured a moment earlier or
//! later on the same machine: another daemon, or the bare reads without which nobody can know anything. Sizes are absolute.
//! It refuses to kill or to act on this machine: every guard runs in its dry mode, or on a machine made of files.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::binary;

mod daemon;
mod fleet;
mod floor;
mod guard;
mod idle;
mod lines;
mod log;
mod look;
mod pods;
mod reaction;
mod report;
mod request;
mod rows;
mod stall;
mod step;
mod thrash;

use report::Report;
use rows::{Measurement, Wanted};

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [--write | --only ROW,…]

  what forestall costs beside its peers and the floor, measured on this machine
  --write     also keep the figures in docs/benchmarks
  --only ROW  only these rows; a name that is none is answered with all of them";

/// What a daemon does once, at its start, is not part of what it costs.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures everything that this machine allows, or with `--only` some rows of it; `--write` keeps the figures.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let wanted = Wanted::parse(arguments)?;
    let mut report = Report::of_this_machine()?;
    if wanted.measures(Measurement::Fleet) {
        fleet::measure(&mut report)?;
    }
    if wanted.measures(Measurement::Step) {
        step::measure(&mut report)?;
    }
    if wanted.measures_the_binary() {
        measure_the_binary(&wanted, &mut report)?;
    }
    report.keep_rows(|row| wanted.shows(row));
    println!("{}", report.render());
    if wanted.write {
        report.write()?;
    }
    Ok(if report.all_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is measured of the binary that ships.
fn measure_the_binary(wanted: &Wanted, report: &mut Report) -> Result<()> {
    let binary = binary::build("forestall")?;
    if wanted.measures(Measurement::Replay) {
        fleet::measure_replay(&binary, report)?;
    }
    if wanted.measures(Measurement::Idle) {
        idle::measure(&binary, report)?;
    }
    if wanted.measures(Measurement::Guard) {
        guard::measure(&binary, report)?;
    }
    if wanted.measures(Measurement::Look) {
        look::measure(report)?;
    }
    if wanted.measures(Measurement::Log) {
        log::measure(&binary, report)?;
    }
    if wanted.measures(Measurement::Reaction) {
        reaction::measure(&binary, report)?;
    }
    if wanted.measures(Measurement::Request) {
        request::measure(report)?;
    }
    if wanted.measures(Measurement::Stall) {
        stall::measure(&binary, report);
    }
    if wanted.measures(Measurement::Thrash) {
        thrash::measure(&binary, report);
    }
    Ok(())
}
