//! A trial of the agent's ledger: kills one by one, a thousand kills while the agent is ended by force and started again, and a storm in which nobody
//! can be killed, which overwrites the kernel's log again and again.
//!
//! What happened is known from whom this process has started and waited for; what was kept, from `forestall kills`. A bare
//! reader of the kernel's log runs beside the agent, so that what the agent costs can be compared.
mod delay;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_kernel::kmsg::{KmsgReader, Start};
use forestall_lab_init::plan::{Share, Work};
use forestall_lab_init::report::{End, Report, StormKept};
use forestall_lab_init::rights::Rights;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use crate::launch::{self, Place};
use crate::machine;
use crate::node::{self, Node};
use forestall_lab_init::plan::CONFIG;

const LEDGER: &str = "/var/lib/forestall/ledger";
const LIMIT_BYTES: u64 = 24 << 20;
/// Kills, how many at a time, and in how many containers.
const KILLS: usize = 1000;
const WIDTH: usize = 8;
const CONTAINERS: usize = 4;
/// How long nobody can be killed.
const FLOOD: Duration = Duration::from_secs(3);
/// What is kept is kept within this, emulated or not.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lives through all of it, and sends what was kept.
pub(crate) fn run(mut node: Node) -> Result<()> {
    let agent = node.plan.agent.clone().context("a plan with an agent")?;
    fs::write(CONFIG, "mode: shadow\nledger: {tracing: true}\n").context("writing the configuration")?;
    node.start_agent(&agent)?;
    wait_for("the ledger", || Path::new(LEDGER).is_dir())?;
    sleep(Duration::from_millis(node.plan.calm_millis));
    node.reporter.send(&Report::Storm(delay::single(&node)?));
    let kept = thousand(&mut node)?;
    node.reporter.send(&Report::Storm(kept));
    let kept = flood(&node)?;
    node.reporter.send(&Report::Storm(kept));
    node.reporter.send(&Report::Ended {
        at_millis: machine::now_millis(),
        why: End::Settled,
        oom_kills: machine::oom_kills(),
        starved_millis: 0,
    });
    Ok(())
}

/// `read-log`: reads every record of the kernel's log as it comes, and does nothing with it.
pub(crate) fn read_log() -> Result<()> {
    let mut log = KmsgReader::open(Path::new("/dev/kmsg"), Start::Now)?;
    loop {
        poll(&mut [PollFd::new(&log, PollFlags::IN)], None)?;
        while let Some(record) = log.next_record()? {
            std::hint::black_box(record.text);
        }
    }
}

fn thousand(node: &mut Node) -> Result<StormKept> {
    let mut containers = Vec::new();
    for number in 0..CONTAINERS {
        let container = container(node, &format!("pod5702-{number}"))?;
        node.tree.limit(&container, LIMIT_BYTES)?;
        containers.push(container);
    }
    let bare = bare_reader(node)?;
    let mut meter = Meter::start(node)?;
    let mut running: Vec<(Child, PathBuf)> = Vec::new();
    let mut ended: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut is_ended_by_force = false;
    while ended.len() < KILLS && meter.began.elapsed() < Duration::from_mins(8) {
        while running.len() < WIDTH && running.len() + ended.len() < KILLS {
            let place = containers.get(ended.len() % CONTAINERS).context("a container")?;
            running.push((grower(place, 0)?, place.clone()));
        }
        for at in (0..running.len()).rev() {
            let Some((child, _)) = running.get_mut(at) else {
                continue;
            };
            if let Some(status) = child.try_wait()? {
                let (child, place) = running.swap_remove(at);
                if status.signal() == Some(9) {
                    ended.insert(u64::from(child.id()), place);
                }
            }
        }
        if !is_ended_by_force && ended.len() >= KILLS / 2 {
            is_ended_by_force = true;
            meter.add_agent(node)?;
            end_agent(node)?;
            let agent = node.plan.agent.clone().context("a plan with an agent")?;
            node.start_agent(&agent)?;
        }
        sleep(Duration::from_millis(5));
    }
    let mut kept = compare(&ended, node)?;
    let deadline = Instant::now() + PATIENCE;
    while kept.kept < ended.len() && Instant::now() < deadline {
        sleep(Duration::from_secs(2));
        kept = compare(&ended, node)?;
    }
    kept.storm = "1,000 kills, the agent ended by force in the middle".into();
    meter.stop(&mut kept, node, bare)?;
    Ok(kept)
}

