//! The guard over 256 containers at one look a second, beside bare reads of the files that a look reads.
//!
//! The whole agent over real cgroups, where these can be made. What is compared is what a look costs; so that it is a
//! look a second, the agent is configured to that, beside a cgroup of the host's with a limit, next to which it rests from nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::Daemon;
use super::floor::{self, Folder};
use super::idle::agent_command;
use super::pods::RealTree;
use super::report::Report;
use crate::tools;

/// Containers in the tree.
pub(super) const CONTAINERS: usize = 256;

/// The guard may cost this many times what reading the same files costs.
pub(super) const RATIO_MAX: f64 = 3.0;

const PERIOD: Duration = Duration::from_secs(1);

/// Both are watched for so many looks.
const LOOKS: u32 = 40;

/// Of a second a look; fewer or more were made where something else decided the pace.
const LOOKS_OFF_MAX: u32 = 2;

/// A configuration with which the agent looks every second, no more and no less, by its own rules.
const ONE_LOOK_A_SECOND: &str = "timing:\n  interval: 1s\n  tickNear: 1s\n";

/// What a look reads of each cgroup on v1, by this crate's knowledge of the agent; a kernel without swap accounting lacks
/// the last one.
const FILES_OF_A_LOOK: [&str; 6] = [
    "memory.usage_in_bytes",
    "memory.stat",
    "memory.limit_in_bytes",
    "memory.oom_control",
    "cgroup.procs",
    "memory.memsw.limit_in_bytes",
];

/// Measures it, or says why this machine does not allow it.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    match RealTree::make(CONTAINERS) {
        Ok(tree) => measure_agent(binary, tree.root(), report),
        Err(error) => {
            report.unmet("guard-cgroups", &format!("{error:#}"));
            Ok(())
        }
    }
}

fn measure_agent(binary: &Path, root: &Path, report: &mut Report) -> Result<()> {
    let folder = tools::cache()?.join("bench");
    fs::create_dir_all(&folder)?;
    let (log, config) = (folder.join("guard.log"), folder.join("guard.yaml"));
    fs::write(&config, ONE_LOOK_A_SECOND).with_context(|| format!("cannot write {}", config.display()))?;
    let agent = Daemon::start(agent_command(binary).arg("--config").arg(&config), &log)?;
    let agent_holds = agent.held_files(root)?.len();
    if agent_holds < CONTAINERS {
        bail!(
            "the agent holds {agent_holds} files of {CONTAINERS} containers open; its log is {}",
            log.display()
        );
    }
    let mut folders = Vec::new();
    collect_folders(root, &mut folders)?;
    // Both at once, so that whatever else runs on this machine disturbs both.
    let looks_before = looks_of(&log)?;
    let (usage, floor) = thread::scope(|scope| {
        let floor = scope.spawn(|| floor::measure_sweep(&folders, LOOKS, PERIOD));
        let usage = agent.watch(PERIOD * LOOKS);
        (usage, floor.join())
    });
    let usage = usage?;
    let floor = floor.ok().context("the floor panicked")??;
    let looks = looks_of(&log)?.saturating_sub(looks_before);
    drop(agent);
    if looks == 0 {
        bail!("the agent has not looked once; its log is {}", log.display());
    }
    let what = format!(
        "agent over {CONTAINERS} containers (real cgroups, v1) at 1 Hz, processor time of a look, all threads: against bare reads of \
         the same cgroup files"
    );
    report.ratio(
        "guard-cgroups",
        &what,
        micros(usage.cpu / looks),
        micros(floor.sweep),
        "µs",
        RATIO_MAX,
    );
    if looks.abs_diff(LOOKS) > LOOKS_OFF_MAX {
        report.disturb(
            "guard-cgroups",
            "looks came at another pace than one a second: the agent looks less often where looking takes over an eighth of a \
             processor or has to wait for one, and more often where so little memory is left that it could be filled in four seconds",
        );
    }
    report.note(format!(
        "guard-cgroups: {looks} looks in {:.0?}, {:.3} % of a processor, against {:.3} %; {} reads a look; it holds {agent_holds} files \
         open and opens the others for each look. Beside it, once a second: pread of {} files of {} cgroups that are held open, and \
         openat, pread and close of {} more than one process may hold. What else a look reads (the node, processes) is on the \
         agent's account alone",
        usage.wall,
        usage.cpu_percent(),
        floor.sweep.as_secs_f64() / PERIOD.as_secs_f64() * 100.0,
        usage.reads / u64::from(looks),
        floor.held,
        folders.len(),
        floor.opened,
    ));
    Ok(())
}

/// How often the agent has looked, by its own metrics.
fn looks_of(log: &Path) -> Result<u32> {
    let page = scrape(log)?;
    let looks = page
        .lines()
        .find_map(|line| line.strip_prefix("forestall_ticks_total"));
    looks
        .and_then(|rest| rest.split_whitespace().last()?.parse().ok())
        .context("the metrics lack forestall_ticks_total")
}

/// The agent's metrics; its log says where they are.
pub(super) fn scrape(log: &Path) -> Result<String> {
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
    Ok(page)
}

/// The files of every cgroup below `path` that a look reads.
fn collect_folders(path: &Path, folders: &mut Vec<Folder>) -> Result<()> {
    let there = FILES_OF_A_LOOK
        .into_iter()
        .filter(|name| path.join(name).is_file());
    folders.push(Folder {
        path: path.to_owned(),
        names: there.collect(),
    });
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect_folders(&entry.path(), folders)?;
        }
    }
    Ok(())
}

pub(super) fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
