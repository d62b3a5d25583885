//! The end of those beside the guard who have something to tell: troubles of threads that serve it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use forestall_decide::{Mode, Moment};

use super::board::{Board, Recording};
use super::desk::Desk;
use super::event::{Bell, Event, EventKind, Name, Trouble};

/// Tells troubles, without waiting.
#[derive(Clone)]
pub(crate) struct Herald {
    board: Arc<Board>,
    sender: SyncSender<Event>,
    bell: Arc<Bell>,
    mode: Mode,
}

impl Herald {
    pub(super) fn new(board: Arc<Board>, sender: SyncSender<Event>, bell: Arc<Bell>) -> Self {
        Self {
            board,
            sender,
            bell,
            mode: Mode::default(),
        }
    }

    /// The recorder goes on, or cannot.
    pub(crate) fn recording(&self, recording: Recording) {
        self.board.set_recording(recording);
    }

    /// What is known of kills.
    pub(crate) fn desk(&self) -> &Desk {
        &self.board.kills
    }

    /// Something lies on the desk to be said.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Something did not work, and everybody goes on.
    pub(crate) fn trouble(&self, at: Moment, trouble: Trouble) {
        self.board.count_trouble();
        let event = Event {
            at,
            mode: self.mode,
            kind: EventKind::Trouble(trouble),
            scope: Name::NONE,
            target: Name::NONE,
        };
        if self.sender.try_send(event).is_err() {
            self.board.count_event_dropped();
        }
        self.bell.ring();
    }
}
