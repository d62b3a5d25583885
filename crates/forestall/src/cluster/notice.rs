//! What the talk thread hands to those who tell the cluster of this node: kills that it has heard of, and that the end has come.
//!
//! Bounded, and nobody holds it while waiting. Where there are too many kills the oldest make room: of many the last one is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use forestall_kernel::oom::Level;
use tokio::sync::Notify;

/// So many wait to be told.
const KILLS_MAX: usize = 16;

/// A kill by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KillWord {
    /// Whose limit it was.
    pub(crate) level: Level,
    /// Who, and why, escaped.
    pub(crate) words: String,
}

/// Shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Content>);

#[derive(Debug, Default)]
struct Content {
    kills: Mutex<VecDeque<KillWord>>,
    is_ending: AtomicBool,
    bell: Notify,
    last_word: Notify,
}

impl Notices {
    /// The kernel has killed.
    pub(crate) fn kill(&self, word: KillWord) {
        let mut kills = self.0.kills.lock().unwrap_or_else(PoisonError::into_inner);
        if kills.len() >= KILLS_MAX {
            kills.pop_front();
        }
        kills.push_back(word);
        self.0.bell.notify_one();
    }

    /// The agent ends: whatever is to be said is said now.
    pub(crate) fn end(&self) {
        self.0.is_ending.store(true, Ordering::Release);
        self.0.bell.notify_one();
    }

    /// Waits until all has been said.
    pub(crate) async fn ended(&self) {
        self.0.last_word.notified().await;
    }

    pub(super) fn take_kills(&self) -> VecDeque<KillWord> {
        std::mem::take(&mut *self.0.kills.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_ending(&self) -> bool {
        self.0.is_ending.load(Ordering::Acquire)
    }

    /// Waits for the next one, or the end.
    pub(super) async fn rung(&self) {
        self.0.bell.notified().await;
    }

    /// All has been said.
    pub(super) fn fall_silent(&self) {
        self.0.last_word.notify_one();
    }
}
