//! An Event on the Node for the evictions that come one after another: how many there were, and the figures that were the reason of the first. Whoever looks at
//! a node need not know which pods are gone.
//!
//! It refuses to write an object for each of them, however fast they come: one that is written is counted up, a few times a minute. Its note stays the
//! first one's, because the API lets nobody change it; each pod's own Event has its own.
//!
//! Sources: `k8s.io/api/events/v1` types, k/k `pkg/apis/core/validation/events.go`, client-go `tools/events/event_broadcaster.go`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use forestall_decide::Evidence;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::error::Trouble;
use super::event;
use super::evict::Witness;
use super::link::{Ask, Link};
use super::shelf::{Named, Shelf};
use crate::log::time::rfc3339_micros;

/// The namespace of Events about what has none.
const NAMESPACE: &str = "default";

/// Two writes are so far apart.
const WRITTEN_APART: Duration = Duration::from_secs(10);

/// What comes so long after the last one begins another series, and what could not be written is tried so often (client-go's `finishTime`,
/// `maxTriesPerEvent`).
const ENDS_AFTER: Duration = Duration::from_mins(6);
const TRIES_MAX: u32 = 12;

/// Evictions that wait to be written on the Node. Nobody holds it while waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeNews {
    noted: Arc<Mutex<Option<Noted>>>,
    bell: Arc<Notify>,
}

/// Evictions, and what the first of them was.
#[derive(Debug)]
struct Noted {
    count: u32,
    pod: Named,
    evidence: Evidence,
    first: SystemTime,
    last: SystemTime,
}

impl NodeNews {
    /// This pod is being evicted.
    pub(super) fn note(&self, pod: &Named, evidence: &Evidence, at: SystemTime) {
        let mut held = self.lock();
        if let Some(noted) = &mut *held {
            noted.count = noted.count.saturating_add(1);
            noted.last = at;
        } else {
            *held = Some(Noted {
                count: 1,
                pod: pod.clone(),
                evidence: *evidence,
                first: at,
                last: at,
            });
        }
        self.bell.notify_one();
    }

    async fn next(&self) -> Noted {
        loop {
            let noted = self.lock().take();
            match noted {
                Some(noted) => return noted,
                None => self.bell.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is noted, until it is dropped.
pub(super) async fn keep<W: Witness>(news: NodeNews, shelf: Shelf, node: Arc<str>, witness: W) -> Infallible {
    let mut series = Series::default();
    loop {
        tokio::select! {
            noted = news.next() => series.take(&node, &noted),
            () = sleep(WRITTEN_APART), if series.is_to_be_tried_again() => {}
        }
        let written = match shelf.link() {
            Some(link) => series.write(&link).await,
            None => Err(Trouble::Unreachable("there is no connection".to_owned())),
        };
        if let Err(why) = written
            && series.fail() == 1
        {
            witness.is_unmarked_on_node(&why);
        }
        sleep(WRITTEN_APART).await;
    }
}

/// The Event that is counted up.
#[derive(Debug, Default)]
struct Series {
    name: String,
    /// What it is made of; its series is added.
    event: Value,
    count: u32,
    last: Option<SystemTime>,
    /// The server has it.
    is_there: bool,
    /// So often it could not be written as it is now; nothing where it is.
    failures: Option<u32>,
}

impl Series {
    /// Counts them, as another series where the last one is long ago.
    fn take(&mut self, node: &str, noted: &Noted) {
        let goes_on = self.last.is_some_and(|last| {
            let apart = noted.first.duration_since(last).unwrap_or_default();
            apart <= ENDS_AFTER
        });
        if !goes_on {
            let (name, event) = event::on_node(node, &noted.pod, &noted.evidence, noted.first);
            *self = Self {
                name,
                event,
                ..Self::default()
            };
        }
        self.count = self.count.saturating_add(noted.count);
        self.last = Some(noted.last);
        self.failures = Some(self.failures.unwrap_or(0));
    }

    fn is_to_be_tried_again(&self) -> bool {
        self.failures.is_some_and(|failures| failures < TRIES_MAX)
    }

    /// It could not be written; how often that has been so.
    fn fail(&mut self) -> u32 {
        let failures = self.failures.unwrap_or(0).saturating_add(1);
        self.failures = Some(failures);
        failures
    }

    async fn write(&mut self, link: &Link) -> Result<(), Trouble> {
        if self.is_there {
            match self.count_up(link).await {
                // It has lived as long as Events do.
                Err(Trouble::Refused(refusal)) if refusal.code == 404 => self.is_there = false,
                answer => return answer,
            }
        }
        match self.create(link).await {
            // It was made, and the answer was lost.
            Err(Trouble::Refused(refusal)) if refusal.code == 409 => {
                self.is_there = true;
                self.count_up(link).await
            }
            answer => answer,
        }
    }

    async fn create(&mut self, link: &Link) -> Result<(), Trouble> {
        let mut event = self.event.clone();
        if let (Some(series), Some(event)) = (self.series(), event.as_object_mut()) {
            event.insert("series".to_owned(), series);
        }
        event::post(link, NAMESPACE, &event).await?;
        (self.is_there, self.failures) = (true, None);
        Ok(())
    }

    async fn count_up(&mut self, link: &Link) -> Result<(), Trouble> {
        if let Some(series) = self.series() {
            let path = format!(
                "{}/{}",
                event::path(NAMESPACE),
                super::follow::encoded(&self.name)
            );
            let patch = json!({ "series": series }).to_string();
            let ask = Ask {
                method: Method::PATCH,
                path: &path,
                content: Some(("application/merge-patch+json", patch.into())),
            };
            link.ask(ask).await?;
        }
        self.failures = None;
        Ok(())
    }

    /// There is one from the second on.
    fn series(&self) -> Option<Value> {
        let last = self.last.filter(|_| self.count > 1)?;
        Some(json!({ "count": self.count, "lastObservedTime": rfc3339_micros(last) }))
    }
}

#[cfg(test)]
mod tests;
