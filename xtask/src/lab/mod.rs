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
use self::kernels::Image;
use self::options::Options;
use self::results::{KernelUsed, Results, Run, Skipped, VERSION};
use self::scenario::Scenario;
use self::verdict::Story;
use crate::{shell, tools};

mod cast;
mod cpio;
mod draw;
mod guest;
mod kernels;
mod options;
mod results;
mod scenario;
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
    let results = experiment(&options)?;
    print!("{}", results.table());
    println!("{}", results.summary());
    Ok(if results.hold() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn experiment(options: &Options) -> Result<Results> {
    let qemu = emulator()?;
    tools::rust_target(TARGET)?;
    let target = shell::target_directory()?;
    let folder = target.join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let init = build("forestall-lab-init", &target)?;
    let agent = match &options.binary {
        Some(binary) => Some(binary.clone()),
        None if options.with => Some(build("forestall", &target)?),
        None => None,
    };
    let parts = Parts {
        init,
        agent,
        qemu,
        folder: folder.clone(),
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

    let jobs = jobs(options, &images);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Job, Result<Done>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&job) = jobs.get(index) else { return };
                    eprintln!("lab: [{}/{}] {}", index + 1, jobs.len(), job.label());
                    let result = job.run(&parts, options);
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
    let path = folder.join("results.json");
    results.write(&path)?;
    eprintln!("lab: results in {}", path.display());
    Ok(results)
}

/// One guest to be run.
#[derive(Clone, Copy)]
struct Job<'a> {
    image: &'a Image,
    scenario: &'static Scenario,
    seed: u64,
    with_agent: bool,
}

/// What came of it.
struct Done {
    run: Option<Run>,
    skipped: Option<String>,
    retried: bool,
}

fn jobs<'a>(options: &Options, images: &'a [Image]) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for image in images {
        for &scenario in &options.scenarios {
            for seed in options.seed..options.seed.saturating_add(options.runs) {
                for with_agent in [false, true] {
                    if if with_agent { options.with } else { options.without } {
                        jobs.push(Job {
                            image,
                            scenario,
                            seed,
                            with_agent,
                        });
                    }
                }
            }
        }
    }
    jobs
}

impl Job<'_> {
    fn label(&self) -> String {
        let with = if self.with_agent { "with" } else { "without" };
        format!(
            "{}-{}-{}-{with}",
            self.image.kernel.name, self.scenario.name, self.seed
        )
    }

    fn run(&self, parts: &Parts, options: &Options) -> Result<Done> {
        let mut plan = self
            .scenario
            .plan(self.seed, &options.agent_args, options.full_caps);
        if !self.with_agent {
            plan.agent = None;
        }
        if plan.zram.is_some() && !self.image.has_module("zram") {
            let skipped = Some("this kernel has no module zram".to_owned());
            return Ok(Done {
                run: None,
                skipped,
                retried: false,
            });
        }
        let memory_mib = self.scenario.memory_mib.unwrap_or(options.memory_mib);
        let mut outcome = guest::run(parts, self.image, &plan, memory_mib, &self.label())?;
        let mut retried = false;
        let mut story = Story::of(&plan, &outcome.reports);
        // Only a guest that never came up is tried again. One that says it is unable did come up.
        if !outcome.booted() && story.unable.is_none() {
            eprintln!(
                "lab: {} did not boot, trying once more:\n{}",
                self.label(),
                outcome.console_tail
            );
            outcome = guest::run(parts, self.image, &plan, memory_mib, &self.label())?;
            story = Story::of(&plan, &outcome.reports);
            retried = true;
            if !outcome.booted() && story.unable.is_none() {
                story.unable = Some("the guest did not boot, twice".to_owned());
            }
        }
        let verdict = if self.with_agent {
            verdict::judge_with(self.scenario, &story)
        } else {
            verdict::judge_without(self.scenario, &story)
        };
        let run = Run {
            kernel: self.image.kernel.name.to_owned(),
            scenario: self.scenario.name.to_owned(),
            seed: self.seed,
            memory_mib,
            with_agent: self.with_agent,
            verdict,
            story,
        };
        Ok(Done {
            run: Some(run),
            skipped: None,
            retried,
        })
    }
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
