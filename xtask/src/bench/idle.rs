//! An idle machine: the agent with its defaults beside earlyoom with Debian's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::WATCH;
use super::daemon::Daemon;
use super::report::{Report, mebi};
use crate::{budget, tools};

/// The agent follows cgroups, pressure and the kubelet's view beside the two lines that earlyoom reads, and may cost this
/// many times as much.
const CPU_RATIO_MAX: f64 = 10.0;

/// Resident memory of the static binary, standalone.
const RESIDENT_BYTES_MAX: u64 = 4 << 20;

/// Measures both.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let folder = tools::cache()?.join("bench");
    std::fs::create_dir_all(&folder)?;

    let agent = Daemon::start(&mut agent_command(binary), &folder.join("agent-idle.log"))?;
    let ours = agent.watch(WATCH)?;
    drop(agent);

    let size = std::fs::metadata(binary)?.len();
    report.size("binary-size", "static binary", size, budget::BINARY_BYTES_MAX);
    report.size(
        "rss",
        "agent alone on an idle machine, resident",
        ours.resident_bytes,
        RESIDENT_BYTES_MAX,
    );
    report.note(format!(
        "of the resident memory, {} is not backed by a file",
        mebi(ours.anon_bytes)
    ));

    let earlyoom: PathBuf = match tools::unpack_debian("earlyoom", "usr/bin/earlyoom") {
        Ok(path) => path,
        Err(error) => {
            report.unmet("idle-cpu", &format!("{error:#}"));
            return Ok(());
        }
    };
    let mut command = Command::new(earlyoom);
    // As Debian's package starts it: it reports once an hour.
    command.args(["--dryrun", "-r", "3600"]);
    let peer = Daemon::start(&mut command, &folder.join("earlyoom.log"))?;
    let theirs = peer.watch(WATCH)?;
    let what = "idle machine, share of a processor: agent against earlyoom";
    report.ratio(
        "idle-cpu",
        what,
        ours.cpu_percent(),
        theirs.cpu_percent(),
        "%",
        CPU_RATIO_MAX,
    );
    report.note(format!(
        "earlyoom (Debian's, linked to glibc) has {} resident",
        mebi(theirs.resident_bytes)
    ));
    Ok(())
}

/// The agent as it runs with no configuration: shadow mode. The page for metrics is on, at whatever port is free.
pub(super) fn agent_command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["agent", "--listen", "127.0.0.1:0"]);
    command
}
