//! What both sources tell while kills of one kind go on, and whether it is what happened.
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forestall_kernel::cgroup::{KillCount, KillCounters, LimitMet};
use forestall_kernel::tracing::{TraceEvent, TraceReader};
use forestall_lab_init::report::KillsTold;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::PATIENCE;
use crate::machine;

/// Longer than a limit that was met is remembered.
const CALM: Duration = Duration::from_secs(3);

/// Somebody who was started, and where.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) cgroup: PathBuf,
}

/// One kind of kill, and what is to be told of it.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Where the victims live, as the counters name it.
    pub(super) victim: String,
    /// At whose limit it is, in the words of the counters; any of these. Empty where it is nobody's.
    pub(super) limit: Vec<String>,
    /// Who sends SIGKILL, if it is a process.
    pub(super) sender: Option<&'static str>,
    /// So many of those whom the kernel chose may be counted twice.
    pub(super) counted_twice: u64,
    /// The cgroup is removed as soon as its process has ended, and before anybody looks.
    pub(super) is_removed: bool,
}

impl Kind {
    pub(super) fn oom(name: &'static str, victim: String, limit: Vec<String>) -> Self {
        Self {
            name,
            victim,
            limit,
            sender: None,
            counted_twice: 0,
            is_removed: false,
        }
    }

    pub(super) fn by_process(name: &'static str, victim: String, sender: &'static str) -> Self {
        Self {
            sender: Some(sender),
            ..Self::oom(name, victim, Vec::new())
        }
    }
}

/// The two sources, and what they told so far.
pub(super) struct Watcher {
    reader: TraceReader,
    counters: Option<KillCounters>,
    pub(super) told: Vec<KillsTold>,
}

/// What is heard of one kind.
struct Watch {
    told: KillsTold,
    ended: BTreeSet<i32>,
    marked: BTreeSet<i32>,
    by_kernel: BTreeSet<i32>,
    by_process: BTreeSet<i32>,
    /// Every answer to whose limit it was.
    limits: BTreeSet<String>,
    late: Vec<u64>,
    began: Instant,
    vmstat: u64,
    lost: u64,
}

impl Watcher {
    pub(super) fn new(reader: TraceReader, counters: Option<KillCounters>) -> Self {
        Self {
            reader,
            counters,
            told: Vec::new(),
        }
    }

    /// Lets it begin, and watches until everybody has ended and was told of.
    pub(super) fn watch(&mut self, kind: &Kind, begin: impl FnOnce() -> Result<Vec<Started>>) -> Result<()> {
        // What the kind before it has met is not to explain this one.
        let mut watch = self.begin(kind);
        let calm = Instant::now() + CALM;
        while Instant::now() < calm {
            self.hear(&mut watch, kind)?;
        }
        watch = self.begin(kind);
        let mut victims = begin()?;
        let deadline = Instant::now() + 3 * PATIENCE;
        while Instant::now() < deadline && !(victims.is_empty() && self.is_told(&watch, kind)) {
            watch.bury(&mut victims, kind)?;
            if !kind.is_removed || victims.is_empty() {
                self.hear(&mut watch, kind)?;
            }
        }
        self.end(watch, kind);
        Ok(())
    }

