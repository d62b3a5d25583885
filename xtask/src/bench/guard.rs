//! The guard over 256 containers at one look a second, beside bare reads of the files that a look reads.
//!
//! The whole agent over real cgroups, where these can be made, and one look in one process over plain files.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::Daemon;
use super::idle::agent_command;
use super::pods::RealTree;
use super::report::Report;
use super::{WATCH, floor};
use crate::{shell, tools};

/// Containers in the tree.
const CONTAINERS: usize = 256;

/// The guard may cost this many times what reading the same files costs.
const RATIO_MAX: f64 = 3.0;

const PERIOD: Duration = Duration::from_secs(1);

/// What a look reads of each cgroup on v1; a kernel without swap accounting lacks the last one.
const FILES_OF_A_LOOK: [&str; 5] = [
    "memory.usage_in_bytes",
    "memory.stat",
    "memory.limit_in_bytes",
    "memory.oom_control",
    "memory.memsw.limit_in_bytes",
];

/// Measures both.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    match RealTree::make(CONTAINERS) {
        Ok(tree) => measure_agent(binary, tree.root(), report)?,
        Err(error) => report.unmet("guard-cgroups", &format!("{error:#}")),
    }
    measure_look(report)
}

fn measure_agent(binary: &Path, root: &Path, report: &mut Report) -> Result<()> {
    let log = tools::cache()?.join("bench/guard.log");
    let mut command = agent_command(binary);
    let agent = Daemon::start(command.args(["--interval", "1s"]), &log)?;
    let mut files = Vec::new();
    collect_files(root, &mut files)?;
    // Both at once, so that whatever else runs on this machine disturbs both.
    let sweeps = u32::try_from(WATCH.as_secs()).context("watched for too long")?;
    let looks_before = looks_of(&log)?;
    let (usage, floor) = thread::scope(|scope| {
        let floor = scope.spawn(|| floor::measure_sweep(&files, sweeps, PERIOD));
        let usage = agent.watch(WATCH);
        (usage, floor.join())
    });
    let usage = usage?;
    let floor = floor.ok().context("the floor panicked")??;
    let looks = looks_of(&log)?.saturating_sub(looks_before);
    let held = agent.held_files(root)?.len();
    drop(agent);
    if held < CONTAINERS {
        bail!(
            "the agent holds {held} files of {CONTAINERS} containers open; its log is {}",
            log.display()
        );
    }
    if looks == 0 {
        bail!("the agent has not looked once; its log is {}", log.display());
    }
    let what = format!(
        "agent over {CONTAINERS} containers (real cgroups, v1), processor time of a look, all threads: against bare reads"
    );
    report.ratio(
        "guard-cgroups",
        &what,
        micros(usage.cpu / looks),
        micros(floor),
        "µs",
        RATIO_MAX,
    );
    report.note(format!(
        "guard-cgroups: {:.3} % of a processor, {looks} looks in {:.0?}; {} reads a look, the floor has {} files and all of them open, the agent {held}",
        usage.cpu_percent(),
        usage.wall,
        usage.reads / u64::from(looks),
        files.len(),
    ));
    Ok(())
}

/// How often the agent has looked, by its own metrics; its log says where these are.
fn looks_of(log: &Path) -> Result<u32> {
    let said = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let (_, rest) = said
        .split_once("listening on http://")
        .context("the agent's log does not say where it listens")?;
    let address: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
        .collect();
    let mut stream = TcpStream::connect(&address).with_context(|| format!("cannot connect to {address}"))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let looks = page
        .lines()
        .find_map(|line| line.strip_prefix("forestall_ticks_total"));
    looks
        .and_then(|rest| rest.split_whitespace().last()?.parse().ok())
        .context("the metrics lack forestall_ticks_total")
}

/// The files of every cgroup below `folder` that a look reads.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    files.extend(
        FILES_OF_A_LOOK
            .iter()
            .map(|name| folder.join(name))
            .filter(|path| path.is_file()),
    );
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect_files(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// The benchmark `look` is a program of its own, because it is linked with the guard's crates and this one is not.
fn measure_look(report: &mut Report) -> Result<()> {
    let printed = shell::output(&mut shell::cargo(&[
        "bench",
        "--locked",
        "--package",
        "xtask",
        "--bench",
        "look",
    ]))?;
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("look "))
        .context("the benchmark `look` said nothing")?;
    let nanos: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [ours, floor] = nanos[..] else {
        bail!("the benchmark `look` said: {line}")
    };
    let what = format!("one look over {CONTAINERS} containers (plain files, v2): against bare reads");
    let (ours, floor) = (Duration::from_nanos(ours), Duration::from_nanos(floor));
    report.ratio("look-files", &what, micros(ours), micros(floor), "µs", RATIO_MAX);
    Ok(())
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
