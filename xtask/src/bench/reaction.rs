//! From a counter that can be read to the system call of the action: the agent beside a bare loop that does the same.
//!
//! On a machine made of files, so nothing is harmed, with the plainest rule, the preset `gist`, whose decision takes one
//! look. Both look every 10 ms. The two take turns, each at a machine of their own, so that whatever else runs here
//! disturbs both; and where it disturbs the bare loop too much, the agent's figure is no verdict about the agent.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use forestall_lab_init::reaction::{
    Course, FileMachine, LOOK_EVERY, Reactions, agent_arguments, react_barely, time_in_turn,
};

use super::daemon::Daemon;
use super::report::{Report, millis};
use crate::tools;

/// 99 of 100 of these leave four that took longer. Nothing forces a pause between them: the kernel's answer to SysRq is
/// not waited for, so the preset acts again at the next look. The pause only lets a round's last look pass.
const COURSE: Course = Course {
    rounds: 400,
    pause: Duration::from_millis(100),
    glance: Duration::from_micros(50),
};

/// What 99 of 100 reactions may take: a look, and as much again for everything else.
const TAKES_MAX: Duration = Duration::from_millis(20);

/// The bare loop takes one look and next to nothing else. Where it takes half a look more, this machine is busy.
const CALM_MAX: Duration = Duration::from_millis(15);

/// The agent may take this many times what the bare loop takes, in the middle.
const RATIO_MAX: f64 = 2.0;

/// Measures both.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let (ours, floor) = time_both(binary)?;
    report.ratio(
        "reaction",
        "from a readable counter to the action's system call, looks every 10 ms, p50: agent against a bare loop",
        millis(ours.percentile(50)),
        millis(floor.percentile(50)),
        "ms",
        RATIO_MAX,
    );
    let what = format!("the same, p99 of {} reactions of each", COURSE.rounds);
    report.time_beside(
        "reaction-p99",
        &what,
        ours.percentile(99),
        floor.percentile(99),
        TAKES_MAX,
        CALM_MAX,
    );
    report.told(
        "reaction-longest",
        "the longest of them",
        ours.longest(),
        floor.longest(),
    );
    report.note(format!(
        "reaction: {} reactions of the agent and {} of the bare loop (poll and pread) in turn; where the bare loop's own \
         p99 is over {CALM_MAX:?}, the machine is busy and the verdict is \"disturbed\"",
        ours.all().len(),
        floor.all().len(),
    ));
    Ok(())
}

fn time_both(binary: &Path) -> Result<(Reactions, Reactions)> {
    let machine = |who: &str| {
        let root = format!("/dev/shm/forestall-bench-{}-{who}", std::process::id());
        FileMachine::make(&PathBuf::from(root))
    };
    let (of_agent, of_floor) = (machine("agent")?, machine("floor")?);
    let log = tools::cache()?.join("bench/reaction.log");
    let mut command = Command::new(binary);
    command.args(agent_arguments(of_agent.root(), LOOK_EVERY));
    let agent = Daemon::start(&mut command, &log)?;

    let stop = Arc::new(AtomicBool::new(false));
    let bare = thread::spawn({
        let (stop, root) = (Arc::clone(&stop), of_floor.root().to_owned());
        move || react_barely(&root, || stop.load(Ordering::Relaxed))
    });
    let timed = time_in_turn([&of_agent, &of_floor], COURSE);
    stop.store(true, Ordering::Relaxed);
    bare.join().ok().context("the bare loop panicked")??;
    drop(agent);
    let [ours, floor] = timed.with_context(|| format!("the agent's log is {}", log.display()))?;
    Ok((ours, floor))
}
