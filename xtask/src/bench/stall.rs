//! From the wake of a pressure trigger to the action's system call, on the machine that this runs on.
//!
//! The stall is real: a reader in a cgroup of 16 MiB makes the kernel wait for memory that nobody else misses. What is looked
//! at and acted upon is a machine made of files, as for the other reactions; only the pressure file in it is the kernel's own,
//! mounted there for the agent alone. Agent and bare loop have armed the same trigger, so the kernel wakes both at once, and
//! the bare loop's wake is where the agent's time begins.
//!
//! The simplest rule judges one look in an interval and, of those that come early, only one in its last tenth. A trigger that
//! may be armed without a privilege fires at the kernel's own ticks only, and not at one that comes less than its window of two
//! seconds after the one at which it fired last. The ticks are two seconds and a few milliseconds apart on average, and single ones
//! are less than that: their timer is rounded up, to 32 ms at 250 Hz, and on a busy machine it falls behind for a while and then
//! catches up. So the interval takes two ticks, and the stall lies between them: nothing fires at the first one, and the second
//! one falls into the interval's last tenth whatever single ticks do. Where it does not, the timer acts instead, the round counts
//! for nothing and the next one begins at another place between two ticks.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_lab_init::reaction::{BareGuard, FileMachine, PATIENCE, Reactions, agent_arguments};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::daemon::Daemon;
use super::pods::{V1_MEMORY, remove_cgroups};
use super::report::{Report, millis};
use crate::tools;

/// What 99 of 100 reactions may take.
const TAKES_MAX: Duration = Duration::from_millis(20);

/// So many reactions, and at most so many rounds to come by them; with fewer there is no verdict, and with very few no figure.
const REACTIONS: usize = 100;
const ROUNDS_MAX: u32 = 160;
const REACTIONS_MIN: usize = 20;

/// A nap of the measurement itself that ends so late in one round of a hundred tells of other work on this machine.
const CALM_MAX: Duration = Duration::from_millis(5);
const NAP: Duration = Duration::from_micros(50);

/// How far apart the kernel's ticks are on average: `PSI_FREQ`, two seconds and a jiffy of 1 to 10 ms (`kernel/sched/psi.c`).
#[cfg(test)]
const TICK: [Duration; 2] = [Duration::from_millis(2_001), Duration::from_millis(2_010)];
/// The agent's interval: two ticks, and what they may be early or late.
const INTERVAL: Duration = Duration::from_millis(4_280);
/// An early look is judged from here on.
const JUDGED_FROM: Duration = Duration::from_millis(3_852);
/// So long before its interval has passed, the timer could not yet stand in for the trigger.
const TIMER_FROM: Duration = Duration::from_millis(4_240);

/// When there is a stall, from the agent's last judging on, so that a trigger with this window fires when an early look is
/// judged.
#[derive(Clone, Copy)]
struct Timing {
    window_micros: u32,
    begin: Duration,
    /// `None`: when the agent has acted.
    end: Option<Duration>,
}

/// The windows that the agent tries first: the first fires a moment after the stall began, the second, without
/// `CAP_SYS_RESOURCE`, at the second tick from the last judging.
const TIMINGS: [Timing; 2] = [
    Timing {
        window_micros: 500_000,
        begin: Duration::from_millis(3_870),
        end: None,
    },
    Timing {
        window_micros: 2_000_000,
        begin: Duration::from_millis(2_150),
        // A stall that goes on would be counted at the first tick of the next round.
        end: Some(Duration::from_millis(3_700)),
    },
];
/// The agent's triggers fire when tasks waited for one part in so many of the window.
const STALL_SHARE: u32 = 20;

/// The cgroup that stalls; so little is enough for a program that only reads.
const STALLED: &str = "forestall-bench-stall";
const LIMIT_BYTES: u64 = 16 << 20;
/// A file of holes, far more than is read in a round; it takes no room on the disk.
const FILE_BYTES: u64 = 64 << 30;

/// Measures it, or says why this machine does not allow it.
pub(super) fn measure(binary: &Path, report: &mut Report) {
    let timed = match time_both(binary) {
        Ok(timed) => timed,
        Err(error) => return report.unmet("reaction-psi", &format!("{error:#}")),
    };
    let Timed {
        agent,
        bare,
        late,
        window_micros,
        rounds,
    } = &timed;
    let (ours, theirs) = (agent.percentile(99), bare.percentile(99));
    let what = format!(
        "from a pressure trigger's wake to the action's system call, p99 of {} reactions: beside what a bare loop does after its wake",
        agent.all().len()
    );
    report.time_unless_busy("reaction-psi", &what, ours, theirs, TAKES_MAX, false);
    if late.percentile(99) > CALM_MAX || agent.all().len() < REACTIONS {
        report.disturb(
            "reaction-psi",
            "other work makes the kernel's ticks uneven, or the bare loop's wakes late, from which the agent's time counts",
        );
    }
    report.note(format!(
        "reaction-psi: p50 {:.1} ms, longest {:.1} ms; window of the trigger {} ms; {rounds} rounds, of which those count in which the \
         trigger fired when an early look is judged; in 99 of 100 of these the measurement's naps ended at most {:.1} ms late",
        millis(agent.percentile(50)),
        millis(agent.longest()),
        window_micros / 1000,
        millis(late.percentile(99)),
    ));
}

