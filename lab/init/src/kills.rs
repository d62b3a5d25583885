//! A trial of the sources of kills: kills of every kind, and what the kernel's tracing and the cgroups' counters tell of each.
//!
//! It is done by one process with the rights that are shipped, by the very code that the agent uses. What happened is known from
//! whom that process has started and waited for.

mod unread;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_act::TraceInstance;
use forestall_kernel::cgroup::{self, KillCounters};
use forestall_kernel::tracing::{TraceReader, find_tracefs};
use forestall_lab_init::plan::{Hierarchy, Naming, Share, Work};
use forestall_lab_init::report::{End, Report};
use forestall_lab_init::rights::Rights;
use serde::{Deserialize, Serialize};

use crate::cgroup::Tree;
use crate::launch::{self, Place};
use crate::machine;
use crate::node::Node;

pub(crate) use self::unread::slay;
use self::watch::{Kind, Started, Watcher};

/// What a limit is set to: whoever grows reaches it within a second.
const LIMIT_BYTES: u64 = 24 << 20;
/// Kills of the storm, and how many at a time.
const STORM: usize = 1000;
const STORM_WIDTH: usize = 6;
/// What is told comes within this, emulated or not.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the process that watches is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    naming: Naming,
    hierarchy: Hierarchy,
}

/// Has kills watched, and sends what came of it.
pub(crate) fn run(mut node: Node) -> Result<()> {
    let order = Order {
        naming: node.plan.naming,
        hierarchy: node.plan.hierarchy,
    };
    let cgroup = node.tree.service("forestall");
    node.tree.make(&cgroup)?;
    let place = Place {
        cgroup,
        oom_score_adj: -999,
        rights: Rights::Shipped,
    };
    let words = [
        launch::named("watcher")?,
        "watch-kills".into(),
        serde_json::to_string(&order)?,
    ];
    let output = launch::placed(&place, &words)?
        .stderr(Stdio::inherit())
        .output()
        .context("watching kills")?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let report = serde_json::from_str(line).with_context(|| format!("the watcher printed {line:?}"))?;
        node.reporter.send(&report);
    }
    if !output.status.success() {
        bail!("the watcher failed: {}", output.status);
    }
    unread::run(&mut node)?;
    node.reporter.send(&Report::Ended {
        at_millis: machine::now_millis(),
        why: End::Settled,
        oom_kills: machine::oom_kills(),
        starved_millis: 0,
    });
    Ok(())
}

/// `end CGROUP`: ends everybody there, as one.
pub(crate) fn end_all_in(cgroup: &Path) -> Result<()> {
    let file = cgroup.join("cgroup.kill");
    fs::write(&file, "1").with_context(|| format!("writing {}", file.display()))
}

/// `watch-kills ORDER`.
pub(crate) fn carry_out(order: &Order) -> Result<()> {
    let tracefs = find_tracefs(Path::new("/"), Path::new("/proc/self/mountinfo"))?;
    let instance = TraceInstance::make(&tracefs)?;
    // Delays are measured here, by the clock that a program can ask.
    fs::write(instance.path().join("trace_clock"), "mono").context("choosing the clock of tracing")?;
    let reader = TraceReader::open(instance.path())?;
    let mountinfo = fs::read("/proc/self/mountinfo")?;
    let hierarchy = cgroup::Hierarchy::find(&mountinfo, Path::new("/"))?;
    let counters = KillCounters::open(&hierarchy, &mountinfo);
    if let Err(error) = &counters {
        eprintln!("watcher: {error}");
    }
    let watcher = Watcher::new(reader, counters.ok());
    let mut trial = Trial {
        watcher,
        tree: Tree::new(order.naming, order.hierarchy),
        pods: Pods::new("podf00d"),
    };
    trial.limits()?;
    if order.hierarchy == Hierarchy::V2 {
        trial.group()?;
    }
    trial.machine()?;
    trial.processes()?;
    trial.storm()?;
    for told in trial.watcher.told.drain(..) {
        println!("{}", serde_json::to_string(&Report::Kills(told))?);
    }
    drop(trial);
    let path = instance.path().to_owned();
    drop(instance);
    if path.exists() {
        bail!("{} was not removed", path.display());
    }
    Ok(())
}

struct Trial {
    watcher: Watcher,
    tree: Tree,
    pods: Pods,
}

impl Trial {
    /// Limits of every level: of a container, which stays or is removed at once, of a pod and of all pods.
    fn limits(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.tree)?;
        self.tree.limit(&container, LIMIT_BYTES)?;
        let kind = Kind::oom(
            "container limit",
            self.tree.shown(&container),
            vec![self.tree.shown(&container)],
        );
        self.watcher.watch(&kind, || grower(&container))?;

        let (pod, container) = self.pods.make(&self.tree)?;
        self.tree.limit(&container, LIMIT_BYTES)?;
        let expected = vec![
            self.tree.shown(&container),
            format!("below {}", self.tree.shown(&pod)),
        ];
        let kind = Kind {
            is_removed: true,
            ..Kind::oom(
                "container limit, cgroup removed at once",
                self.tree.shown(&container),
                expected,
            )
        };
        self.watcher.watch(&kind, || grower(&container))?;