/// A process that may not be killed grows in a container of its own, until its limit is lifted.
fn flood(node: &Node) -> Result<StormKept> {
    let container = container(node, "pod5702-flood")?;
    node.tree.limit(&container, LIMIT_BYTES)?;
    let bare = bare_reader(node)?;
    let meter = Meter::start(node)?;
    let mut child = grower(&container, -1000)?;
    sleep(FLOOD);
    // It may take what it wants for a moment, and is then ended by us: no kill of the kernel's.
    node.tree.limit(&container, 1 << 40)?;
    child.kill()?;
    child.wait()?;
    // One that can be killed, so that there is something to be kept after it all.
    node.tree.limit(&container, LIMIT_BYTES)?;
    let mut last = grower(&container, 0)?;
    last.wait()?;
    let ended = BTreeMap::from([(u64::from(last.id()), container)]);
    let mut kept = compare(&ended, node)?;
    let deadline = Instant::now() + PATIENCE;
    while kept.kept < ended.len() && Instant::now() < deadline {
        sleep(Duration::from_secs(2));
        kept = compare(&ended, node)?;
    }
    kept.storm = "nobody can be killed".into();
    meter.stop(&mut kept, node, bare)?;
    Ok(kept)
}

/// What a storm costs.
struct Meter {
    began: Instant,
    record: u64,
    /// Of the agents before this one, and of their ledgers' threads, less what this one or they had used before the storm, milliseconds.
    used_millis: [i64; 2],
}

impl Meter {
    fn start(node: &Node) -> Result<Self> {
        let mut meter = Self {
            began: Instant::now(),
            record: last_record(),
            used_millis: [0; 2],
        };
        meter.add_agent(node)?;
        meter.used_millis = meter.used_millis.map(|millis| -millis);
        Ok(meter)
    }

    fn add_agent(&mut self, node: &Node) -> Result<()> {
        let agent = node.agent.context("an agent")?;
        let own = Path::new("/proc").join(agent.to_string());
        let paths = [own.clone(), ledger_of(&own)?];
        for (used, path) in self.used_millis.iter_mut().zip(paths) {
            *used += i64::try_from(cpu_millis(&path))?;
        }
        Ok(())
    }

    fn stop(mut self, kept: &mut StormKept, node: &Node, mut bare: Child) -> Result<()> {
        self.add_agent(node)?;
        let agent = node.agent.context("an agent")?;
        let status = fs::read_to_string(format!("/proc/{agent}/status")).context("the agent is gone")?;
        kept.records = last_record().saturating_sub(self.record);
        kept.agent_peak_kib = machine::field(&status, "VmHWM:").unwrap_or(0);
        let [agent, ledger] = self.used_millis.map(|millis| u64::try_from(millis).unwrap_or(0));
        let bare_reader = cpu_millis(&Path::new("/proc").join(bare.id().to_string()));
        kept.cpu_millis = [agent, ledger, bare_reader];
        kept.took_millis = u64::try_from(self.began.elapsed().as_millis())?;
        bare.kill()?;
        bare.wait()?;
        Ok(())
    }
}

