//! One look in one process over plain files, beside bare reads of the same files.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::guard::{CONTAINERS, RATIO_MAX, micros};
use super::report::Report;
use crate::shell;

/// The benchmark `look` is a program of its own, because it is linked with the guard's crates and this one is not.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let printed = shell::output(&mut shell::cargo(&[
        "bench",
        "--locked",
        "--package",
        "xtask",
        "--bench",
        "look",
    ]))?;
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("look "))
        .context("the benchmark `look` said nothing")?;
    let nanos: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [ours, floor] = nanos[..] else {
        bail!("the benchmark `look` said: {line}")
    };
    let what = format!("one look over {CONTAINERS} containers (plain files, v2): against bare reads");
    let (ours, floor) = (Duration::from_nanos(ours), Duration::from_nanos(floor));
    report.ratio("look-files", &what, micros(ours), micros(floor), "µs", RATIO_MAX);
    Ok(())
}
