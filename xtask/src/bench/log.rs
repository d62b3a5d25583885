//! Reading a log that is mostly about other things: in memory, beside bare reads of the same bytes, and by the whole program, beside
//! `grep -c` on the same file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::look::times_of;
use super::report::Report;
use super::{lines, report};
use crate::shell;

/// A gigabyte takes no longer.
const GIGABYTE_MAX: Duration = Duration::from_secs(1);

/// Bare reads take this many hundredths of their own best in the middle where other work is on the machine.
const BUSY_PERCENT: u32 = 125;

/// The whole program against `grep -c`.
const RATIO_MAX: f64 = 2.0;

/// So large is the file, and so often each of both reads it, in turn.
const FILE_BYTES: usize = 1 << 30;
const ROUNDS: usize = 7;

/// What grep counts, which is in every kill's line.
const WORDS: &str = "Killed process";

pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let [ours, floor, floor_best] = times_of("log", &["--judged"])?;
    let is_busy = floor * 100 > floor_best * BUSY_PERCENT;
    let what = "a gigabyte of a node's log, mostly other lines, in memory: beside a search for a byte that is not in it";
    report.time_unless_busy("log-scan", what, ours, floor, GIGABYTE_MAX, is_busy);
    let file = shell::target_directory()?.join("node.log");
    let taken = beside_grep(binary, &file);
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    let (ours, grep) = taken?;
    let what =
        "1 GiB of such a log by the whole program, forestall kills --log: against grep -c on the same file";
    let (ours, grep) = (report::millis(ours), report::millis(grep));
    report.ratio("log-grep", what, ours, grep, "ms", RATIO_MAX);
    Ok(())
}

/// Of each the time in the middle. Both have to find every kill.
fn beside_grep(binary: &Path, file: &Path) -> Result<(Duration, Duration)> {
    let (log, kills) = lines::of_a_node(FILE_BYTES);
    fs::write(file, log).with_context(|| format!("cannot write {}", file.display()))?;
    let (mut ours, mut greps) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (took, said) = time(Command::new(binary).args(["kills", "--log"]).arg(file))?;
        let count = said.lines().filter(|line| line.contains("java")).count();
        ours.push(took);
        let (took, said) = time(
            Command::new("grep")
                .env("LC_ALL", "C")
                .args(["-c", WORDS])
                .arg(file),
        )?;
        greps.push(took);
        if count != kills || said.trim() != kills.to_string() {
            bail!(
                "of {kills} kills forestall found {count}, and grep {}",
                said.trim()
            );
        }
    }
    for took in [&mut ours, &mut greps] {
        took.sort_unstable();
    }
    Ok((ours[ROUNDS / 2], greps[ROUNDS / 2]))
}

fn time(command: &mut Command) -> Result<(Duration, String)> {
    let begun = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot be started")?;
    let took = begun.elapsed();
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            command.get_program().display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok((took, String::from_utf8_lossy(&output.stdout).into_owned()))
}
