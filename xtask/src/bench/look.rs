//! One look in one process over plain files, beside bare reads of the same files.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::guard::{CONTAINERS, RATIO_MAX, micros};
use super::report::Report;
use crate::shell;

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let [ours, floor] = times_of("look", &[])?;
    let what = format!("one look over {CONTAINERS} containers (plain files, v2): against bare reads");
    report.ratio("look-files", &what, micros(ours), micros(floor), "µs", RATIO_MAX);
    Ok(())
}

/// What a benchmark that is a program of its own says: a line of its name and times in nanoseconds. They are programs of their
/// own because they are linked with the guard's crates, and this one is not.
pub(super) fn times_of<const N: usize>(bench: &str, arguments: &[&str]) -> Result<[Duration; N]> {
    let mut command = shell::cargo(&["bench", "--locked", "--package", "xtask", "--bench", bench, "--"]);
    let printed = shell::output(command.args(arguments))?;
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix(bench)?.strip_prefix(' '))
        .with_context(|| format!("the benchmark `{bench}` said nothing"))?;
    let times: Vec<Duration> = line
        .split(' ')
        .filter_map(|word| word.parse().ok().map(Duration::from_nanos))
        .collect();
    match times.try_into() {
        Ok(times) => Ok(times),
        Err(_) => bail!("the benchmark `{bench}` said: {line}"),
    }
}