    /// Starts one after the other, so many at a time, until `count` have ended.
    pub(super) fn storm(
        &mut self,
        kind: &Kind,
        count: usize,
        width: usize,
        start: impl Fn() -> Result<Started>,
    ) -> Result<()> {
        let mut watch = self.begin(kind);
        let mut running = Vec::new();
        let deadline = Instant::now() + Duration::from_mins(8);
        while watch.ended.len() < count && Instant::now() < deadline {
            while running.len() < width && running.len() + watch.ended.len() < count {
                running.push(start()?);
            }
            self.hear(&mut watch, kind)?;
            watch.bury(&mut running, kind)?;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.is_told(&watch, kind) {
            self.hear(&mut watch, kind)?;
        }
        self.end(watch, kind);
        Ok(())
    }

    fn begin(&self, kind: &Kind) -> Watch {
        Watch {
            told: KillsTold {
                story: kind.name.to_owned(),
                limit_expected: kind.limit.clone(),
                ..KillsTold::default()
            },
            ended: BTreeSet::new(),
            marked: BTreeSet::new(),
            by_kernel: BTreeSet::new(),
            by_process: BTreeSet::new(),
            limits: BTreeSet::new(),
            late: Vec::new(),
            began: Instant::now(),
            vmstat: machine::oom_kills(),
            lost: self.reader.lost(),
        }
    }

    /// Reads what both sources have, once one of them has something or a moment has passed.
    fn hear(&mut self, watch: &mut Watch, kind: &Kind) -> Result<()> {
        let mut waited = vec![PollFd::new(&self.reader, PollFlags::IN)];
        waited.extend(
            self.counters
                .as_ref()
                .map(|counters| PollFd::new(counters, PollFlags::IN)),
        );
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        poll(&mut waited, Some(&moment))?;
        let mut senders = Vec::new();
        self.reader.read(|event| {
            watch
                .late
                .push(now_nanos().saturating_sub(event.at_nanos()) / 1000);
            match event {
                TraceEvent::Marked(marked) => {
                    watch.marked.insert(marked.pid);
                }
                TraceEvent::Signal(signal) if signal.is_kernels() => {
                    watch.by_kernel.insert(signal.pid);
                }
                TraceEvent::Signal(signal) => {
                    watch.by_process.insert(signal.pid);
                    senders.push(signal.sender_pid);
                }
            }
        })?;
        for sender in senders {
            let name = self.reader.name_of(sender, Path::new("/proc"));
            watch.told.sender = name.map(|name| name.as_bytes().escape_ascii().to_string());
        }
        let now = Duration::from_nanos(now_nanos());
        let mut changes: Vec<KillCount> = Vec::new();
        if let Some(counters) = &mut self.counters {
            counters.look(now, &mut changes)?;
        }
        if let Some(top) = changes.first() {
            watch.told.counted += top.kills;
            watch.told.groups += top.group_kills;
        }
        let path = |change: &KillCount| String::from_utf8_lossy(&change.path).into_owned();
        if let Some(counters) = &mut self.counters {
            match counters.limit_of(now, &changes, kind.victim.as_bytes()) {
                LimitMet::At(at) => watch.limits.insert(path(at)),
                LimitMet::Below(below) => watch.limits.insert(format!("below {}", path(below))),
                LimitMet::None => watch.limits.insert("none".into()),
                LimitMet::Unclear => false,
            };
        }
        Ok(())
    }

    /// Everybody who has ended was told of, by both.
    fn is_told(&self, watch: &Watch, kind: &Kind) -> bool {
        let told = if kind.sender.is_some() {
            &watch.by_process
        } else {
            &watch.marked
        };
        let is_counted = self.counters.is_none() || watch.told.counted >= machine::oom_kills() - watch.vmstat;
        watch.ended.is_subset(told) && is_counted
    }

    fn end(&mut self, mut watch: Watch, kind: &Kind) {
        let of_ended = |told: &BTreeSet<i32>| told.intersection(&watch.ended).count();
        watch.late.sort_unstable();
        let median = watch.late.get(watch.late.len() / 2).copied().unwrap_or(0);
        let told = KillsTold {
            limit: Vec::from_iter(watch.limits).join(", "),
            ended: watch.ended.len(),
            marked: of_ended(&watch.marked),
            by_kernel: of_ended(&watch.by_kernel),
            by_process: of_ended(&watch.by_process),
            vmstat: machine::oom_kills() - watch.vmstat,
            lost: self.reader.lost() - watch.lost,
            late_micros: [median, watch.late.last().copied().unwrap_or(0)],
            took_millis: u64::try_from(watch.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..watch.told
        };
        let (oom, others) = match kind.sender {
            None => (told.ended, 0),
            Some(_) => (0, told.ended),
        };
        let is_limit_right = told.limit_expected.contains(&told.limit) || kind.sender.is_some();
        let is_counted_right = self.counters.is_none() || (told.counted == told.vmstat && is_limit_right);
        let holds = told.ended > 0
            && (told.marked, told.by_kernel, told.by_process) == (oom, oom, others)
            && (oom as u64..=oom as u64 + kind.counted_twice).contains(&told.vmstat)
            && is_counted_right
            && told.sender.as_deref() == kind.sender
            && told.lost == 0;
        self.told.push(KillsTold { holds, ..told });
    }
}

impl Watch {
    /// Waits for whoever has ended by now.
    fn bury(&mut self, running: &mut Vec<Started>, kind: &Kind) -> Result<()> {
        for at in (0..running.len()).rev() {
            let Some(one) = running.get_mut(at) else { continue };
            let Some(status) = one.child.try_wait()? else {
                continue;
            };
            let gone = running.swap_remove(at);
            if status.signal() == Some(9) {
                self.ended.insert(i32::try_from(gone.child.id())?);
            }
            if kind.is_removed {
                fs::remove_dir(&gone.cgroup)
                    .with_context(|| format!("removing {}", gone.cgroup.display()))?;
            }
        }
        Ok(())
    }
}

fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let since_boot = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}
