//! The whole agent at one tick a second over 256 real containers, beside bare reads of the files it holds open.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::Daemon;
use super::idle::agent_command;
use super::pods::RealTree;
use super::report::Report;
use super::{WATCH, floor};
use crate::tools;

/// Containers in the tree.
pub(super) const CONTAINERS: usize = 256;

/// The guard may cost this many times what reading the same files costs.
const RATIO_MAX: f64 = 2.0;

const PERIOD: Duration = Duration::from_secs(1);

/// Measures it where real cgroups can be made.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    match RealTree::make(CONTAINERS) {
        Ok(tree) => {
            let mut command = agent_command(binary);
            command.args(["--interval", "1s"]);
            measure_tree("guard-cgroups", "real cgroups, v1", command, tree.root(), report)?;
        }
        Err(error) => report.unmet("guard-cgroups", &format!("{error:#}")),
    }
    Ok(())
}

fn measure_tree(
    name: &'static str,
    what: &str,
    mut command: std::process::Command,
    root: &Path,
    report: &mut Report,
) -> Result<()> {
    let log = tools::cache()?.join(format!("bench/{name}.log"));
    let agent = Daemon::start(&mut command, &log)?;
    let usage = agent.watch(WATCH)?;
    let files = agent.held_files(root)?;
    drop(agent);
    let ticks = u32::try_from(usage.wall.as_secs()).context("watched for too long")?;
    let floor = floor::measure_sweep(&files, ticks, PERIOD).with_context(|| {
        format!(
            "the agent holds no file open below {}; its log: {}",
            root.display(),
            log.display()
        )
    })?;
    let tick = usage.cpu / ticks;
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    let what = format!("{CONTAINERS} containers ({what}), processor time a tick: agent against bare reads");
    report.ratio(name, &what, micros(tick), micros(floor), "µs", RATIO_MAX);
    report.note(format!(
        "{name}: {:.3} % of a processor; {} files held open, {} reads a tick",
        usage.cpu_percent(),
        files.len(),
        usage.reads / u64::from(ticks),
    ));
    Ok(())
}
