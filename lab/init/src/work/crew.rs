//! Several processes: a leader with a crew, and a compiler's many that end soon.
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forestall_lab_init::plan::{Share, Work};

/// Starts each of `works` in a process of its own, waits for all that do more than hold, and ends as the last of them.
pub(super) fn lead(works: &[Work]) -> Result<()> {
    let children: Result<Vec<(&Work, Child)>> = works.iter().map(|work| Ok((work, start(work)?))).collect();
    let mut last = 0;
    for (work, mut child) in children? {
        if !matches!(work, Work::Hold { .. } | Work::Pause) {
            let status = child.wait().context("waiting for one of the crew")?;
            last = status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        }
    }
    // As a shell does it, so that whoever waits for the leader can tell how the crew ended.
    std::process::exit(last)
}

/// Keeps processes coming and going: each holds `each` and is ended after its life.
pub(super) fn churn(each: Share, per_second: u32, life_millis: u64) -> Result<()> {
    let life = Duration::from_millis(life_millis);
    let mut alive: Vec<(Instant, Child)> = Vec::new();
    loop {
        alive.push((Instant::now(), start(&Work::Hold { hold: each })?));
        for (started, child) in &mut alive {
            if started.elapsed() >= life {
                child.kill().context("ending a child")?;
                child.wait().context("waiting for a child")?;
            }
        }
        alive.retain(|(started, _)| started.elapsed() < life);
        sleep(Duration::from_secs(1) / per_second.max(1));
    }
}

fn start(work: &Work) -> Result<Child> {
    let program = std::env::args().next().context("the program's own name")?;
    let work = serde_json::to_string(work)?;
    Command::new(program)
        .arg("work")
        .arg(work)
        .spawn()
        .context("starting one of the crew")
}
