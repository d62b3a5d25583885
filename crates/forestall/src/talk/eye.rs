//! Figures of just now for whoever is looking: at rest the guard reads most of them once a minute, or in five.
//!
//! It refuses to wait for the guard any longer than a reader would notice: then the figures are as old as they are.

use std::sync::Arc;
use std::time::Duration;

use forestall_decide::Span;
use tokio::time::sleep;

use crate::agent::clock;
use crate::agent::shared::{Board, Commander};

/// Figures this young are of just now.
const FRESH: Span = Span::millis(100);
/// Between two looks at whether the guard has looked.
const PAUSE: Duration = Duration::from_millis(2);
/// So often, which is a fifth of a second in all.
const PAUSES_MAX: u32 = 100;

/// Asks the guard to look.
#[derive(Clone, Debug)]
pub(super) struct Eye {
    board: Arc<Board>,
    commander: Commander,
}

impl Eye {
    /// On this guard.
    pub(super) fn new(board: Arc<Board>, commander: Commander) -> Self {
        Self { board, commander }
    }

    /// Waits until the board has figures of just now, but never long.
    pub(super) async fn open(&self) {
        let asked_at = clock::now();
        if !self.board.is_askable() || asked_at.since(self.board.copied_at()) < FRESH {
            return;
        }
        self.commander.look();
        for _ in 0..PAUSES_MAX {
            if self.board.copied_at() >= asked_at {
                return;
            }
            sleep(PAUSE).await;
        }
    }
}
