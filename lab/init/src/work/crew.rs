//! Processes under one that waits for them.
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use forestall_lab_init::plan::Work;

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

/// Starts `work` in a process of its own, and a second after its end again, without end.
pub(super) fn supervise(work: &Work) -> Result<()> {
    loop {
        start(work)?
            .wait()
            .context("waiting for the one that is supervised")?;
        sleep(Duration::from_secs(1));
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