        let (pod, container) = self.pods.make(&self.tree)?;
        self.tree.limit(&pod, LIMIT_BYTES)?;
        let kind = Kind::oom(
            "pod limit",
            self.tree.shown(&container),
            vec![self.tree.shown(&pod)],
        );
        self.watcher.watch(&kind, || grower(&container))?;

        let (_, container) = self.pods.make(&self.tree)?;
        let kubepods = self.tree.kubepods();
        self.tree.limit(&kubepods, 2 * LIMIT_BYTES)?;
        let kind = Kind::oom(
            "kubepods limit",
            self.tree.shown(&container),
            vec![self.tree.shown(&kubepods)],
        );
        self.watcher.watch(&kind, || grower(&container))?;
        self.tree.limit(&kubepods, 1 << 40)
    }

    /// A container that is killed as one, as the kubelet has it.
    fn group(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.tree)?;
        self.tree.limit(&container, LIMIT_BYTES)?;
        self.tree.kill_as_one(&container)?;
        let kind = Kind {
            counted_twice: 1,
            ..Kind::oom(
                "group of four",
                self.tree.shown(&container),
                vec![self.tree.shown(&container)],
            )
        };
        self.watcher.watch(&kind, || {
            let mut four = Vec::new();
            for _ in 0..3 {
                four.push(start("bystander", &container, &Work::Pause, 0)?);
            }
            four.extend(grower(&container)?);
            Ok(four)
        })
    }

    /// By SysRq: the machine's own OOM killer, which takes whoever has the highest score.
    fn machine(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.tree)?;
        let tree = self.tree.clone();
        let kind = Kind::oom("machine", self.tree.shown(&container), vec!["none".into()]);
        self.watcher.watch(&kind, || {
            let hold = Work::Hold { hold: Share(40) };
            let victim = start("grower", &container, &hold, 1000)?;
            let deadline = Instant::now() + PATIENCE;
            while tree.usage(&container).anon_bytes < LIMIT_BYTES {
                if Instant::now() > deadline {
                    bail!("{} never took its memory", container.display());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            fs::write("/proc/sysrq-trigger", "f").context("SysRq f")?;
            Ok(vec![victim])
        })
    }

    /// Somebody ended by its pid, and a cgroup by somebody who is gone at once.
    fn processes(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.tree)?;
        let kind = Kind::by_process("kill -9", self.tree.shown(&container), "watcher");
        self.watcher.watch(&kind, || {
            let mut victim = start("sleeper", &container, &Work::Pause, 0)?;
            victim.child.kill()?;
            Ok(vec![victim])
        })?;
        if !container.join("cgroup.kill").exists() {
            return Ok(());
        }
        let place = Place {
            cgroup: self.tree.root().to_owned(),
            oom_score_adj: 0,
            rights: Rights::Full,
        };
        let words = [
            launch::named("assassin")?,
            "end".into(),
            container.display().to_string(),
        ];
        let kind = Kind::by_process("cgroup.kill", self.tree.shown(&container), "assassin");
        self.watcher.watch(&kind, || {
            let victim = start("sleeper", &container, &Work::Pause, 0)?;
            // It has to be there before everybody there is ended.
            let procs = container.join("cgroup.procs");
            while fs::read(&procs)?.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            launch::placed(&place, &words)?.status().context("the assassin")?;
            Ok(vec![victim])
        })
    }

    /// As many kills as the guest can, at one container's limit.
    fn storm(&mut self) -> Result<()> {
        let (_, container) = self.pods.make(&self.tree)?;
        self.tree.limit(&container, LIMIT_BYTES)?;
        let kind = Kind::oom(
            "storm",
            self.tree.shown(&container),
            vec![self.tree.shown(&container)],
        );
        self.watcher.storm(&kind, STORM, STORM_WIDTH, || {
            start("grower", &container, &grow(), 0)
        })
    }
}

/// Pods that are made one after the other, each with a container, and no limit.
struct Pods {
    prefix: &'static str,
    count: usize,
}

impl Pods {
    const fn new(prefix: &'static str) -> Self {
        Self { prefix, count: 0 }
    }

    /// The next one, and its container.
    fn make(&mut self, tree: &Tree) -> Result<(PathBuf, PathBuf)> {
        self.count += 1;
        let name = format!("{}-{}", self.prefix, self.count);
        let pod = tree.kubepods().join("burstable").join(name);
        let container = pod.join("c0ffee");
        tree.make(&container)?;
        Ok((pod, container))
    }
}

fn grower(container: &Path) -> Result<Vec<Started>> {
    Ok(vec![start("grower", container, &grow(), 0)?])
}

fn start(name: &str, cgroup: &Path, work: &Work, oom_score_adj: i32) -> Result<Started> {
    let place = Place {
        cgroup: cgroup.to_owned(),
        oom_score_adj,
        rights: Rights::Full,
    };
    let mut command = launch::placed(&place, &launch::worker(name, work)?)?;
    let child = command
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {name:?}"))?;
    Ok(Started {
        child,
        cgroup: cgroup.to_owned(),
    })
}

/// Takes what it can get, at once.
fn grow() -> Work {
    Work::Grow {
        rate: Share(0),
        total: None,
        start: Share(0),
    }
}
