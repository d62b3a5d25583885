//! What the agent's ledger keeps where it may not read the kernel's log: from tracing and the cgroups' counters alone, with the rights
//! that are shipped.
//!
//! What happened is known from whom this process has started and waited for.
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_kernel::tracing::find_tracefs;
use forestall_lab_init::plan::{CONFIG, Hierarchy, Share, Work};
use forestall_lab_init::report::{KillsTold, Report, StormKept};
use forestall_lab_init::rights::Rights;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{LIMIT_BYTES, Pods, Started, grow, grower, start};
use crate::launch::{self, Place};
use crate::machine;
use crate::node::{self, Node};

const LEDGER: &str = "/var/lib/forestall/ledger";
/// Kills in a row, and how many at a time, in two containers.
const ROW: usize = 100;
const WIDTH: usize = 4;
/// What is kept is kept within this, emulated or not.
const PATIENCE: Duration = Duration::from_mins(1);

/// Kills of one kind, and what is to be kept of each.
struct Expected {
    story: &'static str,
    level: &'static str,
    /// Where each lived.
    ended: BTreeMap<u64, String>,
}

struct Unread<'a> {
    node: &'a mut Node,
    pods: Pods,
    expected: Vec<Expected>,
    /// Kills before the agent's start, of which nothing tells it.
    before: u64,
}

/// Has them killed, and sends what was kept.
pub(super) fn run(node: &mut Node) -> Result<()> {
    fs::set_permissions("/dev/kmsg", Permissions::from_mode(0o000)).context("closing /dev/kmsg")?;
    fs::write(CONFIG, "mode: shadow\nledger: {tracing: true}\n").context("writing the configuration")?;
    let agent = node.plan.agent.clone().context("a plan with an agent")?;
    node.start_agent(&agent)?;
    let instance =
        find_tracefs(Path::new("/"), Path::new("/proc/self/mountinfo"))?.join("instances/forestall");
    wait_for("the agent's tracing", || {
        instance.is_dir() && Path::new(LEDGER).is_dir()
    })?;
    // Whoever is killed before it reads is from before its start.
    sleep(Duration::from_secs(2));
    let mut unread = Unread {
        node,
        pods: Pods::new("podfeed"),
        expected: Vec::new(),
        before: machine::oom_kills(),
    };
    unread.limits()?;
    unread.machine()?;
    unread.row()?;
    let kept = unread.wait_until_kept()?;
    let signal = unread.signal()?;
    for kept in kept {
        unread.node.reporter.send(&Report::Storm(kept));
    }
    unread.node.reporter.send(&Report::Kills(signal));
    Ok(())
}

