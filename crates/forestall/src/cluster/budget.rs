//! Tokens for evictions: taken before the server is asked for one, given back where it came to nothing, and spent for the cooldown where it did not.
//!
//! What it refuses to do: wait for a token, evict without one where that cannot be found out, and let two nodes have the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use forestall_decide::{Bytes, Elsewhere};
use hyper::Method;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::Trouble;
use super::follow::{self, encoded};
use super::link::{Ask, Link};
use super::shelf::Named;
use super::token::{self, LABEL, Leases, Scope, count, lease, scopes};
use crate::config::budget::{Budget, Tokens};

/// Leases are read so many at once: the tokens of the cluster and those of a few namespaces.
const LEASES_MAX: u32 = 5_000;

/// Others may be taking the free ones at the same time.
const TRIES_MAX: usize = 8;

/// So many Leases of controllers that are gone are removed at once.
const SWEPT_MAX: usize = 4;

/// How many nodes there are is counted again after so long.
const COUNTED_FOR: Duration = Duration::from_mins(10);

/// Where nobody had room before, it is asked again after this: as long as a node's figures stand at the least.
const ROOM_KNOWN_FOR: Duration = Duration::from_mins(1);

/// The budget as it is configured now, and what is known of it. Nobody holds it while waiting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Purse {
    content: Arc<Mutex<Content>>,
    /// What is left has changed.
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Content {
    budget: Arc<Budget>,
    /// Of the cluster's own tokens so many are left, until then.
    left: Option<(u32, Instant)>,
    nodes: Option<(u64, Instant)>,
    /// So much another node could take at the most, until then.
    room: Option<(Bytes, Instant)>,
}

/// A token that this node has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    name: String,
    uid: String,
}

impl Purse {
    /// By this budget.
    pub(crate) fn of(budget: Budget) -> Self {
        let purse = Self::default();
        purse.set(budget);
        purse
    }

    /// From now on.
    pub(crate) fn set(&self, budget: Budget) {
        let mut content = self.lock();
        if *content.budget != budget {
            *content = Content {
                budget: Arc::new(budget),
                ..Content::default()
            };
            self.bell.notify_one();
        }
    }

    /// How many evictions the cluster's bound allows now, as far as is known; `None` where there is none.
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let content = self.lock();
        let most = match content.budget.evictions? {
            Tokens::Count(count) => count,
            Tokens::Permille(0) => 0,
            // No more than one is certain before it was asked for.
            Tokens::Permille(_) => 1,
        };
        let known = content.left.filter(|(_, until)| now < *until);
        Some(known.map_or(most, |(left, _)| left))
    }

    /// Whether it has to be known that another node has room for who is evicted.
    pub(super) fn asks_for_room(&self) -> bool {
        self.lock().budget.room
    }

    /// So much another one could take at the most.
    pub(super) fn note_room(&self, most: Bytes, now: Instant) {
        self.lock().room = Some((most, now + ROOM_KNOWN_FOR));
        self.bell.notify_one();
    }

    /// Where an evicted pod would go, as far as that was found out a moment ago.
    pub(super) fn elsewhere(&self, now: Instant) -> Elsewhere {
        let known = self.lock().room.filter(|(_, until)| now < *until);
        known.map_or(Elsewhere::Unknown, |(most, _)| Elsewhere::Room(most))
    }

    /// Waits until that has changed.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.lock().budget)
    }

    fn note(&self, left: u32, until: Instant) {
        self.lock().left = Some((left, until));
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a token of each bound that this pod's eviction falls under, or none at all. It is the ServiceAccount's to do, whoever evicts.
    pub(super) async fn take(&self, link: &Link, node: &str, pod: &Named) -> Result<Vec<Token>, Trouble> {
        let budget = self.budget();
        if budget.is_unbounded() {
            return Ok(Vec::new());
        }
        let link = link.as_itself();
        let namespace = link.own_namespace()?;
        let nodes = match budget.evictions {
            Some(Tokens::Permille(1..)) => Some(self.nodes(&link).await?),
            _ => None,
        };
        let all = scopes(&budget, pod, nodes);
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!(
            "{}?labelSelector={}&limit={LEASES_MAX}",
            leases(&namespace),
            encoded(&format!("{}={}", LABEL.0, LABEL.1))
        );
        let answer = link.ask(Ask::get(&path)).await?;
        let now = server_time(&link);
        let listed = Leases::read(&answer, now)?;
        let desk = Desk {
            link: &link,
            namespace: &namespace,
            node,
            listed: &listed,
            now,
        };
        let mut tokens = Vec::new();
        for (nth, scope) in all.iter().enumerate() {
            let taken = desk.take_one(scope).await;
            let is_of_cluster = nth == 0 && budget.evictions.is_some();
            let spent = listed.spent(scope);
            let left = spent.left.min(scope.cooldown);
            match taken {
                Ok(Some(token)) => {
                    tokens.push(token);
                    if is_of_cluster {
                        let tokens = scope.tokens.saturating_sub(spent.tokens).saturating_sub(1);
                        self.note(tokens, Instant::now() + left);
                    }
                }
                other => {
                    give_back(&link, &tokens).await;
                    other?;
                    if is_of_cluster {
                        self.note(0, Instant::now() + left);
                    }
                    return Err(Trouble::Spent {
                        whose: scope.whose.clone(),
                        tokens: scope.tokens,
                        left,
                        holders: spent.holders,
                    });
                }
            }
        }
        let past = listed.of_the_past(Duration::from_micros(budget.controller_cooldown.0));
        let past: Vec<_> = past
            .take(SWEPT_MAX)
            .map(|(name, uid)| (name.to_owned(), uid.to_owned()))
            .collect();
        // Nobody waits for that, least of all the eviction.
        tokio::spawn(async move {
            for (name, uid) in past {
                // It is only in the way, and the next one who comes by sweeps as well.
                let _ = remove(&link, &namespace, &name, &uid).await;
            }
        });
        Ok(tokens)
    }

    /// How many nodes the cluster has: as many as kubelets keep a Lease for, which says nothing else of them.
    async fn nodes(&self, link: &Link) -> Result<u64, Trouble> {
        let now = Instant::now();
        if let Some((nodes, until)) = self.lock().nodes
            && now < until
        {
            return Ok(nodes);
        }
        let path = format!("{}?limit=1", leases("kube-node-lease"));
        let nodes = count(&link.ask(Ask::get(&path)).await?)?;
        self.lock().nodes = Some((nodes, now + COUNTED_FOR));
        Ok(nodes)
    }
}

