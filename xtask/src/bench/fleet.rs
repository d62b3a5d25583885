//! What a simulated fleet and a replayed day take: the simulator's example and the shipped binary, started and watched.
//!
//! Both work on made-up figures, the same on every machine. A ceiling is about two processors that have nothing else to do;
//! the ratio of a large fleet's cost per node to a small one's holds anywhere.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::report::Report;
use crate::replay;

/// A fleet may take this long.
const FLEET_MAX: Duration = Duration::from_mins(1);
/// And so much memory at its peak.
const FLEET_BYTES_MAX: u64 = 2 << 30;
/// A node among four times as many may cost so much more than one among few.
const LINEAR_MAX: f64 = 1.2;
/// Nodes with an engine on each, for a day: the fleet, and the small one beside it.
const NODES: u32 = 500;
const NODES_FEW: u32 = 125;
/// The example shares its nodes among so many threads.
const THREADS: u32 = 2;
/// A replayed day may take this long, on one processor.
const DAY_MAX: Duration = Duration::from_secs(10);

/// The unit of times in `/proc/PID/stat` (`USER_HZ`, the same on every architecture that this runs on).
const TICK: Duration = Duration::from_millis(10);

/// What a program took.
struct Taken {
    wall: Duration,
    /// Of all its threads, those that have ended included.
    cpu: Duration,
    /// The most that was resident.
    peak_bytes: u64,
}

/// Simulates the fleets.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let example = ["-p", "forestall-sim", "--release", "--example", "fleet"];
    let fleet = replay::build(&example, "release/examples", "fleet")?;
    let simulate = |nodes: u32, hours: u32, agent: &[&str]| {
        let mut command = Command::new(&fleet);
        watch(command.args([nodes.to_string(), hours.to_string()]).args(agent))
    };
    let kubelet = simulate(5000, 7 * 24, &[])?;
    report.work(
        "fleet-kubelet",
        "5000 nodes with 30 pods each for 7 days under the kubelet alone",
        kubelet.wall,
        kubelet.cpu,
        1,
        FLEET_MAX,
    );
    let few = simulate(NODES_FEW, 24, &["agent"])?;
    let many = simulate(NODES, 24, &["agent"])?;
    report.work(
        "fleet-engine",
        "500 nodes with 30 pods each for a day with the engine on each",
        many.wall,
        many.cpu,
        THREADS,
        FLEET_MAX,
    );
    let per_node = |taken: &Taken, nodes: u32| taken.cpu.as_secs_f64() / f64::from(nodes) * 1e3;
    report.ratio(
        "fleet-linear",
        "the same, processor time of a node: among 500 against among 125",
        per_node(&many, NODES),
        per_node(&few, NODES_FEW),
        "ms",
        LINEAR_MAX,
    );
    let peak = kubelet.peak_bytes.max(many.peak_bytes);
    report.size(
        "fleet-rss",
        "the larger of both at its peak, resident",
        peak,
        FLEET_BYTES_MAX,
    );
    Ok(())
}

/// Replays a made-up day of 110 pods at one look a second, under one policy beside the recorded one.
pub(super) fn measure_replay(binary: &Path, report: &mut Report) -> Result<()> {
    let trace = replay::make_a_day()?;
    let mut command = Command::new(binary);
    command
        .arg("replay")
        .arg(&trace)
        .args(["--policy", "forestall", "-o", "json"]);
    let taken = watch(&mut command);
    fs::remove_file(&trace).with_context(|| format!("cannot remove {}", trace.display()))?;
    let taken = taken?;
    report.work(
        "replay-day",
        "24 h at 1 Hz with 110 pods, replayed under two policies",
        taken.wall,
        taken.cpu,
        1,
        DAY_MAX,
    );
    Ok(())
}

/// Runs a program to its end. What it prints goes nowhere.
fn watch(command: &mut Command) -> Result<Taken> {
    let name = command.get_program().to_string_lossy().into_owned();
    let cpu_before = cpu_of_children()?;
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak_bytes = 0;
    let ended = loop {
        // Gone once it has ended; until then it never falls.
        let text = fs::read_to_string(&status).unwrap_or_default();
        peak_bytes = peak_bytes.max(high_water(&text).unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        thread::sleep(Duration::from_millis(20));
    };
    if !ended.success() {
        bail!("{name} failed: {ended}");
    }
    Ok(Taken {
        wall: begun.elapsed(),
        cpu: cpu_of_children()?.saturating_sub(cpu_before),
        peak_bytes,
    })
}

/// What all children that have ended have used of processors.
fn cpu_of_children() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat").context("no /proc here")?;
    let ticks = children_ticks(&text).context("/proc/self/stat is not understood")?;
    Ok(TICK * ticks)
}

/// `cutime` and `cstime`, fields 16 and 17 (proc_pid_stat(5)); the second one, a name in parentheses, may hold anything.
fn children_ticks(stat: &str) -> Option<u32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    ticks()?.checked_add(ticks()?)
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibi: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibi * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_the_peak_are_read_where_the_manual_says() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 500 900 0 0 11 12 130 14 20 0 1 0 5 1000 20 0\n";
        assert_eq!(children_ticks(stat), Some(144));
        assert_eq!(children_ticks("7 (a"), None);
        assert_eq!(high_water("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n"), Some(2 << 20));
    }
}