/// What was measured.
struct Timed {
    /// From the bare loop's wake to the agent's action.
    agent: Reactions,
    /// From the bare loop's wake to its own.
    bare: Reactions,
    /// How much later than meant the latest nap of each round ended.
    late: Reactions,
    window_micros: u32,
    rounds: u32,
}

/// One wake of the bare loop, and when it had acted.
#[derive(Clone, Copy)]
struct Wake {
    at: Instant,
    acted: Instant,
}

fn time_both(binary: &Path) -> Result<Timed> {
    let machine = |who: &str| {
        let root = format!("/dev/shm/forestall-bench-{}-psi-{who}", std::process::id());
        FileMachine::make(&PathBuf::from(root))
    };
    let stall = Stall::make()?;
    let (trigger, timing) = arm()?;
    let (of_agent, of_bare) = (machine("agent")?, machine("bare")?);
    let agent = start_agent(binary, of_agent.root())?;
    let (stop, bare_root) = (AtomicBool::new(false), of_bare.root().to_owned());
    let (told, wakes) = channel();
    thread::scope(|scope| {
        let bare = scope.spawn(|| react_to(&trigger, &bare_root, &stop, &told));
        let timed = time_rounds(&of_agent, &of_bare, &stall, timing, &wakes);
        stop.store(true, Ordering::Relaxed);
        bare.join().ok().context("the bare loop panicked")??;
        drop(agent);
        let (agent, bare, late, rounds) = timed?;
        Ok(Timed {
            agent: Reactions::new(agent),
            bare: Reactions::new(bare),
            late: Reactions::new(late),
            window_micros: timing.window_micros,
            rounds,
        })
    })
}

type Rounds = (Vec<Duration>, Vec<Duration>, Vec<Duration>, u32);

/// Lets both react to stall after stall. Each round begins at the agent's action of the round before, which is when it
/// judged last.
fn time_rounds(
    of_agent: &FileMachine,
    of_bare: &FileMachine,
    stall: &Stall,
    timing: Timing,
    wakes: &Receiver<Wake>,
) -> Result<Rounds> {
    let (mut agent, mut bare, mut late) = (Vec::new(), Vec::new(), Vec::new());
    of_agent.run_short()?;
    let (mut judged, _) = wait_for_action(of_agent)?;
    for round in 1..=ROUNDS_MAX {
        for machine in [of_agent, of_bare] {
            machine.recover()?;
            machine.clear()?;
        }
        sleep_until(judged + timing.begin);
        while wakes.try_recv().is_ok() {}
        for machine in [of_agent, of_bare] {
            machine.run_short()?;
        }
        let mut reader = Some(stall.begin()?);
        if let Some(end) = timing.end {
            sleep_until(judged + end);
            reader = None;
        }
        let (acted, napped_late) = wait_for_action(of_agent)?;
        drop(reader);
        // The bare loop was woken by then, or the agent's timer came first.
        thread::sleep(NAP * 20);
        let wake = wakes.try_iter().last();
        if let Some(Wake { at, acted: theirs }) = wake
            && counts(at.saturating_duration_since(judged))
        {
            agent.push(acted.saturating_duration_since(at));
            bare.push(theirs.saturating_duration_since(at));
            late.push(napped_late);
        }
        if agent.len() >= REACTIONS || round == ROUNDS_MAX && agent.len() >= REACTIONS_MIN {
            return Ok((agent, bare, late, round));
        }
        judged = acted;
    }
    bail!(
        "the trigger fired at a moment that counts in {} of {ROUNDS_MAX} rounds only; other work makes the kernel's ticks uneven",
        agent.len()
    )
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Whether a wake so long after the agent has judged last is one at which it judges again, and not so late that its timer could
/// stand in for the trigger.
fn counts(after: Duration) -> bool {
    (JUDGED_FROM..TIMER_FROM).contains(&after)
}

/// When the agent has acted, and how much later than meant a nap ended meanwhile.
fn wait_for_action(machine: &FileMachine) -> Result<(Instant, Duration)> {
    let begun = Instant::now();
    let (mut late, mut slept) = (Duration::ZERO, begun);
    while !machine.was_acted_on()? {
        if begun.elapsed() > PATIENCE {
            bail!("the agent has not acted in {PATIENCE:?}");
        }
        thread::sleep(NAP);
        late = late.max(slept.elapsed().saturating_sub(NAP));
        slept = Instant::now();
    }
    Ok((Instant::now(), late))
}

/// Looks and acts whenever the trigger fires, and tells when that was.
fn react_to(trigger: &File, root: &Path, stop: &AtomicBool, told: &Sender<Wake>) -> Result<()> {
    let mut guard = BareGuard::open(root)?;
    // Only so that the end is seen.
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(trigger, PollFlags::PRI)];
        let woken = poll(&mut fds, Some(&patience)).unwrap_or(0);
        let at = Instant::now();
        if woken == 0 {
            continue;
        }
        guard.look()?;
        let acted = Instant::now();
        // Nobody listens any more only where the measurement has failed.
        let _ = told.send(Wake { at, acted });
        // It acts once, and on each wake.
        guard = BareGuard::open(root)?;
    }
    Ok(())
}

