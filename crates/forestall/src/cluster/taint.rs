//! The taint `forestall.io/memory-runway-low` of the own Node: the scheduler keeps newcomers away while its memory runs low, where that is wished for.
//!
//! It stands while `MemoryRunwayLow` does and for three minutes more, and is lifted at the end of the agent, by the next one, and where nobody wishes for it any more. It refuses to
//! touch any other taint: the list is read before it is written, and written only as long as the Node is the one that was read.
//!
//! Sources: `k8s.io/api/core/v1` types (`Taint`, an atomic list), k/k `pkg/apis/core/types.go`; a node's identity may not change its taints (k/k `plugin/pkg/admission/noderestriction`), the
//! ServiceAccount may where it was granted that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::Trouble;
use super::follow;
use super::link::{Ask, Link};
use crate::config::taint::Taint;

pub(super) const KEY: &str = "forestall.io/memory-runway-low";

/// So much longer than the condition, which ends after two minutes of calm: whoever comes makes the node fuller, and a taint that comes and goes sends pods to and fro.
const CALM: Duration = Duration::from_mins(3);

/// While it is wished for it is looked at so often: an agent before this one lifts it at its end, and somebody may by hand.
const LOOKED_AT_EVERY: Duration = Duration::from_mins(1);

/// What the policy wishes for, as it is now.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaintWish(Arc<Mutex<Taint>>);

impl TaintWish {
    /// From the start on.
    pub(crate) fn of(taint: Taint) -> Self {
        let wish = Self::default();
        wish.set(taint);
        wish
    }

    /// From now on.
    pub(crate) fn set(&self, taint: Taint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = taint;
    }

    fn get(&self) -> Taint {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of it should stand, and what does.
#[derive(Debug)]
pub(super) struct NodeTaint {
    path: String,
    wish: TaintWish,
    low_at: Option<Instant>,
    /// By this agent's word, and when it was looked at; `None` where nobody knows.
    stands: Option<(Taint, Instant)>,
    /// The Node bore it when it was read last, by whoever's word.
    was_read: bool,
}

impl NodeTaint {
    pub(super) fn of(node: &str, wish: TaintWish) -> Self {
        Self {
            path: format!("/api/v1/nodes/{}", follow::encoded(node)),
            wish,
            low_at: None,
            stands: None,
            was_read: false,
        }
    }

    /// Memory runs low now, or does not; and the Node bore it when somebody read it last.
    pub(super) fn look(&mut self, is_low: bool, was_read: bool, now: Instant) {
        if is_low {
            self.low_at = Some(now);
        }
        self.was_read = was_read;
    }

    /// Whatever stood may be changed while nobody is told.
    pub(super) fn forget(&mut self) {
        self.stands = None;
    }

    /// Whether it stands by this agent's word.
    pub(super) fn is_set(&self) -> bool {
        self.stands.is_some_and(|(taint, _)| taint != Taint::None)
    }

    fn wanted(&self, now: Instant) -> Taint {
        let is_low = self.low_at.is_some_and(|at| now.duration_since(at) < CALM);
        if is_low { self.wish.get() } else { Taint::None }
    }

    /// Whether the Node has to be asked, or told.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let wanted = self.wanted(now);
        match self.stands {
            // Where nothing is wished for and nothing is left nobody is asked.
            None => wanted != Taint::None || self.was_read,
            Some((taint, at)) => {
                taint != wanted || wanted != Taint::None && now.duration_since(at) >= LOOKED_AT_EVERY
            }
        }
    }

    /// Has it stand as it should.
    pub(super) async fn write(&mut self, link: &Link, now: Instant) -> Result<(), Trouble> {
        let wanted = self.wanted(now);
        self.put(link, wanted, now).await
    }

    /// The last word: whoever came after this agent sets it again within a minute, where there is reason to.
    pub(super) async fn lift(&mut self, link: &Link) -> Result<(), Trouble> {
        self.put(link, Taint::None, Instant::now()).await
    }

    async fn put(&mut self, link: &Link, wanted: Taint, now: Instant) -> Result<(), Trouble> {
        let node: Value = follow::read(&link.ask(Ask::get(&self.path)).await?)?;
        let all = node.pointer("/spec/taints").and_then(Value::as_array);
        let all = all.map_or(&[][..], Vec::as_slice);
        let is_ours = |taint: &&Value| taint["key"] == KEY;
        let ours: Vec<Option<&str>> = all
            .iter()
            .filter(is_ours)
            .map(|taint| taint["effect"].as_str())
            .collect();
        let stands = match wanted.effect() {
            None => ours.is_empty(),
            Some(effect) => ours == [Some(effect)],
        };
        if !stands {
            let others = all.iter().filter(|taint| !is_ours(taint)).cloned();
            let own = wanted
                .effect()
                .map(|effect| json!({ "key": KEY, "effect": effect }));
            let taints: Vec<Value> = others.chain(own).collect();
            // Refused where somebody has changed the Node meanwhile, and read again then.
            let patch = json!({
                "metadata": { "resourceVersion": node.pointer("/metadata/resourceVersion") },
                "spec": { "taints": taints },
            });
            let ask = Ask {
                method: Method::PATCH,
                path: &self.path,
                content: Some(("application/merge-patch+json", patch.to_string().into())),
            };
            link.as_itself().ask(ask).await?;
        }
        self.stands = Some((wanted, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
