//! From a counter that can be read to the system call of the action, on a machine made of files.
//!
//! Host and guest measure it alike, so it is here: the counter is `MemAvailable` of a `meminfo` on a tmpfs, the action is
//! the write to a `sysrq-trigger` beside it, and nothing is harmed. Whoever reacts takes a root directory to look at;
//! [`react_barely`] is what is left of a guard when everything but poll, pread and write is taken away.
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, poll};

/// How often everybody looks. Half of it is waiting for the next look, for everybody.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whoever takes longer has not reacted: a round ends so, and counts for this long.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Plenty, and little: below the 350 MiB at which the preset `gist` acts.
const AVAILABLE_KIB: [u64; 2] = [4_000_000, 100_000];

/// So many rounds without any reaction, and nobody is there to react.
const SILENT_ROUNDS_MAX: usize = 3;

/// The arguments with which the agent reacts as the bare loop does, looking this often: the rule whose decision takes one look.
pub fn agent_arguments(root: &Path, every: Duration) -> Vec<String> {
    let words = [
        "agent",
        "--preset",
        "gist",
        "--mode",
        "enforce",
        "--min-available",
        "350Mi",
        "--listen",
        "none",
        "--interval",
    ];
    let interval = format!("{}ms", every.as_millis());
    let root = root.to_string_lossy().into_owned();
    let rest = [interval, "--root".to_owned(), root];
    words.map(str::to_owned).into_iter().chain(rest).collect()
}

/// A machine made of files; they go away with it.
#[derive(Debug)]
pub struct FileMachine {
    root: PathBuf,
    meminfo: File,
    vmstat: File,
    killed: Cell<u32>,
    trigger: File,
}

impl FileMachine {
    /// Makes it at `root`, which had better be on a tmpfs. Fails where a file cannot be written.
    pub fn make(root: &Path) -> Result<Self> {
        let proc = root.join("proc");
        fs::create_dir_all(&proc).with_context(|| format!("making {}", proc.display()))?;
        let create = |name: &str| {
            let path = proc.join(name);
            let mut options = File::options();
            options.write(true).create(true).truncate(true);
            options
                .open(&path)
                .with_context(|| format!("creating {}", path.display()))
        };
        create("stat")?.write_all(b"btime 1700000000\n")?;
        let machine = Self {
            root: root.to_owned(),
            meminfo: create("meminfo")?,
            vmstat: create("vmstat")?,
            killed: Cell::new(0),
            trigger: create("sysrq-trigger")?,
        };
        machine.set_killed(0)?;
        machine.set_available(AVAILABLE_KIB[0])?;
        Ok(machine)
    }

    /// What is given to whoever reacts.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// In one write and at one length, so that no reader sees half of it.
    fn set_available(&self, kib: u64) -> Result<()> {
        let text = format!(
            "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable: {kib:>10} kB\nBuffers:          100000 kB\n\
             Cached:          1000000 kB\nActive(file):     500000 kB\nInactive(file):   500000 kB\nAnonPages:       4000000 kB\n\
             Slab:             300000 kB\nSReclaimable:     200000 kB\nSUnreclaim:       100000 kB\nSwapTotal:             0 kB\n\
             SwapFree:              0 kB\n"
        );
        self.meminfo
            .write_all_at(text.as_bytes(), 0)
            .with_context(|| format!("writing meminfo of {}", self.root.display()))
    }

    /// How many the kernel of this machine has killed, in the same way.
    fn set_killed(&self, count: u32) -> Result<()> {
        let text = format!("oom_kill {count:010}\nworkingset_refault_file 0\n");
        self.killed.set(count);
        self.vmstat
            .write_all_at(text.as_bytes(), 0)
            .with_context(|| format!("writing vmstat of {}", self.root.display()))
    }

    /// Little is left from now on: there is a reason to act.
    pub fn run_short(&self) -> Result<()> {
        self.set_available(AVAILABLE_KIB[1])
    }

    /// Plenty is left again, and its kernel has killed somebody: whoever acted waits to see whether it helped.
    pub fn recover(&self) -> Result<()> {
        self.set_available(AVAILABLE_KIB[0])?;
        self.set_killed(self.killed.get().wrapping_add(1))
    }

    /// Somebody has acted since it was cleared.
    pub fn was_acted_on(&self) -> Result<bool> {
        Ok(self.trigger.metadata()?.len() > 0)
    }

    /// Forgets what was done; true if something was done since this was called last.
    pub fn clear(&self) -> Result<bool> {
        let was_written = self.was_acted_on()?;
        self.trigger.set_len(0)?;
        Ok(was_written)
    }

    /// How long it takes from the counter's change to the action, at most [`PATIENCE`].
    fn time_reaction(&self, glance: Duration) -> Result<Duration> {
        let start = Instant::now();
        self.run_short()?;
        while !self.was_acted_on()? && start.elapsed() < PATIENCE {
            // These looks must not take the processor from those that are measured.
            sleep(glance);
        }
        let took = start.elapsed().min(PATIENCE);
        self.recover()?;
        Ok(took)
    }
}