/// Gives back what was taken for nothing. Where that fails it comes back after the cooldown.
pub(super) async fn give_back(link: &Link, tokens: &[Token]) {
    let link = link.as_itself();
    let Ok(namespace) = link.own_namespace() else {
        return;
    };
    for token in tokens {
        let _ = remove(&link, &namespace, &token.name, &token.uid).await;
    }
}

/// Where tokens are taken, by what was listed a moment ago.
struct Desk<'a> {
    link: &'a Link,
    namespace: &'a str,
    node: &'a str,
    listed: &'a Leases,
    now: SystemTime,
}

impl Desk<'_> {
    /// `None` where they are spent.
    async fn take_one(&self, scope: &Scope) -> Result<Option<Token>, Trouble> {
        if self.listed.spent(scope).tokens >= scope.tokens {
            return Ok(None);
        }
        let names = (0..scope.tokens).map(|number| scope.name(number));
        let is_free = |name: &String| {
            let held = self.listed.get(name);
            held.is_none_or(|held| held.age >= scope.cooldown)
        };
        for name in names.filter(is_free).take(TRIES_MAX) {
            if let Some(over) = self.listed.get(&name) {
                remove(self.link, self.namespace, &name, &over.uid).await?;
            }
            if let Some(token) = self.make(name, scope.cooldown).await? {
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    /// `None` where somebody else was quicker.
    async fn make(&self, name: String, cooldown: Duration) -> Result<Option<Token>, Trouble> {
        let body = lease(&name, self.namespace, self.node, cooldown, self.now);
        let ask = Ask {
            method: Method::POST,
            path: &leases(self.namespace),
            content: Some(("application/json", body.to_string().into())),
        };
        match self.link.ask(ask).await {
            Ok(answer) => {
                let uid = follow::read::<token::Made>(&answer)?.uid();
                Ok(Some(Token { name, uid }))
            }
            Err(Trouble::Refused(refusal)) if refusal.code == 409 => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}

/// Removes it, if it is still this one.
async fn remove(link: &Link, namespace: &str, name: &str, uid: &str) -> Result<(), Trouble> {
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid } });
    let ask = Ask {
        method: Method::DELETE,
        path: &format!("{}/{}", leases(namespace), encoded(name)),
        content: Some(("application/json", options.to_string().into())),
    };
    match link.ask(ask).await {
        // It is gone, or another one has its name by now.
        Err(Trouble::Refused(refusal)) if matches!(refusal.code, 404 | 409) => Ok(()),
        answer => answer.map(drop),
    }
}

fn leases(namespace: &str) -> String {
    format!(
        "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
        encoded(namespace)
    )
}

/// The server's clock, as its last answer showed it.
pub(super) fn server_time(link: &Link) -> SystemTime {
    let skew = link.skew().unwrap_or_default().millis;
    let span = Duration::from_millis(skew.unsigned_abs());
    let now = SystemTime::now();
    let shown = if skew < 0 {
        now.checked_sub(span)
    } else {
        now.checked_add(span)
    };
    shown.unwrap_or(now)
}

#[cfg(test)]
mod tests;
