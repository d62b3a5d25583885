//! Tells somebody beside the log: runs a program, or sends an HTTP POST, with the line of the log as JSON.
//!
//! A thread of its own takes one line after the other; what finds its queue full is dropped and counted. Neither the guard nor the
//! talk thread ever waits for it. It is there once somebody is to be told, and follows the settings as they are read again.
//!
//! It refuses to speak TLS, which takes a library larger than the agent: a program that does can be run.

mod exec;
mod webhook;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::notify::Notify;
use crate::supervise::keep_going;

/// Lines that wait to be told.
const QUEUE_MAX: usize = 64;
/// Deep enough to look up a name.
const STACK_BYTES: usize = 128 << 10;
/// Before another attempt to send: whoever restarts is back by then.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// How a line is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A program.
    Exec,
    /// HTTP.
    Webhook,
}

/// The counts, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Told {
    counts: [AtomicU64; 4],
    dropped: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Told {
    fn count(&self, way: Way, is_told: bool) {
        let at = 2 * way as usize + usize::from(is_told);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn read(&self, way: Way, is_told: bool) -> u64 {
        let at = 2 * way as usize + usize::from(is_told);
        self.counts.get(at).map_or(0, |count| count.load(Relaxed))
    }

    /// By way and outcome, in the words of the metrics.
    pub(crate) fn all(&self) -> [(&'static str, &'static str, u64); 5] {
        [
            ("exec", "told", self.read(Way::Exec, true)),
            ("exec", "failed", self.read(Way::Exec, false)),
            ("webhook", "told", self.read(Way::Webhook, true)),
            ("webhook", "failed", self.read(Way::Webhook, false)),
            ("any", "dropped", self.dropped.load(Relaxed)),
        ]
    }

    fn fail(&self, way: Way, why: String) {
        self.count(way, false);
        *lock(&self.failure) = Some(why);
    }

    /// The last failure, once.
    pub(crate) fn take_failure(&self) -> Option<String> {
        lock(&self.failure).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The talk thread's end.
#[derive(Debug)]
pub(crate) struct Notifications {
    settings: Arc<Mutex<Notify>>,
    events: Vec<String>,
    told: Arc<Told>,
    nice: i32,
    queue: Option<SyncSender<String>>,
}

impl Notifications {
    /// Tells nobody yet. `nice` is the priority that the thread is meant to have.
    pub(crate) fn new(told: Arc<Told>, nice: i32) -> Self {
        Self {
            settings: Arc::default(),
            events: Vec::new(),
            told,
            nice,
            queue: None,
        }
    }

    /// Follows these settings from now on. The error: no thread can be had.
    pub(crate) fn follow(&mut self, notify: &Notify) -> io::Result<()> {
        self.events = if notify.is_on() {
            notify.events.clone()
        } else {
            Vec::new()
        };
        lock(&self.settings).clone_from(notify);
        if self.queue.is_some() || !notify.is_on() {
            return Ok(());
        }
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let mut messenger = Messenger {
            settings: Arc::clone(&self.settings),
            told: Arc::clone(&self.told),
            nice: self.nice,
            lines,
        };
        thread::Builder::new()
            .name("notify".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || messenger.run())?;
        self.queue = Some(queue);
        Ok(())
    }

    /// Somebody is to be told of such events.
    pub(crate) fn wants(&self, event: &str) -> bool {
        self.events.iter().any(|wanted| wanted == event)
    }

    /// Hands a line over, without waiting.
    pub(crate) fn tell(&self, line: String) {
        let is_taken = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(line).is_ok());
        if !is_taken {
            self.told.dropped.fetch_add(1, Relaxed);
        }
    }
}

struct Messenger {
    settings: Arc<Mutex<Notify>>,
    told: Arc<Told>,
    nice: i32,
    lines: Receiver<String>,
}

impl Messenger {
    fn run(&mut self) {
        // Only ever down, which is always allowed.
        let _ = rustix::process::setpriority_process(None, self.nice);
        keep_going(
            "notify",
            self,
            |messenger| {
                while let Ok(line) = messenger.lines.recv() {
                    messenger.tell(&line);
                }
                Ok(())
            },
            |messenger, why, pause| {
                *lock(&messenger.told.failure) = Some(why.to_owned());
                thread::sleep(pause);
                true
            },
        );
    }

    /// Tells it in every way that is set.
    fn tell(&self, line: &str) {
        let notify = lock(&self.settings).clone();
        let timeout = Duration::from_micros(notify.timeout.0);
        if !notify.exec.is_empty() {
            match exec::run(&notify.exec, line, timeout) {
                Ok(()) => self.told.count(Way::Exec, true),
                Err(why) => self.told.fail(Way::Exec, format!("notify.exec: {why}")),
            }
        }
        if let Some(webhook) = &notify.webhook {
            let mut sent = webhook::post(webhook, line, timeout);
            for pause in PAUSES {
                if sent.is_ok() {
                    break;
                }
                thread::sleep(pause);
                sent = webhook::post(webhook, line, timeout);
            }
            match sent {
                Ok(()) => self.told.count(Way::Webhook, true),
                Err(why) => self
                    .told
                    .fail(Way::Webhook, format!("notify.webhook: {webhook}: {why}")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
