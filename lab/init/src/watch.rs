//! The run itself: starts everybody in their turn, notices who ends and by whom, and decides when it is over.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::Role;
use forestall_lab_init::report::{Cause, End, Report};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::machine;
use crate::node::{self, Node};
use crate::recording;
use crate::resident::How;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Between two gauges.
const GAUGE_MILLIS: u64 = 1000;
/// How long the agent may take to end when it is told to.
const FAREWELL_MILLIS: u64 = 3000;

/// Runs the plan of `node` to its end.
pub(crate) fn run(mut node: Node) -> Result<()> {
    let mut watch = Watch::new()?;
    if !node.plan.plain {
        node.start_kubelet()?;
    }
    node.start(Role::Innocent)?;
    let agent = node.plan.agent.clone();
    if agent.is_some() && !node::agent_binary().exists() {
        bail!("there is no agent in this guest");
    }
    let late_millis = node.plan.agent_late_millis;
    if let (Some(agent), None) = (&agent, late_millis) {
        // The bystanders take what they hold before the agent first looks, as on a node that has been up for a while.
        watch.look_for(&mut node, Duration::from_millis(1500));
        node.start_agent(agent)?;
    }
    let (calm_millis, deadline_millis) = (node.plan.calm_millis, node.plan.deadline_millis);
    watch.look_for(&mut node, Duration::from_millis(calm_millis));

    let started_millis = machine::now_millis();
    node.reporter.send(&Report::Started {
        at_millis: started_millis,
    });
    watch.oom_kills_before = machine::oom_kills();
    node.start(Role::Culprit)?;
    if let (Some(agent), Some(late_millis)) = (&agent, late_millis) {
        watch.look_for(&mut node, Duration::from_millis(late_millis));
        node.start_agent(agent)?;
    }
    let why = watch.look_until_over(&mut node, started_millis + deadline_millis);
    let oom_kills = machine::oom_kills().saturating_sub(watch.oom_kills_before);
    let at_millis = machine::now_millis();
    bid_farewell(&mut node);
    node.reporter.flush();
    if node.plan.recorded {
        recording::send(&node.reporter)?;
    }
    node.reporter.send(&Report::Ended {
        at_millis,
        why,
        oom_kills,
        starved_millis: watch.starved_millis,
    });
    Ok(())
}

struct Watch {
    kernel_log: File,
    /// Whom the kernel's log names as killed.
    oom_killed: BTreeSet<i32>,
    oom_kills_before: u64,
    /// The last time that something happened which the aftermath is about.
    last_event_millis: Option<u64>,
    last_gauge_millis: u64,
    last_look_millis: u64,
    starved_millis: u64,
}

impl Watch {
    fn new() -> Result<Self> {
        let path = "/dev/kmsg";
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let kernel_log = File::options()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .with_context(|| format!("opening {path}"))?;
        Ok(Self {
            kernel_log,
            oom_killed: BTreeSet::new(),
            oom_kills_before: 0,
            last_event_millis: None,
            last_gauge_millis: 0,
            last_look_millis: machine::now_millis(),
            starved_millis: 0,
        })
    }

    fn look_for(&mut self, node: &mut Node, time: Duration) {
        let end_millis = machine::now_millis() + u64::try_from(time.as_millis()).unwrap_or(0);
        while machine::now_millis() < end_millis {
            self.look(node);
            sleep(LOOK);
        }
        self.last_event_millis = None;
    }

    fn look_until_over(&mut self, node: &mut Node, deadline_millis: u64) -> End {
        loop {
            self.look(node);
            let now_millis = machine::now_millis();
            if self
                .last_event_millis
                .is_some_and(|last| now_millis >= last + node.plan.aftermath_millis)
            {
                return End::Settled;
            }
            if now_millis >= deadline_millis {
                return End::Deadline;
            }
            sleep(LOOK);
        }
    }

    fn look(&mut self, node: &mut Node) {
        let now_millis = machine::now_millis();
        let gap_millis = now_millis.saturating_sub(self.last_look_millis);
        self.starved_millis = self.starved_millis.max(gap_millis.saturating_sub(50));
        self.last_look_millis = now_millis;
        self.read_kernel_log(node, now_millis);
        self.reap(node, now_millis);
        if now_millis >= self.last_gauge_millis + GAUGE_MILLIS {
            self.last_gauge_millis = now_millis;
            let usage = node.tree.usage(&node.tree.kubepods());
            node.reporter.send(&Report::Gauge {
                at_millis: now_millis,
                available_bytes: machine::available_bytes(),
                kubepods_bytes: usage.current_bytes,
                anon_bytes: usage.anon_bytes,
                active_file_bytes: usage.active_file_bytes,
                inactive_file_bytes: usage.inactive_file_bytes,
                stall_micros: machine::stall_micros(),
            });
        }
    }

