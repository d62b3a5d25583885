//! A trial of the rung `brake`: a container leaks towards the limit of `kubepods`, and an agent that may brake and not kill holds it.
//!
//! First it is left to run: what the leak grows by while it is held, and that `memory.high` is what it was afterwards. Then the agent
//! is ended by force under a second brake, and another one started, in shadow: it may do nothing else, and has to let go. What is
//! told is what the container's own files show from outside of it, and how long others in it take to answer.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::{CONFIG, Pod, Role};
use forestall_lab_init::report::{AnswersSeen, BrakeSeen, End, Report};
use forestall_lab_init::rights::Rights;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::errand::Errand;
use crate::launch::Place;
use crate::machine;
use crate::node::Node;

/// A leak reaches the place where it is braked within this, emulated or not; and a brake ends.
const PATIENCE: Duration = Duration::from_mins(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Over this a pace is measured.
const PACE: Duration = Duration::from_secs(2);
/// By so much somebody has grown who goes on.
const GOES_ON_BYTES: u64 = 4 << 20;
/// What those take who are asked in the container: nothing but what a connection is in the kernel, and as much as a request may.
const ERRANDS: [usize; 2] = [0, 256 << 10];
/// `oom_score_adj` of a pod that asks for nothing.
const BEST_EFFORT_SCORE: i32 = 1000;
/// How long a dead agent's brake is watched before another agent is started.
const ORPHANED: Duration = Duration::from_secs(2);

/// Lives through both, and tells what was seen.
pub(crate) fn run(mut node: Node) -> Result<()> {
    let agent = node.plan.agent.clone().context("a plan with an agent")?;
    write_config("mode: enforce\nrungs: {reclaim: false, brake: true, kill: false}\nrequire: [brake]\n")?;
    node.start(Role::Innocent)?;
    node.start_agent(&agent)?;
    sleep(Duration::from_millis(node.plan.calm_millis));
    let pods = node.plan.pods.clone();
    let mut culprits = pods.iter().filter(|pod| pod.role == Role::Culprit);
    let seen = left_to_run(&mut node, culprits.next().context("a first culprit")?)?;
    node.reporter.send(&Report::Brake(seen));
    let seen = crashed_upon(&mut node, culprits.next().context("a second culprit")?)?;
    node.reporter.send(&Report::Brake(seen));
    node.reporter.send(&Report::Ended {
        at_millis: machine::now_millis(),
        why: End::Settled,
        oom_kills: machine::oom_kills(),
        starved_millis: 0,
    });
    Ok(())
}

fn left_to_run(node: &mut Node, pod: &Pod) -> Result<BrakeSeen> {
    let leak = Leak::start(node, pod)?;
    let mut held = leak.wait_until_braked("let run")?;
    let free_at = leak.wait_until_free(&mut held)?;
    // Whoever is let go goes on, once the kernel's last pause is over.
    let (at, from) = (Instant::now(), leak.current());
    while leak.current() < from + GOES_ON_BYTES {
        if at.elapsed() > PATIENCE {
            bail!("{} does not go on after its brake", leak.container.display());
        }
        sleep(LOOK_EVERY);
    }
    held.seen.goes_on_after_millis = Some(millis(at.elapsed()));
    leak.end(held, free_at)
}

fn crashed_upon(node: &mut Node, pod: &Pod) -> Result<BrakeSeen> {
    let leak = Leak::start(node, pod)?;
    let mut held = leak.wait_until_braked("its agent ended by force")?;
    let pid = node.agent.take().context("an agent")?;
    let pid = Pid::from_raw(pid).context("an agent's number")?;
    #[allow(clippy::disallowed_methods, reason = "a crash, in a guest of its own")]
    rustix::process::kill_process(pid, Signal::KILL).context("ending the agent")?;
    rustix::process::waitpid(Some(pid), WaitOptions::empty()).context("the agent's end")?;
    sleep(ORPHANED);
    held.seen.orphaned = leak.high() != "max";
    write_config("mode: shadow\n")?;
    let agent = node.plan.agent.clone().context("a plan with an agent")?;
    let again_at = Instant::now();
    node.start_agent(&agent)?;
    let free_at = leak.wait_until_free(&mut held)?;
    held.seen.freed_after_start_millis = Some(millis(again_at.elapsed()));
    leak.end(held, free_at)
}

/// A container that leaks, and those in it who are asked.
struct Leak {
    container: PathBuf,
    errands: Vec<Errand>,
    started_at: Instant,
}

/// A brake, from when it was seen.
struct Held {
    seen: BrakeSeen,
    on_at: Instant,
    bytes: u64,
    stalled_micros: u64,
}

impl Leak {
    fn start(node: &mut Node, pod: &Pod) -> Result<Self> {
        node.start_pod(pod)?;
        let container = node.tree.container(pod, &pod.container);
        let place = Place {
            cgroup: container.clone(),
            oom_score_adj: BEST_EFFORT_SCORE,
            rights: Rights::Full,
        };
        let errands = ERRANDS.map(|bytes| Errand::start(&place, bytes));
        Ok(Self {
            container,
            errands: errands.into_iter().collect::<Result<_>>()?,
            started_at: Instant::now(),
        })
    }

    fn text(&self, file: &str) -> String {
        let text = fs::read_to_string(self.container.join(file)).unwrap_or_default();
        text.trim_end().to_owned()
    }

    fn high(&self) -> String {
        self.text("memory.high")
    }

    fn current(&self) -> u64 {
        self.text("memory.current").parse().unwrap_or(0)
    }

    /// How long some task of it has waited for memory, microseconds.
    fn stalled_micros(&self) -> u64 {
        let text = self.text("memory.pressure");
        let some = text.lines().find(|line| line.starts_with("some "));
        let total = some.and_then(|line| line.rsplit_once("total="));
        total.and_then(|(_, micros)| micros.parse().ok()).unwrap_or(0)
    }

    /// What it shows once it is braked.
    fn wait_until_braked(&self, what: &str) -> Result<Held> {
        let deadline = Instant::now() + PATIENCE;
        let mut earlier = (Instant::now(), self.current());
        let mut seen = BrakeSeen {
            what: what.to_owned(),
            ..BrakeSeen::default()
        };
        while Instant::now() < deadline {
            let high = self.high();
            let current = self.current();
            if let Ok(high) = high.parse() {
                seen.high_bytes = high;
                return Ok(Held {
                    seen,
                    on_at: Instant::now(),
                    bytes: current,
                    stalled_micros: self.stalled_micros(),
                });
            }
            if earlier.0.elapsed() >= PACE {
                seen.pace_before = pace(earlier.1, current, earlier.0.elapsed());
                earlier = (Instant::now(), current);
            }
            sleep(LOOK_EVERY);
        }
        bail!("nobody braked {}", self.container.display())
    }

    fn wait_until_free(&self, held: &mut Held) -> Result<Instant> {
        let deadline = held.on_at + PATIENCE;
        let mut current = held.bytes;
        while self.high() != "max" {
            if Instant::now() > deadline {
                bail!("the brake on {} was never lifted", self.container.display());
            }
            current = self.current();
            sleep(LOOK_EVERY);
        }
        let free_at = Instant::now();
        held.seen.held_millis = millis(free_at - held.on_at);
        held.seen.grew_bytes = current.saturating_sub(held.bytes);
        held.seen.stalled_millis = self.stalled_micros().saturating_sub(held.stalled_micros) / 1000;
        Ok(free_at)
    }

    /// Ends it, and looks at what was left behind before the cgroup is removed.
    fn end(self, held: Held, free_at: Instant) -> Result<BrakeSeen> {
        let mut seen = held.seen;
        seen.high_at_end = self.high();
        let told = self.errands.iter().map(|errand| AnswersSeen {
            takes_bytes: errand.bytes,
            before: errand.answers(self.started_at, held.on_at),
            braked: errand.answers(held.on_at, free_at),
        });
        seen.answers = told.collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pids = self.text("cgroup.procs");
            if pids.is_empty() {
                return Ok(seen);
            }
            for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
                #[allow(clippy::disallowed_methods, reason = "a process of this trial's own")]
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            if Instant::now() > deadline {
                bail!("{} does not end", self.container.display());
            }
            sleep(LOOK_EVERY);
        }
    }
}

fn write_config(text: &str) -> Result<()> {
    fs::write(Path::new(CONFIG), text).context("writing the configuration")
}

/// Bytes a second.
fn pace(from: u64, to: u64, took: Duration) -> u64 {
    to.saturating_sub(from) * 1000 / millis(took).max(1)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
