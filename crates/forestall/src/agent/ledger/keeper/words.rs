//! What the keeper says: kills, how well they are kept, and what is missing for it.

use super::Keeper;
use crate::agent::ledger::eyes::Eyes;
use crate::agent::shared::{Keeping, KillNews};
use crate::ledger::Entry;

impl Keeper {
    /// Says whether kills are kept, where that has changed.
    pub(super) fn keeping(&self, keeping: Keeping) {
        let is_worth_it = self.caught_up.is_none() || matches!(keeping, Keeping::Partly(_));
        if self.herald.desk().set_keeping(keeping.clone()) && is_worth_it {
            self.herald.desk().say(KillNews::Keeping(keeping));
            self.herald.ring();
        }
    }

    /// How well kills are kept; what is missing is said.
    pub(super) fn how_it_keeps(&mut self, eyes: &Eyes) -> Keeping {
        if let Some(unwritten) = &self.unwritten {
            return Keeping::Partly(format!(
                "{}: {}: kills are told of and counted, and wait in memory to be kept: {}; it is tried again",
                self.setup.directory.display(),
                unwritten.why,
                unwritten.remedy
            ));
        }
        let Some(why) = self.log.obstacle() else {
            return Keeping::On;
        };
        if eyes.traced.is_some() {
            let what = format!(
                "{why}: kills are told of by the kernel's tracing and the cgroups' counters alone, which say who, where and at whose \
                 limit, and not what filled it; give this agent the device and CAP_SYSLOG for that"
            );
            self.say_once(what);
            return Keeping::On;
        }
        let tracing = if self.setup.tracing {
            ""
        } else {
            ", or let it use the kernel's tracing (ledger.tracing: true)"
        };
        Keeping::Partly(format!(
            "kills are counted, and nobody says who was killed: {why}; give this agent the device and CAP_SYSLOG{tracing}, or set \
             ledger.enabled: false; it is tried again"
        ))
    }

    pub(super) fn say_untraced(&mut self, why: &str) {
        self.say_once(format!(
            "the kernel's tracing does not tell who sent SIGKILL, nor of kills that the log leaves out: {why}"
        ));
    }

    pub(super) fn say_once(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.herald.desk().say(KillNews::Missing(what.clone()));
            self.herald.ring();
            self.missing.push(what);
        }
    }

    /// Says each kill once; of those that were before the agent's start no more than how many.
    pub(super) fn say(&mut self, entries: &[Entry]) {
        let desk = self.herald.desk();
        let mut before = 0;
        for entry in entries {
            if self.said.is_before(entry) {
                before += entry.report.victims.len() as u64;
            } else if self.said.is_new(entry) {
                desk.say(KillNews::Kill(Box::new(entry.clone())));
            }
        }
        if before > 0 {
            desk.say(KillNews::Before(before));
        }
        if !entries.is_empty() {
            self.herald.ring();
        }
    }
}
