//! `cargo xtask ci`: what is checked beside the tests, each step cheap enough to run before every commit. A failed step does
//! not keep the others from running: they have nothing to do with each other, and one run should show all there is to do.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{budget, dist, replay, shell, tools};

pub(crate) const USAGE: &str = "\
usage: cargo xtask ci

  formatting, lints, dependencies, documentation, the arm64 check, budgets, the image, and the same replay from every build";

/// The other processor that nodes have; it must compile, and is not run here.
const ARM_TARGET: &str = "aarch64-unknown-linux-musl";

/// Runs every check.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    if !arguments.is_empty() {
        bail!("{USAGE}");
    }
    let mut steps = Steps::default();
    steps.step("format", || {
        shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))
    });
    steps.step("lints", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ];
        shell::run(&mut shell::cargo(&arguments))
    });
    check_dependencies(&mut steps);
    steps.step("documentation", || {
        let mut doc = shell::cargo(&[
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--document-private-items",
        ]);
        shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.step("arm64 compiles", || {
        tools::rust_target(ARM_TARGET)?;
        // Parts of ring are C (`.cargo/config.toml`).
        tools::installed(
            "aarch64-linux-gnu-gcc",
            &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        )?;
        let arguments = [
            "check",
            "--locked",
            "--package",
            "forestall",
            "--target",
            ARM_TARGET,
        ];
        shell::run(&mut shell::cargo(&arguments))
    });
    steps.step("budgets", budget::check);
    steps.step("image", || dist::run(&[]).map(drop));
    steps.step("replay: the same bytes from every build", || {
        replay::compare().map(drop)
    });
    steps.finish("cargo xtask ci")?;
    Ok(ExitCode::SUCCESS)
}

fn check_dependencies(steps: &mut Steps) {
    // On a new machine it is built first, which takes longer than all of its checks.
    let mut deny = None;
    steps.step("cargo-deny", || {
        deny = Some(tools::cargo_deny()?);
        Ok(())
    });
    let Some(deny) = deny else { return };
    steps.step("dependencies: bans, licences, sources", || {
        shell::run(&mut shell::program(
            &deny,
            &["--locked", "check", "bans", "licenses", "sources"],
        ))
    });
    // The advisory database is a git repository of its own. A machine that may only reach package registries cannot have
    // it, and a check that fails for the network's sake teaches people to ignore it: so it is named as not made.
    if fetch_advisories(&deny) {
        steps.step("dependencies: advisories", || {
            shell::run(&mut shell::program(
                &deny,
                &["--locked", "check", "--disable-fetch", "advisories"],
            ))
        });
    } else {
        steps.unmet(
            "known vulnerabilities (RustSec): the advisory database cannot be fetched from here".to_owned(),
        );
    }
}

/// Whether the advisory database could be had within a minute.
fn fetch_advisories(deny: &Path) -> bool {
    shell::succeeds(shell::program("timeout", &["60"]).arg(deny).args(["fetch", "db"]))
}
