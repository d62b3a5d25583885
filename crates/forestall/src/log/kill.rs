//! Kills as lines: one for each that the kernel told of, and what there is to say about keeping them.

use std::time::SystemTime;

use forestall_kernel::oom::{CgroupPath, Victim};
use serde::Serialize;

use super::json::{Empty, name};
use super::{Level, Logger, escape};
use crate::agent::shared::{Keeping, KillNews};
use crate::commands::explain::headline;
use crate::forensics::place::Place;
use crate::forensics::share;
use crate::ledger::Entry;

/// Why, and where more may be found.
const UNKNOWN: &str = "the agent may read neither the kernel's log nor its tracing (dmesg may tell)";

/// One kill.
#[derive(Serialize)]
struct KilledBody {
    pid: u32,
    comm: Option<String>,
    /// Whose limit it was.
    limit_level: &'static str,
    limit_cgroup: Option<String>,
    limit_bytes: Option<u64>,
    held_bytes: Option<u64>,
    cgroup: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
    pod_uid: Option<String>,
    container: Option<String>,
    container_id: Option<String>,
    /// The number of the kernel's line.
    sequence: Option<u64>,
}

impl Logger {
    /// Says what lay on the desk.
    pub(crate) fn kill_news(&mut self, news: &KillNews) {
        match news {
            KillNews::Kill(entry) => self.killed(entry),
            KillNews::Before(1) => self.ledger(
                Level::Info,
                "1 kill from before this agent's start was taken into the ledger",
            ),
            KillNews::Before(kills) => self.ledger(
                Level::Info,
                &format!("{kills} kills from before this agent's start were taken into the ledger"),
            ),
            KillNews::Counted(kills) => self.counted(*kills),
            KillNews::Keeping(Keeping::Failed(why) | Keeping::Partly(why)) => self.ledger(Level::Warn, why),
            KillNews::Keeping(_) => self.ledger(Level::Info, "kills are told of and kept again"),
            KillNews::Damage(note) => self.ledger(Level::Warn, &format!("the ledger was damaged: {note}")),
            KillNews::Missing(what) => self.ledger(Level::Info, what),
            KillNews::Unsaid(kills) => self.ledger(
                Level::Warn,
                &format!(
                    "{kills} more reports of kills are in the ledger and not in this log: forestall kills"
                ),
            ),
        }
    }

    fn ledger(&mut self, level: Level, message: &str) {
        self.say(level, "ledger", message);
    }

    /// As loud as a kill of which more is known: it is all that anybody will hear of it.
    fn counted(&mut self, kills: u64) {
        let times = if kills == 1 { "a process" } else { "processes" };
        let number = if kills == 1 {
            String::new()
        } else {
            format!("{kills} ")
        };
        let message = format!(
            "KILLED by the kernel: {number}{times}, by its own count; nothing tells which: {UNKNOWN}"
        );
        self.put(
            SystemTime::now(),
            Level::Error,
            "killed",
            self.mode,
            &message,
            Empty {},
        );
    }

    fn killed(&mut self, entry: &Entry) {
        let at = entry.at();
        let message = format!(
            "KILLED by the kernel: {}{}",
            headline(&entry.report),
            entry.of_whom()
        );
        if entry.report.victims.is_empty() {
            self.put(at, Level::Error, "killed", self.mode, &message, Empty {});
        }
        for victim in &entry.report.victims {
            let body = KilledBody::new(entry, victim);
            self.put(at, Level::Error, "killed", self.mode, &message, body);
        }
    }
}

impl KilledBody {
    fn new(entry: &Entry, victim: &Victim) -> Self {
        let report = &entry.report;
        let whom = entry.whom(victim);
        let cgroup = entry.cgroup_of(victim);
        let place = cgroup.map(Place::of).unwrap_or_default();
        let known = |text: String| (!text.is_empty()).then_some(text);
        let path = |cgroup: &CgroupPath| escape::bytes(&cgroup.path);
        Self {
            pid: victim.pid,
            comm: name(&victim.comm),
            limit_level: report.level.label(),
            limit_cgroup: report.limit.as_ref().map(path),
            limit_bytes: share::limit(report),
            held_bytes: share::held(report, victim.pid),
            cgroup: cgroup.map(path),
            namespace: known(whom.namespace),
            pod: known(whom.pod),
            pod_uid: place.pod,
            container: known(whom.container),
            container_id: place.container,
            sequence: victim.when.sequence,
        }
    }
}
