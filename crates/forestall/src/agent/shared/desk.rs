//! What the ledger's thread has heard, for the log and for `/metrics`: counts, and the news that nobody has said yet.
//!
//! The guard never comes here: whoever does may wait for whoever is just reading.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::ledger::Ending;
use crate::ledger::{Entry, Levels, Missed, Totals, Whom};

/// So much waits to be said; the talk thread takes it at once unless it hangs.
const NEWS_MAX: usize = 128;

/// Whether kills are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// No, by choice.
    #[default]
    Off,
    /// They are.
    On,
    /// As far as can be: something is missing, and this is what that costs.
    Partly(String),
    /// They should be and cannot, for this reason.
    Failed(String),
}

/// Something to be said.
#[derive(Debug)]
pub(crate) enum KillNews {
    /// The kernel has just killed.
    Kill(Box<Entry>),
    /// So many kills from before this agent's start have been taken in.
    Before(u64),
    /// The kernel has just killed so many, and nothing tells whom.
    Counted(u64),
    /// Kills are not kept any more, or are again.
    Keeping(Keeping),
    /// Damage that was found in the ledger.
    Damage(String),
    /// A source of kills cannot be had here, and what that costs.
    Missing(String),
    /// So many kills were not said, because nobody took them.
    Unsaid(u64),
}

/// The counts of this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Kills that were told of: kill lines, which the kernel counts likewise, and those of which tracing alone told.
    pub(crate) told: u64,
    /// Records of the kernel's log that were overwritten before they were read.
    pub(crate) lost: u64,
    /// Kills of which nothing told but the cgroups' counters, by whose limit it was.
    pub(crate) untold: Levels,
    /// What tracing told and nobody heard.
    pub(crate) missed: Missed,
    /// Kills that were told of twice, at least.
    pub(crate) doubles: u64,
}

#[derive(Debug, Default)]
struct Held {
    keeping: Keeping,
    totals: Totals,
    heard: Heard,
    news: VecDeque<KillNews>,
    unsaid: u64,
    bell: Option<Arc<Ending>>,
}

/// The desk.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<Held>);

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What wakes the ledger's thread.
    pub(crate) fn set_bell(&self, bell: Arc<Ending>) {
        self.lock().bell = Some(bell);
    }

    /// Tracing is not wanted any more: its instance is removed.
    pub(crate) fn untrace(&self) {
        if let Some(bell) = &self.lock().bell {
            bell.untrace();
        }
    }

    /// Whether kills are kept; true where that has changed.
    pub(crate) fn set_keeping(&self, keeping: Keeping) -> bool {
        let mut held = self.lock();
        let has_changed = held.keeping != keeping;
        held.keeping = keeping;
        has_changed
    }

    /// Lays something down to be said; a kill for which there is no room is counted.
    pub(crate) fn say(&self, news: KillNews) {
        let mut held = self.lock();
        if held.news.len() < NEWS_MAX {
            held.news.push_back(news);
        } else {
            held.unsaid += 1;
        }
    }

    /// Takes all that is to be said.
    pub(crate) fn take_news(&self) -> Vec<KillNews> {
        let mut held = self.lock();
        let mut news: Vec<KillNews> = held.news.drain(..).collect();
        let unsaid = std::mem::take(&mut held.unsaid);
        news.extend((unsaid > 0).then_some(KillNews::Unsaid(unsaid)));
        if !news.is_empty() {
            held.news.shrink_to_fit();
        }
        news
    }

    /// All kills that are kept.
    pub(crate) fn set_totals(&self, totals: &Totals) {
        self.lock().totals.clone_from(totals);
    }

    /// Counts kills that have just been kept. What was counted before stays where it is: a kill costs the same however many came before.
    pub(crate) fn count(&self, entries: &[Entry]) {
        let mut held = self.lock();
        for entry in entries {
            entry.count(&mut held.totals);
        }
    }

    /// What was heard in this boot.
    pub(crate) fn set_heard(&self, heard: Heard) {
        self.lock().heard = heard;
    }

    /// Why kills are not kept as they should be.
    pub(crate) fn missing(&self) -> Option<String> {
        match &self.lock().keeping {
            Keeping::Failed(why) | Keeping::Partly(why) => Some(why.clone()),
            Keeping::Off | Keeping::On => None,
        }
    }

    /// What was heard; `None` where nobody listens.
    pub(crate) fn heard(&self) -> Option<Heard> {
        let held = self.lock();
        matches!(held.keeping, Keeping::On | Keeping::Partly(_)).then_some(held.heard)
    }

    /// Hands every count to `take`.
    pub(crate) fn each_total<E>(&self, mut take: impl FnMut(&Whom, u64) -> Result<(), E>) -> Result<(), E> {
        let held = self.lock();
        held.totals.iter().try_for_each(|(whom, kills)| take(whom, kills))
    }
}
