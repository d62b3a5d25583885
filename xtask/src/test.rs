//! `cargo xtask test`: the README's test command. The whole workspace's own tests, hermetic, then real kernels in the lab.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{lab, shell};

pub(crate) const USAGE: &str = "\
usage: cargo xtask test [--all]

  every test of the workspace, then the lab's smoke run: one kernel, four scenarios
  --all  every kernel and scenario of the lab instead";

/// Runs the tests; `--all` runs every kernel and scenario of the lab instead of the smoke run.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let all = match arguments {
        [] => false,
        [flag] if flag == "--all" => true,
        _ => bail!("{USAGE}"),
    };
    let mut steps = Steps::default();
    run_steps(&mut steps, all);
    steps.finish("cargo xtask test")?;
    Ok(ExitCode::SUCCESS)
}

/// The steps build on each other: what does not compile or fails by itself tells nothing in a guest.
fn run_steps(steps: &mut Steps, all: bool) -> bool {
    let cargo_test = ["test", "--workspace", "--locked", "--no-fail-fast"];
    let (lab_step, extent) = if all {
        ("lab, everything", "--all")
    } else {
        ("lab, smoke", "--smoke")
    };
    // The build is a step of its own, so that a slow compile does not read as slow tests.
    steps.step("build the tests", || {
        shell::run(shell::cargo(&cargo_test).arg("--no-run"))
    }) && steps.step("test", || shell::run(&mut shell::cargo(&cargo_test)))
        && steps.step(lab_step, || {
            if lab::run(vec![extent.to_owned()])? != ExitCode::SUCCESS {
                bail!("the lab found failures; they are listed above");
            }
            Ok(())
        })
}
