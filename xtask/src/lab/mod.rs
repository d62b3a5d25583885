//! `cargo xtask lab`: real kernels under emulation, real cgroups, real kills, with and without the agent.
//!
//! Each run is a guest of its own, booted from a stock Debian kernel and an initramfs that holds the lab's init, the
//! agent's shipped binary and a plan. What the lab refuses to do: judge by timing, retry a verdict, or leave anything on
//! the machine outside of its cache and cargo's target directory (but the emulator's package, as root).
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use self::guest::Parts;
use self::job::{Done, Job};
use self::kernels::Image;
use self::options::Options;
use self::results::{KernelUsed, Results, Skipped, VERSION};
use crate::{shell, tools};

mod cast;
mod cpio;
mod draw;
mod guest;
mod job;
mod kernels;
mod options;
mod results;
mod scenario;
mod trial;
mod verdict;

const TARGET: &str = "x86_64-unknown-linux-musl";
const QEMU: &str = "qemu-system-x86_64";

/// Runs the lab; success means that every verdict holds.
pub(crate) fn run(args: Vec<String>) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    if options.help {
        println!("{}", options::USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    if options.list {
        for scenario in &scenario::ALL {
            println!("{:16}  {}", scenario.name, scenario.about);
        }
        println!("kernels: {}", kernels::ALL.map(|kernel| kernel.name).join(", "));
        return Ok(ExitCode::SUCCESS);
    }
    let (parts, images, results) = prepare(&options)?;
    let success = if options.tries_rights {
        let trials = trial::run(&parts, &images, &options)?;
        print!("{}", trials.table());
        for skipped in &results.skipped {
            println!("lab: skipped {}: {}", skipped.what, skipped.why);
        }
        trials.complete()
    } else {
        let results = experiment(&parts, &images, &options, results)?;
        print!("{}", results.table());
        println!("{}", results.summary());
        results.hold()
    };
    Ok(if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds what goes into the guests and fetches their kernels. The results so far name the kernels, used and skipped.
fn prepare(options: &Options) -> Result<(Parts, Vec<Image>, Results)> {
    let qemu = emulator()?;
    tools::rust_target(TARGET)?;
    let target = shell::target_directory()?;
    let folder = target.join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let init = build("forestall-lab-init", &target)?;
    let agent = match &options.binary {
        Some(binary) => Some(binary.clone()),
        // A trial is the init's own.
        None if options.with && !options.tries_rights => Some(build("forestall", &target)?),
        None => None,
    };
    let parts = Parts {
        init,
        agent,
        qemu,
        folder,
        logs: options.keep_logs.clone(),
    };

    let mut results = Results {
        version: VERSION,
        kernels: vec![],
        skipped: vec![],
        boots_retried: 0,
        runs: vec![],
    };
    let mut images = Vec::new();
    for kernel in &options.kernels {
        match kernel.fetch() {
            Ok(image) => {
                let (name, package_version) = (kernel.name.to_owned(), image.version.clone());
                results.kernels.push(KernelUsed {
                    name,
                    package_version,
                });
                images.push(image);
            }
            Err(error) => {
                let (what, why) = (format!("kernel {}", kernel.name), format!("{error:#}"));
                eprintln!("lab: skipping {what}: {why}");
                results.skipped.push(Skipped { what, why });
            }
        }
    }
    if images.is_empty() {
        bail!("no kernel could be had: {}", results.summary());
    }

    Ok((parts, images, results))
}

fn experiment(parts: &Parts, images: &[Image], options: &Options, mut results: Results) -> Result<Results> {
    let jobs = job::all(options, images);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Job, Result<Done>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&job) = jobs.get(index) else { return };
                    eprintln!("lab: [{}/{}] {}", index + 1, jobs.len(), job.label());
                    let result = job.run(parts, options);
                    if let Ok(Done { run: Some(run), .. }) = &result {
                        let word = if run.verdict.holds { "ok" } else { "FAILED" };
                        eprintln!(
                            "lab: [{}/{}] {word}: {}",
                            index + 1,
                            jobs.len(),
                            run.verdict.outcome
                        );
                    }
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, job, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, ..)| *index);
    for (_, job, result) in done {
        let result = result.with_context(|| job.label())?;
        results.boots_retried += u32::from(result.retried);
        match (result.run, result.skipped) {
            (Some(run), _) => results.runs.push(run),
            (None, why) => {
                let (what, why) = (job.label(), why.unwrap_or_default());
                results.skipped.push(Skipped { what, why });
            }
        }
    }
    let path = parts.folder.join("results.json");
    results.write(&path)?;
    eprintln!("lab: results in {}", path.display());
    Ok(results)
}

/// Builds a package's binary as it is shipped: static, in the release profile.
fn build(package: &str, target: &std::path::Path) -> Result<PathBuf> {
    eprintln!("lab: building {package}");
    let mut cargo = shell::cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--target",
        TARGET,
        "-p",
        package,
    ]);
    shell::run(&mut cargo)?;
    Ok(target.join(TARGET).join("release").join(package))
}

/// Finds the emulator, or installs it where that is allowed.
fn emulator() -> Result<PathBuf> {
    if let Some(path) = on_path(QEMU) {
        return Ok(path);
    }
    // `qemu-utils-` removes a package of another version that would stand in the way.
    let install = [
        "install",
        "-y",
        "--no-install-recommends",
        "qemu-system-x86",
        "qemu-utils-",
    ];
    let line = format!("apt-get {}", install.join(" "));
    eprintln!("lab: {QEMU} is missing; trying `{line}`");
    shell::run(
        Command::new("apt-get")
            .args(install)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| format!("{QEMU} is missing; as root, `{line}` installs it"))?;
    on_path(QEMU).with_context(|| format!("{QEMU} is still missing after `{line}`"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