/// Arms the trigger that the agent arms here: that with the shortest window allowed.
fn arm() -> Result<(File, Timing)> {
    let path = "/proc/pressure/memory";
    let mut refused = None;
    for timing in TIMINGS {
        let window = timing.window_micros;
        let mut options = File::options();
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = options
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
            .with_context(|| format!("cannot open {path} for a trigger"))?;
        match file.write_all(format!("some {} {window}\0", window / STALL_SHARE).as_bytes()) {
            Ok(()) => return Ok((file, timing)),
            Err(error) => refused = Some(error),
        }
    }
    bail!("{path} takes no trigger: {refused:?}")
}

/// Starts the agent in a mount namespace of its own, in which the kernel's pressure files are part of the machine made of files.
/// With the namespace the mount goes away.
fn start_agent(binary: &Path, root: &Path) -> Result<Daemon> {
    let pressure = root.join("proc/pressure");
    fs::create_dir(&pressure).with_context(|| format!("cannot make {}", pressure.display()))?;
    let log = tools::cache()?.join("bench/reaction-psi.log");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", "sh", "-c"])
        .arg("mount --bind /proc/pressure \"$0\" && exec \"$@\"")
        .arg(&pressure)
        .arg(binary)
        .args(agent_arguments(root, INTERVAL));
    let agent = Daemon::start(&mut command, &log)?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    if let Some(why) = said.lines().find(|line| line.contains("pressure trigger")) {
        bail!("the agent has no trigger; its log says: {why}");
    }
    Ok(agent)
}

/// A cgroup in which whoever reads waits for memory, and the file that is read. Both go away with it.
struct Stall {
    group: PathBuf,
    file: PathBuf,
}

/// Reads until it is dropped.
struct Reader(Child);

impl Stall {
    fn make() -> Result<Self> {
        if !tools::is_root() {
            bail!("cgroups can only be made by root");
        }
        let group = Path::new(V1_MEMORY).join(STALLED);
        if !Path::new(V1_MEMORY).join("memory.usage_in_bytes").exists() {
            bail!("the memory controller is not on v1 here");
        }
        let folder = tools::cache()?.join("bench");
        fs::create_dir_all(&folder)?;
        // One that an earlier run left is as good.
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        let stall = Self {
            group,
            file: folder.join("holes"),
        };
        let limit = stall.group.join("memory.limit_in_bytes");
        fs::write(&limit, LIMIT_BYTES.to_string())
            .with_context(|| format!("cannot write {}", limit.display()))?;
        let made = File::create(&stall.file).and_then(|file| file.set_len(FILE_BYTES));
        made.with_context(|| format!("cannot make {}", stall.file.display()))?;
        Ok(stall)
    }

    /// Begins to read, from within the cgroup from the first byte on.
    fn begin(&self) -> Result<Reader> {
        let child = Command::new("sh")
            .arg("-c")
            .arg("echo $$ > \"$0\" && exec dd if=\"$1\" of=/dev/null bs=1M")
            .arg(self.group.join("cgroup.procs"))
            .arg(&self.file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.map(Reader).context("cannot start dd")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to be done about it here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let removed = [remove_cgroups(&self.group), fs::remove_file(&self.file)];
        for (path, removed) in [&self.group, &self.file].into_iter().zip(removed) {
            if let Err(error) = removed {
                eprintln!("cannot remove {}: {error}; remove it by hand", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_where_the_trigger_made_the_agent_judge() {
        // The rule judges from nine tenths of its interval on, and the timer comes at its end.
        assert_eq!(JUDGED_FROM, INTERVAL * 9 / 10);
        assert!(TIMER_FROM + TAKES_MAX < INTERVAL);
        let counts_after = |millis| counts(Duration::from_millis(millis));
        assert!(!counts_after(0) && !counts_after(3_851) && counts_after(3_852));
        assert!(counts_after(4_239) && !counts_after(4_240));
    }

    #[test]
    fn what_a_single_tick_is_early_or_late_costs_no_round() {
        let uneven = Duration::from_millis(100);
        let [
            _,
            Timing {
                window_micros,
                begin,
                end,
            },
        ] = TIMINGS;
        let end = end.expect("the stall ends before its tick");
        for tick in TICK {
            let early = (tick * 2).saturating_sub(uneven);
            assert!(counts(early) && counts(tick * 2 + uneven));
            // All of the stall lies between two ticks, of which the first is none to fire at.
            assert!(tick + uneven < begin && end < early);
        }
        // And it is long enough: tasks wait for a fifth of it at the least.
        let stalled = end.saturating_sub(begin) / 5;
        assert!(stalled > Duration::from_micros((window_micros / STALL_SHARE).into()));
    }
}
