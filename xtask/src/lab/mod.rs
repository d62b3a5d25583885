//! `cargo xtask lab`: real kernels under emulation, real cgroups, real kills, with and without the agent.
//!
//! Each run is a guest of its own, booted from a stock Debian kernel and an initramfs that holds the lab's init, the
//! agent's shipped binary and a plan. What the lab refuses to do: judge by timing, retry a verdict (a guest without one is tried once more, and counted), or leave anything on
//! the machine outside of its cache and cargo's target directory (but the emulator's package, as root).
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::Trial;

use self::guest::Parts;
use self::job::{Done, Job};
use self::kernels::Image;
use self::options::Options;
use self::results::Results;
use crate::{binary, shell, tools};

mod brakes;
mod cast;
pub(crate) mod cpio;
mod draw;
mod guest;
mod job;
pub(crate) mod kernels;
mod kills;
mod matrix;
mod options;
pub(crate) mod reaction;
mod recording;
mod results;
pub(crate) mod scenario;
mod storms;
mod trial;
mod verdict;

const QEMU: &str = "qemu-system-x86_64";

/// Runs the lab; success means that every verdict holds.
pub(crate) fn run(args: Vec<String>) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    if options.help {
        println!("{}", options::USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    if options.list {
        for scenario in scenario::ALL.iter() {
            println!("{:16}  {}", scenario.name, scenario.about);
        }
        println!("kernels: {}", kernels::ALL.map(|kernel| kernel.name).join(", "));
        return Ok(ExitCode::SUCCESS);
    }
    let (parts, images, results) = prepare(&options)?;
    let success = if let Some(trial) = options.trial {
        let (table, success) = match trial {
            Trial::Rights => {
                let trials = trial::run(&parts, &images, &options)?;
                (trials.table(), trials.complete())
            }
            Trial::Kills => {
                let told = kills::run(&parts, &images, &options)?;
                (kills::table(&told), kills::hold(&told))
            }
            Trial::Storms => {
                let kept = storms::run(&parts, &images, &options)?;
                (storms::table(&kept), storms::hold(&kept))
            }
            Trial::Brakes => {
                let seen = brakes::run(&parts, &images, &options)?;
                (brakes::table(&seen), brakes::hold(&seen))
            }
        };
        print!("{table}");
        for skipped in &results.skipped {
            println!("lab: skipped {}: {}", skipped.what, skipped.why);
        }
        success
    } else {
        let results = experiment(&parts, &images, &options, results)?;
        print!("{}\n{}", results.table(), matrix::render(&results));
        println!("{}", results.summary());
        if options.write {
            let path = shell::root().join(matrix::PAGE);
            std::fs::write(&path, matrix::page(&results))
                .with_context(|| format!("writing {}", path.display()))?;
        }
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
    let (init, target) = build_init()?;
    let folder = target.join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let agent = match &options.binary {
        Some(binary) => Some(binary.clone()),
        // The trial of rights is the init's own.
        None if (options.with || options.record.is_some()) && options.trial != Some(Trial::Rights) => {
            Some(binary::build("forestall")?)
        }
        None => None,
    };
    let logs = options.keep_logs.clone().unwrap_or_else(|| folder.join("logs"));
    let parts = Parts {
        init,
        agent,
        qemu,
        folder,
        logs: Some(logs),
        counted_clock: options.counted_clock,
    };

    let mut results = match &options.into {
        Some(path) => Results::read(path)?,
        None => Results::empty(),
    };
    let mut images = Vec::new();
    for kernel in &options.kernels {
        match kernel.fetch() {
            Ok(image) => {
                results.use_kernel(kernel.name, &image.version);
                images.push(image);
            }
            Err(error) => {
                let (what, why) = (format!("kernel {}", kernel.name), format!("{error:#}"));
                eprintln!("lab: skipping {what}: {why}");
                results.skip(what, why);
            }
        }
    }
    if images.is_empty() {
        bail!("no kernel could be had: {}", results.summary());
    }

    Ok((parts, images, results))
}

/// Runs what the results have not yet, and writes them down after each run.
fn experiment(parts: &Parts, images: &[Image], options: &Options, results: Results) -> Result<Results> {
    let commit = shell::output(&mut shell::program("git", &["rev-parse", "--short", "HEAD"]))?;
    let commit = commit.trim();
    let path = options
        .into
        .clone()
        .unwrap_or_else(|| parts.folder.join("results.json"));
    let jobs: Vec<Job> = job::all(options, images)
        .into_iter()
        .filter(|job| !job.is_in(&results, options, commit))
        .collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(results);
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else {
                return Ok(());
            };
            let place = format!("[{}/{}]", index + 1, jobs.len());
            eprintln!("lab: {place} {}", job.label());
            let done = job.run(parts, options, commit).with_context(|| job.label())?;
            let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            note(&mut results, job, done, &place);
            results.write(&path)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| bail!("a worker of the lab panicked"))
        })
    })?;
    let results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    results.write(&path)?;
    eprintln!("lab: results in {}", path.display());
    Ok(results)
}

fn note(results: &mut Results, job: &Job, done: Done, place: &str) {
    results.guests_retried += u32::from(done.retried);
    match done.run {
        Some(run) => {
            let word = if run.verdict.holds { "ok" } else { "FAILED" };
            eprintln!("lab: {place} {word}: {}", run.verdict.outcome);
            results.take(run);
        }
        None => results.skip(job.label(), done.skipped.unwrap_or_default()),
    }
}

/// Builds the guest's init; the second path is cargo's target directory.
pub(crate) fn build_init() -> Result<(PathBuf, PathBuf)> {
    let target = shell::target_directory()?;
    Ok((binary::build("forestall-lab-init")?, target))
}

/// Finds the emulator, or installs it where that is allowed.
pub(crate) fn emulator() -> Result<PathBuf> {
    // `qemu-utils-` removes a package of another version that would stand in the way.
    tools::installed(QEMU, &["qemu-system-x86", "qemu-utils-"])
}
