//! An idle machine: the agent with its defaults beside earlyoom with Debian's. The agent records and keeps its ledger, and its memory is
//! looked at after what every installation does to it: its metrics were read, and its configuration was read again.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::daemon::{Daemon, Usage};
use super::guard;
use super::report::{Report, mebi};
use crate::{budget, tools};

/// The agent follows cgroups, pressure and the kubelet's view beside the two lines that earlyoom reads, and may cost no
/// more all the same.
const CPU_RATIO_MAX: f64 = 1.0;

/// Both are watched for a minute: the agent goes through all processes in that time. It costs a few milliseconds, and one thing
/// that happens on the machine doubles that: of so many minutes the one in the middle counts.
const IDLE_WATCH: Duration = Duration::from_mins(1);
const IDLE_MINUTES: usize = 3;

/// So long the agent takes to know that nothing grows.
const IDLE_SETTLE: Duration = Duration::from_secs(12);

/// So often its metrics are read.
const SCRAPES: u32 = 10;

/// So long the agent takes to follow its configuration.
const RELOAD_SETTLE: Duration = Duration::from_secs(2);

/// Resident memory of the static binary, standalone.
const RESIDENT_BYTES_MAX: u64 = 4 << 20;

/// The most of it at any time, so that the agent can start under a small limit.
const PEAK_BYTES_MAX: u64 = 6 << 20;

/// Measures both.
pub(super) fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let folder = tools::cache()?.join("bench");
    std::fs::create_dir_all(&folder)?;

    // Both at once, so that whatever else runs on this machine disturbs both.
    let earlyoom = start_earlyoom(&folder);
    let (log, config) = (folder.join("agent-idle.log"), folder.join("agent-idle.yaml"));
    std::fs::write(&config, "mode: shadow\n")?;
    let root = make_root(&folder)?;
    let mut command = agent_command(binary);
    command.arg("--config").arg(config);
    command.arg("--root").arg(&root);
    let agent = Daemon::start(&mut command, &log)?;
    thread::sleep(IDLE_SETTLE);
    let peer = earlyoom.as_ref().ok();
    let mut minutes = Vec::with_capacity(IDLE_MINUTES);
    for _ in 0..IDLE_MINUTES {
        let peer_before = peer.map(Daemon::counters).transpose()?;
        let ours = agent.watch(IDLE_WATCH)?;
        let theirs = peer.zip(peer_before);
        let theirs = theirs
            .map(|(peer, before)| peer.usage_since(before))
            .transpose()?;
        minutes.push((ours, theirs));
    }
    for _ in 0..SCRAPES {
        guard::scrape(&log)?;
    }
    agent.reload()?;
    let after = agent.watch(RELOAD_SETTLE)?;
    if !std::fs::read_to_string(&log)?.contains("the configuration was read again") {
        bail!(
            "the agent has not read its configuration again; see {}",
            log.display()
        );
    }
    drop(agent);

    if !root.join(LEDGER).is_file() {
        report.note("rss: without a ledger, which takes /dev/kmsg and CAP_SYSLOG".to_owned());
    }
    let size = std::fs::metadata(binary)?.len();
    report.size("binary-size", "static binary", size, budget::BINARY_BYTES_MAX);
    report.size(
        "rss",
        "agent alone on an idle machine, resident",
        after.resident_bytes,
        RESIDENT_BYTES_MAX,
    );
    report.size(
        "rss-peak",
        "the most of it since the start",
        after.peak_bytes,
        PEAK_BYTES_MAX,
    );
    report.note(format!(
        "of the resident memory, {} is not backed by a file",
        mebi(after.anon_bytes)
    ));

    if let Err(error) = earlyoom {
        report.unmet("idle-cpu", &format!("{error:#}"));
        return Ok(());
    }
    let share = |(ours, theirs): &(Usage, Usage)| ours.cpu_percent() / theirs.cpu_percent();
    let both = minutes
        .into_iter()
        .filter_map(|(ours, theirs)| Some((ours, theirs?)));
    let mut both = both.collect::<Vec<_>>();
    both.sort_by(|one, other| share(one).total_cmp(&share(other)));
    let Some((ours, theirs)) = both.get(both.len() / 2) else {
        bail!("earlyoom runs and its counters were not read");
    };
    let what = "idle machine, share of a processor: agent against earlyoom";
    report.ratio(
        "idle-cpu",
        what,
        ours.cpu_percent(),
        theirs.cpu_percent(),
        "%",
        CPU_RATIO_MAX,
    );
    let all = both.iter().map(|minute| format!("{:.2}", share(minute)));
    report.note(format!(
        "idle-cpu: of {} minutes the one in the middle; all of them: {} ×. earlyoom (Debian's, linked to glibc) has {} resident",
        both.len(),
        all.collect::<Vec<_>>().join(", "),
        mebi(theirs.resident_bytes)
    ));
    Ok(())
}

/// What the agent keeps below its root once its ledger is open.
const LEDGER: &str = "var/lib/forestall/ledger/kills.ledger";

/// This machine's own root, but for a state directory that is there and empty, as an installation makes it: without one the agent
/// neither records nor keeps a ledger, and would be smaller than on any node.
fn make_root(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("agent-idle-root");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    std::fs::create_dir_all(root.join("var/lib/forestall"))?;
    for name in ["proc", "sys", "dev"] {
        symlink(Path::new("/").join(name), root.join(name))?;
    }
    Ok(root)
}

/// As Debian's package starts it: it reports once an hour.
fn start_earlyoom(folder: &Path) -> Result<Daemon> {
    let earlyoom = tools::unpack_debian("earlyoom", "usr/bin/earlyoom")?;
    let mut command = Command::new(earlyoom);
    command.args(["--dryrun", "-r", "3600"]);
    Daemon::start(&mut command, &folder.join("earlyoom.log"))
}

/// The agent as it runs with no configuration: shadow mode. The page for metrics is on, at whatever port is free.
pub(super) fn agent_command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["agent", "--listen", "127.0.0.1:0"]);
    command
}