impl Unread<'_> {
    fn limits(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.node.tree)?;
        self.node.tree.limit(&container, LIMIT_BYTES)?;
        self.kill("container limit", "container", || grower(&container))?;
        let (pod, container) = self.pods.make(&self.node.tree)?;
        self.node.tree.limit(&pod, LIMIT_BYTES)?;
        self.kill("pod limit", "pod", || grower(&container))?;
        let (_, container) = self.pods.make(&self.node.tree)?;
        let kubepods = self.node.tree.kubepods();
        self.node.tree.limit(&kubepods, 2 * LIMIT_BYTES)?;
        self.kill("kubepods limit", "kubepods", || grower(&container))?;
        self.node.tree.limit(&kubepods, 1 << 40)?;
        if self.node.plan.hierarchy == Hierarchy::V1 {
            return Ok(());
        }
        let (_, container) = self.pods.make(&self.node.tree)?;
        self.node.tree.limit(&container, LIMIT_BYTES)?;
        self.node.tree.kill_as_one(&container)?;
        self.kill("group of four", "container", || {
            let mut four = Vec::new();
            for _ in 0..3 {
                four.push(start("bystander", &container, &Work::Pause, 0)?);
            }
            four.extend(grower(&container)?);
            Ok(four)
        })
    }

    fn machine(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.node.tree)?;
        let tree = self.node.tree.clone();
        self.kill("machine", "node", || {
            let victim = start("grower", &container, &Work::Hold { hold: Share(40) }, 1000)?;
            wait_for("its memory", || tree.usage(&container).anon_bytes >= LIMIT_BYTES)?;
            fs::write("/proc/sysrq-trigger", "f").context("SysRq f")?;
            Ok(vec![victim])
        })
    }

    /// So many that the kernel's log would leave most of their stories out.
    fn row(&mut self) -> Result<()> {
        let mut containers = Vec::new();
        for _ in 0..2 {
            let (_, container) = self.pods.make(&self.node.tree)?;
            self.node.tree.limit(&container, LIMIT_BYTES)?;
            containers.push(container);
        }
        let mut ended = BTreeMap::new();
        let mut running: Vec<Started> = Vec::new();
        while ended.len() < ROW {
            while running.len() < WIDTH && running.len() + ended.len() < ROW {
                let place = containers.get(ended.len() % 2).context("a container")?;
                running.push(start("grower", place, &grow(), 0)?);
            }
            self.bury(&mut running, &mut ended)?;
        }
        self.expected.push(Expected {
            story: "100 in a row",
            level: "container",
            ended,
        });
        Ok(())
    }

    fn kill(
        &mut self,
        story: &'static str,
        level: &'static str,
        begin: impl FnOnce() -> Result<Vec<Started>>,
    ) -> Result<()> {
        // What the kind before it has met is not to explain this one.
        sleep(Duration::from_secs(3));
        let mut running = begin()?;
        let mut ended = BTreeMap::new();
        while !running.is_empty() {
            self.bury(&mut running, &mut ended)?;
        }
        self.expected.push(Expected { story, level, ended });
        Ok(())
    }

    fn bury(&self, running: &mut Vec<Started>, ended: &mut BTreeMap<u64, String>) -> Result<()> {
        for at in (0..running.len()).rev() {
            let Some(one) = running.get_mut(at) else { continue };
            if let Some(status) = one.child.try_wait()? {
                let gone = running.swap_remove(at);
                if status.signal() == Some(9) {
                    ended.insert(gone.child.id().into(), self.node.tree.shown(&gone.cgroup));
                }
            }
        }
        sleep(Duration::from_millis(5));
        Ok(())
    }

    fn wait_until_kept(&self) -> Result<Vec<StormKept>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listed = ask(&["kills", "--ledger", LEDGER, "-o", "json"])?;
            let kept: Vec<StormKept> = self
                .expected
                .iter()
                .map(|kind| compare(kind, &listed, self.before))
                .collect();
            if kept.iter().all(|kind| kind.kept >= kind.ended) || Instant::now() > deadline {
                return Ok(kept);
            }
            sleep(Duration::from_secs(2));
        }
    }

    /// Somebody ends a process that needs no memory: by whom is told, and no kill is.
    fn signal(&mut self) -> Result<KillsTold> {
        let (_, container) = self.pods.make(&self.node.tree)?;
        let mut victim = start("sleeper", &container, &Work::Pause, 0)?;
        let pid = victim.child.id().to_string();
        wait_for("the sleeper", || {
            fs::read(container.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())
        })?;
        let place = Place {
            cgroup: self.node.tree.root().to_owned(),
            oom_score_adj: 0,
            rights: Rights::Full,
        };
        let words = [launch::named("assassin")?, "slay".into(), pid.clone()];
        let mut assassin = launch::placed(&place, &words)?.spawn().context("the assassin")?;
        let is_killed = victim.child.wait()?.signal() == Some(9);
        let deadline = Instant::now() + PATIENCE;
        let mut told = Value::Null;
        while told.is_null() && Instant::now() < deadline {
            sleep(Duration::from_secs(1));
            told = ask(&["explain", &pid, "--ledger", LEDGER, "-o", "json"])
                .map_or(Value::Null, |answer| answer["signal"].clone());
        }
        assassin.wait()?;
        let sender = &told["sender"];
        let name = sender["comm"].as_str().map(str::to_owned);
        let is_right = name.as_deref() == Some("assassin")
            && sender["pid"].as_u64() == Some(assassin.id().into())
            && sender["uid"].as_u64() == Some(0)
            && told["cgroup"]["path"].as_str() == Some(&*self.node.tree.shown(&container));
        Ok(KillsTold {
            story: "kill -9, as explain tells it without the log".into(),
            ended: usize::from(is_killed),
            by_process: usize::from(!told.is_null()),
            sender: name,
            limit: if is_right { String::new() } else { told.to_string() },
            holds: is_killed && is_right,
            ..KillsTold::default()
        })
    }
}

/// `slay PID`: ends a process, and stays a while, so that whoever looks for it finds it.
pub(crate) fn slay(pid: &str) -> Result<()> {
    let pid = Pid::from_raw(pid.parse()?).context("a process's number")?;
    #[allow(clippy::disallowed_methods, reason = "a murder, in a guest of its own")]
    rustix::process::kill_process(pid, Signal::KILL).context("the murder")?;
    sleep(Duration::from_secs(2));
    Ok(())
}

/// What forestall answers to whoever may not read the kernel's log, as JSON.
fn ask(arguments: &[&str]) -> Result<Value> {
    let place = Place {
        cgroup: PathBuf::from("/sys/fs/cgroup"),
        oom_score_adj: 0,
        rights: Rights::Shipped,
    };
    let program = node::agent_binary().display().to_string();
    let words: Vec<String> = std::iter::once(program)
        .chain(arguments.iter().map(|word| (*word).to_owned()))
        .collect();
    let output = launch::placed(&place, &words)?
        .stdin(Stdio::null())
        .output()
        .context("forestall")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("forestall {} printed no JSON: {said}", arguments.join(" "))
    })
}

fn compare(kind: &Expected, listed: &Value, before: u64) -> StormKept {
    let mut kept = StormKept {
        storm: kind.story.into(),
        ended: kind.ended.len(),
        unattributed: listed["boots"][0]["unattributed_kills"]
            .as_u64()
            .and_then(|unattributed| unattributed.checked_sub(before))
            .unwrap_or(u64::MAX),
        ..StormKept::default()
    };
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for report in listed["reports"].as_array().into_iter().flatten() {
        for victim in report["victims"].as_array().into_iter().flatten() {
            let Some((pid, place)) = victim["pid"]
                .as_u64()
                .and_then(|pid| kind.ended.get_key_value(&pid))
            else {
                continue;
            };
            let seen = times.entry(*pid).or_default();
            *seen += 1;
            if *seen > 1 {
                kept.twice += 1;
                continue;
            }
            kept.kept += 1;
            kept.placed += usize::from(victim["cgroup"]["path"].as_str() == Some(&**place));
            let is_right = report["level"].as_str() == Some(kind.level);
            kept.levelled += usize::from(is_right && victim["sender"]["is_kernel"].as_bool() == Some(true));
        }
    }
    kept
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() {
        if Instant::now() > deadline {
            bail!("{what} never came");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
