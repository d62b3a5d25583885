//! What the guard thread and the talk thread share, made so that the guard never waits for the other.
//!
//! [`open`] makes four ends:
//!
//! | end | held by | what it does |
//! |---|---|---|
//! | [`Post`] | guard | `publish` after every step, `outcome` for every answer of the act thread, `note` for troubles |
//! | [`Commands`] | guard | `fd` for its poll(2), `take` for what the talk thread wants (a new policy, what the kubelet runs with, a look, the end) |
//! | [`Board`] | everybody (`Arc`) | counters (atomics), the last [`Snapshot`], what is degraded, the guard's health |
//! | [`Inbox`] | talk | events in order (`take`), `bell` that becomes readable with them; `Commander` is its way back |
//!
//! The guard's loop, in short:
//!
//! ```text
//! post.policy(&policy);                            // once, and after each Command::Policy
//! loop {
//!     poll(psi triggers, timer, commands.fd(), …);
//!     while let Some(command) = commands.take() { … Command::Policy(policy) → engine.step + post.policy; Stop → break }
//!     let decision = engine.step(now, Input::Sample(&sample));
//!     post.publish(&Tick { now, took, … }, &sample, &decision, &sensor);   // sensor: Names
//!     for outcome in actor {
//!         let decision = engine.step(Input::Outcome(&outcome));
//!         post.ignored(now, &decision, &sensor);
//!         post.outcome(now, &outcome, note);
//!     }
//! }
//! ```
//!
//! Nothing on `Post` blocks or allocates: the snapshot is copied into preallocated buffers under a `try_lock` and
//! skipped when the talk thread just reads it; events are inline values in a bounded channel and are dropped and
//! counted when it is full; waking the talk thread is one non-blocking write to an eventfd.

mod api;
mod blamed;
mod board;
mod command;
mod desk;
mod event;
mod herald;
mod label;
mod post;
mod reasons;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;

pub(crate) use self::api::{Api, Compared};
pub(crate) use self::board::{BUCKET_BOUNDS, Board, Degraded, Health, Histogram, Recording};
pub(crate) use self::command::{Command, Commander, Commands};
pub(crate) use self::desk::{Desk, Heard, Keeping, KillNews};
pub(crate) use self::event::{Event, EventKind, Inbox, Name, Passed, Trouble, Unbelieved};
pub(crate) use self::herald::Herald;
pub(crate) use self::label::{ActionOutcome, AlarmStage, IgnoredKind, MODES, RUNGS, WALLS};
pub(crate) use self::post::{Names, Post, Tick};
pub(crate) use self::snapshot::{Age, Row, Snapshot};

/// Events under way at once. An alarm, its action and its outcome are three; beyond this the talk thread is stuck.
const EVENTS_MAX: usize = 128;

/// The four ends.
pub(crate) struct Ends {
    /// The guard's.
    pub(crate) post: Post,
    /// For threads that serve the guard.
    pub(crate) herald: Herald,
    /// The guard's.
    pub(crate) commands: Commands,
    /// Everybody's.
    pub(crate) board: Arc<Board>,
    /// The talk thread's.
    pub(crate) inbox: Inbox,
    /// The talk thread's.
    pub(crate) commander: Commander,
}

/// Makes the ends. Fails only where the kernel gives no eventfd.
pub(crate) fn open() -> io::Result<Ends> {
    let board = Arc::new(Board::new());
    let bell = Arc::new(event::Bell::new()?);
    let (sender, receiver) = mpsc::sync_channel(EVENTS_MAX);
    let (commander, commands) = command::open()?;
    Ok(Ends {
        herald: Herald::new(Arc::clone(&board), sender.clone(), Arc::clone(&bell)),
        post: Post::new(Arc::clone(&board), sender, Arc::clone(&bell)),
        commands,
        board,
        inbox: Inbox::new(receiver, bell),
        commander,
    })
}
