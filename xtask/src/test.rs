//! `cargo xtask test`: the README's test command. The whole workspace's own tests, hermetic, then real kernels in the lab, then a real Kubernetes.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{lab, shell, tools};

pub(crate) const USAGE: &str = "\
usage: cargo xtask test [--all]

  every test of the workspace, then the lab's smoke run (one kernel, four scenarios), then those scenarios on a real
  Kubernetes that are gates
  --all  every kernel and scenario of the lab, and every scenario on Kubernetes, instead";

/// Runs the tests; `--all` runs every kernel and scenario instead of some.
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
    let (e2e_step, e2e) = if all {
        ("e2e, everything", &["xtask", "e2e", "--all"][..])
    } else {
        ("e2e, gates", &["xtask", "e2e"][..])
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
        && {
            // A person may have none; where changes are checked a step that cannot run is a failure.
            if tools::is_root() || std::env::var_os("CI").is_some() {
                steps.step(e2e_step, || shell::run(&mut shell::cargo(e2e)))
            } else {
                steps.unmet(format!("{e2e_step}: a network namespace takes root"));
                true
            }
        }
}