impl Drop for FileMachine {
    fn drop(&mut self) {
        // Left over, it would cost memory until the next boot; saying so is all that can be done.
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("cannot remove {}: {error}", self.root.display());
        }
    }
}

/// How a measurement goes.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Reactions of each.
    pub rounds: u32,
    /// Time to settle before each round.
    pub pause: Duration,
    /// Between two looks of the measurement itself.
    pub glance: Duration,
}

/// Lets everybody react in turn, `course.rounds` times, each on a machine of their own, so that whatever disturbs one
/// disturbs the other. Fails where somebody does not react at all.
pub fn time_in_turn<const N: usize>(machines: [&FileMachine; N], course: Course) -> Result<[Reactions; N]> {
    let mut took: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..course.rounds {
        for (machine, took) in machines.iter().zip(&mut took) {
            // A part of a look more each time, by the golden ratio, so that rounds do not fall into step with the looks.
            let phase = LOOK_EVERY * (round * 618 % 1000) / 1000;
            sleep(course.pause + phase);
            // Whoever was late in the last round may still be at it.
            while machine.clear()? {
                sleep(course.pause);
            }
            took.push(machine.time_reaction(course.glance)?);
            let silent = took.iter().rev().take_while(|took| **took >= PATIENCE).count();
            if silent >= SILENT_ROUNDS_MAX {
                bail!(
                    "nobody has reacted at {} in {silent} rounds of {PATIENCE:?}",
                    machine.root.display()
                );
            }
        }
    }
    Ok(took.map(Reactions::new))
}

/// What was measured of one.
#[derive(Clone, Debug)]
pub struct Reactions {
    sorted: Vec<Duration>,
}

impl Reactions {
    /// From single reactions, in any order.
    pub fn new(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self { sorted: took }
    }

    /// The shortest time that so many of a hundred did not exceed (nearest rank); zero of none.
    pub fn percentile(&self, of_hundred: usize) -> Duration {
        let rank = (self.sorted.len() * of_hundred).div_ceil(100);
        self.sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// The longest; zero of none.
    pub fn longest(&self) -> Duration {
        self.percentile(100)
    }

    /// All of them, the shortest first.
    pub fn all(&self) -> &[Duration] {
        &self.sorted
    }
}

/// What is left of a guard's look and its action: pread, find the number, compare, write.
///
/// The system calls are those that a loop in C makes; it allocates nothing, locks nothing in memory and asks for no
/// priority.
#[derive(Debug)]
pub struct BareGuard {
    meminfo: File,
    trigger: File,
    buffer: [u8; 4096],
    armed: bool,
}

impl BareGuard {
    /// Opens what it reads and writes. Fails where there is no [`FileMachine`] at `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let trigger = root.join("proc/sysrq-trigger");
        Ok(Self {
            meminfo: File::open(root.join("proc/meminfo")).context("opening meminfo")?,
            trigger: File::options()
                .append(true)
                .open(&trigger)
                .with_context(|| format!("opening {}", trigger.display()))?,
            buffer: [0; 4096],
            armed: true,
        })
    }

    /// Looks once, and acts where little is left and it has not acted on that yet.
    pub fn look(&mut self) -> Result<()> {
        let count = self.meminfo.read_at(&mut self.buffer, 0)?;
        let little = available_kib(self.buffer.get(..count).unwrap_or_default()) == Some(AVAILABLE_KIB[1]);
        if little && self.armed {
            self.trigger.write_all(b"f")?;
        }
        self.armed = !little;
        Ok(())
    }
}

/// Looks and acts until `is_over`, and nothing else but poll for the time.
pub fn react_barely(root: &Path, is_over: impl Fn() -> bool) -> Result<()> {
    let mut guard = BareGuard::open(root)?;
    let mut next = Instant::now();
    while !is_over() {
        guard.look()?;
        // Even looks, as the agent has them; one that was missed is not made up for.
        next = (next + LOOK_EVERY).max(Instant::now());
        let left = next.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        // A wait that a signal ends is a short one.
        let _ = poll(&mut [], Some(&timeout));
    }
    Ok(())
}

fn available_kib(text: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(text).ok()?;
    let line = line.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Nearest rank: of 1..=200, the 99th percentile is the 198th and the median the 100th.
    #[test]
    fn percentiles_are_by_nearest_rank() {
        let millis = |millis| Duration::from_millis(millis);
        let reactions = Reactions::new((1..=200).rev().map(millis).collect());
        assert_eq!(reactions.percentile(50), millis(100));
        assert_eq!(reactions.percentile(99), millis(198));
        assert_eq!(reactions.longest(), millis(200));
        assert_eq!(Reactions::new(vec![]).percentile(99), Duration::ZERO);
        assert_eq!(Reactions::new(vec![millis(7)]).percentile(99), millis(7));
    }

    #[test]
    fn the_bare_loop_finds_the_number_that_the_machine_writes() {
        assert_eq!(
            available_kib(b"MemFree: 1 kB\nMemAvailable:     100000 kB\n"),
            Some(100_000)
        );
        assert_eq!(available_kib(b"MemFree: 1 kB\n"), None);
        assert_eq!(available_kib(b"MemAvailable: \xff kB\n"), None);
    }
}