/// What the ledger says of these.
fn compare(ended: &BTreeMap<u64, PathBuf>, node: &Node) -> Result<StormKept> {
    let output = std::process::Command::new(node::agent_binary())
        .args(["kills", "--ledger", LEDGER, "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .context("forestall kills")?;
    let listed: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "forestall kills printed no JSON: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    let mut kept = StormKept {
        ended: ended.len(),
        unattributed: listed["boots"][0]["unattributed_kills"]
            .as_u64()
            .unwrap_or(u64::MAX),
        lost_records: listed["boots"][0]["lost_records"].as_u64().unwrap_or(u64::MAX),
        ..StormKept::default()
    };
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for report in listed["reports"].as_array().into_iter().flatten() {
        for victim in report["victims"].as_array().into_iter().flatten() {
            let Some((pid, place)) = victim["pid"].as_u64().and_then(|pid| ended.get_key_value(&pid)) else {
                continue;
            };
            let seen = times.entry(*pid).or_default();
            *seen += 1;
            if *seen > 1 {
                kept.twice += 1;
                continue;
            }
            let below = place.strip_prefix(node.tree.root()).unwrap_or(place);
            kept.kept += 1;
            kept.placed +=
                usize::from(victim["cgroup"]["path"].as_str() == Some(&*format!("/{}", below.display())));
            kept.levelled += usize::from(report["level"].as_str() == Some("container"));
        }
    }
    Ok(kept)
}

fn container(node: &Node, pod: &str) -> Result<PathBuf> {
    let container = node.tree.kubepods().join("burstable").join(pod).join("c0ffee");
    node.tree.make(&container)?;
    Ok(container)
}

fn grower(container: &Path, oom_score_adj: i32) -> Result<Child> {
    let place = Place {
        cgroup: container.to_owned(),
        oom_score_adj,
        rights: Rights::Full,
    };
    let work = Work::Grow {
        rate: Share(0),
        total: None,
        start: Share(0),
    };
    let mut command = launch::placed(&place, &launch::worker("grower", &work)?)?;
    command.stdout(Stdio::null()).spawn().context("starting a grower")
}

fn bare_reader(node: &Node) -> Result<Child> {
    let place = Place {
        cgroup: node.tree.root().to_owned(),
        oom_score_adj: -999,
        rights: Rights::Full,
    };
    let words = [launch::named("bare-reader")?, "read-log".into()];
    launch::placed(&place, &words)?
        .spawn()
        .context("starting the bare reader")
}

fn end_agent(node: &mut Node) -> Result<()> {
    let pid = node.agent.take().context("an agent")?;
    let pid = rustix::process::Pid::from_raw(pid).context("an agent's number")?;
    #[allow(clippy::disallowed_methods, reason = "a crash, in a guest of its own")]
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).context("ending the agent")?;
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).context("the agent's end")?;
    Ok(())
}

/// The number of the log's newest record.
fn last_record() -> u64 {
    use std::io::{Read, Write};
    // A line of our own is the newest, and everybody who starts at the end reads it.
    let Ok(mut log) = fs::File::options().read(true).write(true).open("/dev/kmsg") else {
        return 0;
    };
    let end = rustix::fs::seek(&log, rustix::fs::SeekFrom::End(0));
    let written = log.write_all(b"lab: here\n");
    let mut record = [0; 8192];
    let length = log.read(&mut record).unwrap_or(0);
    let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
    match (end, written) {
        (Ok(_), Ok(())) => text
            .split(',')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .unwrap_or(0),
        _ => 0,
    }
}

/// The agent's thread that keeps its ledger. The guard looks more often while memory is short, and what that costs is not the ledger's.
fn ledger_of(agent: &Path) -> Result<PathBuf> {
    for task in fs::read_dir(agent.join("task"))?.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim_end() == "ledger" {
            return Ok(task.path());
        }
    }
    bail!("the agent keeps no ledger")
}

/// Processor time that a process, or a thread, has used, milliseconds.
fn cpu_millis(path: &Path) -> u64 {
    let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
    let ticks = stat.rsplit(')').next().map(|rest| {
        let times = rest.split_whitespace().skip(11).take(2);
        times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
    });
    ticks.unwrap_or(0) * 1000 / rustix::param::clock_ticks_per_second()
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() {
        if Instant::now() > deadline {
            bail!("{what} never came");
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