    fn read_kernel_log(&mut self, node: &Node, now_millis: u64) {
        let mut record = [0_u8; 8192];
        // Each read gives one record. EAGAIN ends it; EPIPE (records were overwritten) skips to what is left.
        loop {
            let length = match self.kernel_log.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => continue,
                Err(_) => return,
            };
            let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
            let message = text.split_once(';').map_or(text.as_str(), |(_, message)| message);
            if let Some(pid) = killed_process(message) {
                self.oom_killed.insert(pid);
                self.last_event_millis = Some(now_millis);
            } else if !message.starts_with("oom-kill:") {
                continue;
            }
            let line = message.lines().next().unwrap_or_default().to_owned();
            node.reporter.send(&Report::Kernel {
                at_millis: now_millis,
                line,
            });
        }
    }

    fn reap(&mut self, node: &mut Node, now_millis: u64) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            if node.agent == Some(pid) {
                node.agent = None;
                let how = How::of(status, false);
                let oom_killed = self.oom_killed.contains(&pid);
                let by = if oom_killed { Cause::Kernel } else { Cause::Itself };
                let name = "forestall".to_owned();
                self.last_event_millis = Some(now_millis);
                node.reporter.send(&Report::Death {
                    at_millis: now_millis,
                    role: None,
                    name,
                    by,
                    how: how.to_string(),
                });
            }
            let Some(index) = node.residents.iter().position(|resident| resident.pid == pid) else {
                continue;
            };
            let resident = node.residents.swap_remove(index);
            let how = How::of(status, resident.shimmed);
            // The kernel writes its log after it has sent the signal: look there once more before judging.
            self.read_kernel_log(node, now_millis);
            let counted = resident
                .cgroup
                .as_ref()
                .is_some_and(|cgroup| node.tree.oom_kills(cgroup) > 0);
            let oom_killed = counted || self.oom_killed.contains(&pid);
            let pod = resident.name.split('/').next().unwrap_or_default();
            let evicted = node.reporter.evicted(pod);
            let by = how.cause(oom_killed, evicted, node.agent.is_some());
            if by != Cause::Itself {
                self.last_event_millis = Some(now_millis);
            }
            if let Some(cgroup) = &resident.cgroup {
                Node::clear(cgroup);
            }
            node.reporter.send(&Report::Death {
                at_millis: now_millis,
                role: resident.role,
                name: resident.name,
                by,
                how: how.to_string(),
            });
        }
    }
}

/// Tells the agent to end, so that it says its last words, and takes no more deaths down.
#[allow(
    clippy::disallowed_methods,
    reason = "an init tells its own child to end, which it has not waited for yet"
)]
fn bid_farewell(node: &mut Node) {
    let Some(agent) = node.agent.take().and_then(Pid::from_raw) else {
        return;
    };
    if rustix::process::kill_process(agent, Signal::TERM).is_err() {
        return;
    }
    let until_millis = machine::now_millis() + FAREWELL_MILLIS;
    while machine::now_millis() < until_millis {
        if !matches!(
            rustix::process::waitpid(Some(agent), WaitOptions::NOHANG),
            Ok(None)
        ) {
            break;
        }
        sleep(LOOK);
    }
    // Its last lines are still on their way through the thread that passes them on.
    sleep(LOOK * 4);
}

/// The process that a line of the kernel's log says was killed: `…Killed process 123 (name) …`.
fn killed_process(message: &str) -> Option<i32> {
    let (_, after) = message.split_once("Killed process ")?;
    after.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lines as kernels 5.10 and 6.1 print them (mm/oom_kill.c, `__oom_kill_process`).
    #[test]
    fn the_kernels_log_names_whom_it_killed() {
        let memcg = "Memory cgroup out of memory: Killed process 77 (leak) total-vm:1kB, anon-rss:1kB";
        assert_eq!(killed_process(memcg), Some(77));
        assert_eq!(
            killed_process("Out of memory: Killed process 9 (x) total-vm:1kB"),
            Some(9)
        );
        assert_eq!(
            killed_process("oom-kill:constraint=CONSTRAINT_MEMCG,task=leak,pid=77"),
            None
        );
    }
}
