//! `cargo xtask e2e`: sees to what a real cluster is made of, and becomes the harness (`e2e/`) in a network of its own.
//!
//! It refuses to take what is installed on this machine for what is pinned: the cluster's programs are built from `e2e/modules`, the
//! kernel is the lab's, and what they need of Debian is unpacked into the cache.
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Error, Result, bail};

use crate::{binary, dist, lab, shell, tools};

mod machine;
mod programs;

pub(crate) const USAGE: &str = "\
usage: cargo xtask e2e [--all] [--keep] [--times COUNT] [SCENARIO…]

  scenarios on a real Kubernetes: a control plane in a network namespace of its own, nodes as emulated machines.
  Needs root, Go and a C compiler; the first run builds for some ten minutes. Logs are in target/e2e.

  --all    every scenario; by default those that are gates
  --keep   leave the cluster up afterwards until Ctrl-C, and say how kubectl reaches it
  --times  so many times in a row, on one cluster
  --list   only name the scenarios";

/// What pods of scenarios are made of, and the process that holds a pod's sandbox; the harness calls it by this name, too.
const WORK_IMAGE: &str = "forestall.test/work:1";

/// Becomes the harness, so that whoever ends this ends that.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    shell::run(&mut shell::cargo(&[
        "build",
        "--quiet",
        "--locked",
        "-p",
        "forestall-e2e",
    ]))?;
    let target = shell::target_directory()?;
    let harness = target.join("debug/forestall-e2e");
    // A word that it does not know ends this now, and not after the builds.
    let check = shell::program(&harness, &[]).args(arguments).status();
    if !check.context("starting the harness")?.success() {
        return Ok(ExitCode::from(2));
    }
    if arguments.iter().any(|word| word == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    if !tools::is_root() {
        bail!("a network namespace takes root; run this as root");
    }
    let cache = tools::cache()?.join("e2e");
    let source = shell::root().join("e2e");
    let programs = programs::build(&source.join("modules"), &cache)?;
    let qemu = lab::emulator()?;
    let (worker, target) = lab::build_init()?;
    let agent = binary::build("forestall")?;
    let busybox = tools::unpack_debian("busybox-static", "bin/busybox")?;
    let [work_image, image] = images(&target, &worker, &busybox, &agent)?;
    let machine = machine::make(&cache, &source, &busybox)?;
    let paths = [
        ("machine", &machine),
        ("qemu", &qemu),
        ("busybox", &busybox),
        ("agent", &agent),
        ("worker", &worker),
        ("images", &work_image),
        ("images", &image),
        ("deploy", &shell::root().join("deploy/kustomize")),
        ("guest", &source.join("guest")),
        ("cache", &cache),
        ("logs", &target.join("e2e")),
    ];
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(harness);
    for (part, path) in paths {
        command.arg(format!("--{part}")).arg(path);
    }
    for folder in programs {
        command.arg("--programs").arg(folder);
    }
    let error = command.args(arguments).exec();
    Err(Error::new(error).context("unshare cannot be run; install util-linux"))
}

/// The images that a node imports: that of the pods that work, and forestall's own, as it is handed out.
fn images(target: &Path, worker: &Path, busybox: &Path, agent: &Path) -> Result<[PathBuf; 2]> {
    let folder = target.join("e2e-images");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (work, own) = (folder.join("work.tar"), folder.join(dist::file_name()));
    dist::write_work_image(WORK_IMAGE, worker, busybox, &work)?;
    dist::write_image(agent, &own)?;
    Ok([work, own])
}
