//! From a counter that can be read to the system call of the action: the agent beside a bare loop that does the same.
//!
//! On a machine made of files, so nothing is harmed: the counter is its `meminfo`, the action is the write to its
//! `sysrq-trigger`, and the rule is the plainest one, the preset `gist`, whose decision takes one look. Both look every
//! 10 ms, so half of that is waiting for the next look, for both.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::daemon::Daemon;
use super::report::Report;
use crate::tools;

const LOOK_EVERY: Duration = Duration::from_millis(10);
const ROUNDS: u32 = 16;

/// Plenty, and little: below the 350 MiB at which the preset acts.
const AVAILABLE_KIB: [u64; 2] = [4_000_000, 100_000];

/// Time for the agent to settle between two rounds. A prime, so that rounds do not fall into step with the looks.
const PAUSE: Duration = Duration::from_millis(2_503);

/// Nobody who reacts takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What 99 of 100 reactions may take; with this few rounds the longest of them has to do.
const LONGEST_MAX: Duration = Duration::from_millis(20);

/// The agent may take this many times what the bare loop takes.
const RATIO_MAX: f64 = 2.0;

/// Measures both.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let machine = Machine::make()?;
    let log = tools::cache()?.join("bench/reaction.log");
    let mut command = std::process::Command::new(binary);
    command.args([
        "agent",
        "--preset",
        "gist",
        "--mode",
        "enforce",
        "--min-available",
        "350Mi",
    ]);
    command
        .args(["--interval", "10ms", "--listen", "none", "--root"])
        .arg(&machine.root);
    let agent = Daemon::start(&mut command, &log)?;
    let ours = machine.measure_rounds("the agent")?;
    drop(agent);

    let stop = Arc::new(AtomicBool::new(false));
    let bare = thread::spawn({
        let (stop, root) = (Arc::clone(&stop), machine.root.clone());
        move || react_barely(&root, &stop)
    });
    let floor = machine.measure_rounds("the bare loop");
    stop.store(true, Ordering::Relaxed);
    bare.join().ok().context("the bare loop panicked")??;
    let floor = floor?;

    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    let what = "from a readable counter to the action's system call, looks every 10 ms, median: agent against a bare loop";
    report.ratio(
        "reaction",
        what,
        millis(ours.median),
        millis(floor.median),
        "ms",
        RATIO_MAX,
    );
    report.time(
        "reaction-longest",
        &format!("the same, the longest of {ROUNDS}"),
        ours.longest,
        LONGEST_MAX,
    );
    report.note(format!(
        "reaction: the longest of {ROUNDS} were {:.1?} and {:.1?}",
        ours.longest, floor.longest
    ));
    Ok(())
}

struct Reaction {
    median: Duration,
    longest: Duration,
}

/// The machine made of files.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn make() -> Result<Self> {
        let machine = Self {
            root: PathBuf::from(format!("/dev/shm/forestall-bench-{}", std::process::id())),
        };
        fs::create_dir_all(machine.root.join("proc"))?;
        machine.set_available(AVAILABLE_KIB[0])?;
        fs::write(
            machine.root.join("proc/vmstat"),
            "oom_kill 0\nworkingset_refault_file 0\n",
        )?;
        fs::write(machine.root.join("proc/stat"), "btime 1700000000\n")?;
        fs::write(machine.root.join("proc/sysrq-trigger"), "")?;
        Ok(machine)
    }

    /// In one write and at one length, so that no reader sees half of it.
    fn set_available(&self, kib: u64) -> Result<()> {
        let text = format!(
            "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable: {kib:>10} kB\nBuffers:          100000 kB\n\
             Cached:          1000000 kB\nActive(file):     500000 kB\nInactive(file):   500000 kB\nAnonPages:       4000000 kB\n\
             Slab:             300000 kB\nSReclaimable:     200000 kB\nSUnreclaim:       100000 kB\nSwapTotal:             0 kB\n\
             SwapFree:              0 kB\n"
        );
        let path = self.root.join("proc/meminfo");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        file.write_all_at(text.as_bytes(), 0)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn measure_rounds(&self, who: &str) -> Result<Reaction> {
        let trigger = File::options()
            .write(true)
            .open(self.root.join("proc/sysrq-trigger"))?;
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            self.set_available(AVAILABLE_KIB[0])?;
            thread::sleep(PAUSE);
            trigger.set_len(0)?;
            let start = Instant::now();
            self.set_available(AVAILABLE_KIB[1])?;
            while trigger.metadata()?.len() == 0 {
                if start.elapsed() > PATIENCE {
                    bail!("{who} has not reacted within {PATIENCE:?}");
                }
                // A look of this loop must not take the processor from those that are measured.
                thread::sleep(Duration::from_micros(50));
            }
            took.push(start.elapsed());
        }
        took.sort_unstable();
        let (Some(median), Some(longest)) = (took.get(took.len() / 2), took.last()) else {
            bail!("no rounds")
        };
        Ok(Reaction {
            median: *median,
            longest: *longest,
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Left over, it would cost memory until the next boot; saying so is all that can be done.
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("cannot remove {}: {error}", self.root.display());
        }
    }
}

/// Looks and acts, and nothing else: what is left when everything that makes a guard is taken away.
fn react_barely(root: &Path, stop: &AtomicBool) -> Result<()> {
    let meminfo = File::open(root.join("proc/meminfo"))?;
    let mut trigger = File::options()
        .append(true)
        .open(root.join("proc/sysrq-trigger"))?;
    let mut buffer = [0; 4096];
    let mut armed = true;
    while !stop.load(Ordering::Relaxed) {
        let count = meminfo.read_at(&mut buffer, 0)?;
        let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let available: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        let little = available == Some(AVAILABLE_KIB[1]);
        if little && armed {
            trigger.write_all(b"f")?;
        }
        armed = !little;
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
