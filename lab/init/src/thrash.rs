//! Reactions while memory thrashes: the agent and a bare loop, in turn, beside a load that keeps the cache churning.
//!
//! Both programs are run from the disk, because pages of the initramfs cannot be taken from them: a thrashing machine reads
//! the programs of its guards again and again unless they are locked. The agent locks its memory as it ships; the bare loop
//! does not. What they look at and write to is on a tmpfs, which stays in memory without swap.
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::Role;
use forestall_lab_init::reaction::{
    Course, FileMachine, LOOK_EVERY, Reactions, agent_arguments, time_in_turn,
};
use forestall_lab_init::report::{End, Reactor, Report};
use forestall_lab_init::rights::Rights;
use rustix::process::{Resource, Rlimit};

use crate::launch::{self, Place};
use crate::machine;
use crate::node::{self, Node};

/// So many pages a second that have to be read again are thrashing: one for each look of somebody who looks every 10 ms.
const REFAULTS_PER_SECOND_MIN: u64 = 100;
/// For so many seconds in a row.
const THRASHING_SECONDS_MIN: u32 = 5;
/// A file has to be written to an emulated disk before it can be read again and again.
const THRASHING_WITHIN_SECONDS: u32 = 150;

/// Measures `rounds` reactions of each, and sends them.
pub(crate) fn run(mut node: Node, rounds: u32) -> Result<()> {
    let machines = [
        FileMachine::make(Path::new("/dev/shm/agent"))?,
        FileMachine::make(Path::new("/dev/shm/bare"))?,
    ];
    let mut agent_words = vec![put_on_disk(&node::agent_binary(), "forestall")?];
    agent_words.extend(agent_arguments(machines[0].root(), LOOK_EVERY));
    let bare_words = [
        put_on_disk(Path::new("/init"), "bare")?,
        "bare".to_owned(),
        machines[1].root().to_string_lossy().into_owned(),
    ];
    // The shipped unit gives CAP_IPC_LOCK, which the agent looks for in the proc of its root; a machine made of files has
    // no such entry, and a limit that does not count is as good.
    let no_limit = Rlimit {
        current: None,
        maximum: None,
    };
    rustix::process::setrlimit(Resource::Memlock, no_limit).context("the limit of locked memory")?;
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "1").context("vm.drop_caches")?;
    let mut agent = start(&node, "forestall", &agent_words)?;
    let mut bare = start(&node, "bare", &bare_words)?;

    node.start(Role::Innocent)?;
    sleep(Duration::from_millis(node.plan.calm_millis));
    node.reporter.send(&Report::Started {
        at_millis: machine::now_millis(),
    });
    node.start(Role::Culprit)?;
    wait_until_thrashing()?;

    let (start_millis, refaults, stall) = (machine::now_millis(), refaults(), machine::stall_micros());
    let course = Course {
        rounds,
        pause: Duration::from_millis(150),
        glance: Duration::from_micros(500),
    };
    let timed = time_in_turn([&machines[0], &machines[1]], course);
    if let Some(status) = agent.try_wait()? {
        bail!("the agent ended ({status}); it said: {}", said("forestall"));
    }
    if let Some(status) = bare.try_wait()? {
        bail!("the bare loop ended ({status}); it said: {}", said("bare"));
    }
    let [of_agent, of_bare] = timed.with_context(|| format!("the agent said: {}", said("forestall")))?;
    let at_millis = machine::now_millis();
    node.reporter.send(&Report::Thrashed {
        span_millis: at_millis.saturating_sub(start_millis),
        refaulted_pages: self::refaults().saturating_sub(refaults),
        stall_micros: machine::stall_micros().saturating_sub(stall),
        available_bytes: machine::available_bytes(),
        agent_locked_bytes: locked_bytes(&agent),
    });
    for (who, reactions) in [(Reactor::Agent, of_agent), (Reactor::BareLoop, of_bare)] {
        node.reporter.send(&Report::Reacted {
            who,
            micros: micros(&reactions),
        });
    }
    node.reporter.send(&Report::Ended {
        at_millis,
        why: End::Settled,
        oom_kills: machine::oom_kills(),
        starved_millis: 0,
    });
    Ok(())
}

/// Copies a program to the disk and returns its path there.
fn put_on_disk(program: &Path, name: &str) -> Result<String> {
    let path = format!("/data/{name}");
    std::fs::copy(program, &path).with_context(|| format!("copying {} to {path}", program.display()))?;
    Ok(path)
}

/// Where what a program says is kept: a serial port would take more of an emulated processor than the program does.
fn log_path(name: &str) -> String {
    format!("/dev/shm/{name}.log")
}

fn said(name: &str) -> String {
    let text = std::fs::read(log_path(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(5)..)
        .unwrap_or_default()
        .join("\n")
}

/// As a service of the host. The agent is given every capability, of which it needs the four of the shipped unit.
fn start(node: &Node, name: &str, words: &[String]) -> Result<Child> {
    let cgroup = node.tree.service(name);
    node.tree.make(&cgroup)?;
    let place = Place {
        cgroup,
        oom_score_adj: -999,
        rights: Rights::Full,
    };
    let path = log_path(name);
    let log = File::create(&path).with_context(|| format!("creating {path}"))?;
    let errors = log.try_clone()?;
    launch::placed(&place, words)?
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(errors))
        .spawn()
        .with_context(|| format!("starting {name}"))
}

fn wait_until_thrashing() -> Result<()> {
    let mut in_a_row = 0;
    for _ in 0..THRASHING_WITHIN_SECONDS {
        let before = refaults();
        sleep(Duration::from_secs(1));
        if refaults().saturating_sub(before) >= REFAULTS_PER_SECOND_MIN {
            in_a_row += 1;
        } else {
            in_a_row = 0;
        }
        if in_a_row >= THRASHING_SECONDS_MIN {
            return Ok(());
        }
    }
    bail!(
        "the guest does not thrash: {} pages of files read again since its boot, {} MiB available",
        refaults(),
        machine::available_bytes() >> 20
    )
}

/// Pages of files that had to be read again since boot; the name has no `_file` before 5.9.
fn refaults() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    machine::field(&text, "workingset_refault_file").unwrap_or(0)
}

fn locked_bytes(child: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    machine::field(&text, "VmLck:").unwrap_or(0) * 1024
}

fn micros(reactions: &Reactions) -> Vec<u64> {
    let all = reactions.all().iter();
    all.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
        .collect()
}
