//! Tokens of the cluster's budget of evictions, as the Leases that they are.
//!
//! A token is had by making its Lease: its name has its number, and of all who try the API server lets one make it. It is spent for the cooldown from when it was
//! made, by the server's own clock on both sides (`creationTimestamp`, and the `Date` of its answers), so that nothing depends on the clocks of nodes, nor on what
//! anybody writes into a Lease; after that it is anybody's to remove and make anew. So what a node held that is gone comes back by itself, and a Lease that was
//! deleted by hand is a token given back. What it refuses to do: believe what a Lease says of its own time.
//!
//! Source: `k8s.io/api/coordination/v1` types, k/k `staging/src/k8s.io/apiserver/pkg/registry/rest/create.go` (who sets `creationTimestamp`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Trouble;
use super::follow;
use super::places::number_of;
use super::shelf::{Controller, Named};
use super::slim::{each, lenient, text};
use crate::config::budget::{Budget, Tokens};
use crate::log::time::{parse_rfc3339, rfc3339_micros};

const NAMES_BEGIN: &str = "forestall-evictions";
const OF_CONTROLLERS: &str = "forestall-evictions-of-";

/// No more nodes are named in one line.
const HOLDERS_MAX: usize = 5;

/// By which they are listed, and no other Lease is.
pub(super) const LABEL: (&str, &str) = ("forestall.io/budget", "evictions");

/// One bound that an eviction falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// How its tokens' names begin.
    prefix: String,
    /// For people.
    pub(super) whose: String,
    pub(super) tokens: u32,
    /// So long each of them is spent.
    pub(super) cooldown: Duration,
}

/// The bounds of a pod's eviction, in a cluster of so many nodes where that counts.
pub(super) fn scopes(budget: &Budget, pod: &Named, nodes: Option<u64>) -> Vec<Scope> {
    let cooldown = Duration::from_micros(budget.cooldown.0);
    let cluster = budget.evictions.map(|tokens| Scope {
        prefix: NAMES_BEGIN.to_owned(),
        whose: "the cluster".to_owned(),
        tokens: match tokens {
            Tokens::Count(count) => count,
            Tokens::Permille(0) => 0,
            Tokens::Permille(permille) => share(nodes.unwrap_or(1), permille),
        },
        cooldown,
    });
    let own = |all: &BTreeMap<String, u32>, kind: &str, what: &str, name: &str| {
        all.get(name).map(|&tokens| Scope {
            prefix: format!("{NAMES_BEGIN}-{kind}-{name}"),
            whose: format!("{what} {name}"),
            tokens,
            cooldown,
        })
    };
    let namespace = own(&budget.namespaces, "ns", "namespace", &pod.namespace);
    let class = own(&budget.priority_classes, "class", "priority class", &pod.class);
    // A UID is a part of a Lease's name only where it can be one.
    let is_uid = |controller: &&Controller| number_of(controller.uid.as_bytes()).is_some();
    let controller = pod.controller.as_ref().filter(is_uid);
    let controller = controller.zip(budget.controllers).map(|(it, tokens)| Scope {
        prefix: format!("{NAMES_BEGIN}-of-{}", it.uid.to_ascii_lowercase()),
        whose: format!("{} {}/{}", it.kind, pod.namespace, it.name),
        tokens,
        cooldown: Duration::from_micros(budget.controller_cooldown.0),
    });
    let all = cluster.into_iter().chain(namespace).chain(class);
    all.chain(controller).collect()
}

/// One at the least; no more than there may be.
fn share(nodes: u64, permille: u64) -> u32 {
    let tokens = nodes.saturating_mul(permille) / 1_000;
    u32::try_from(tokens.clamp(1, 1_000)).unwrap_or(1)
}

impl Scope {
    /// Of its token of this number.
    pub(super) fn name(&self, number: u32) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn number(&self, name: &str) -> Option<u32> {
        let (prefix, number) = name.rsplit_once('-')?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        (prefix == self.prefix && is_plain)
            .then(|| number.parse().ok())
            .flatten()
    }
}

/// A token as it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) uid: String,
    /// Since it was made.
    pub(super) age: Duration,
    /// As the Lease has it, for people.
    holder: String,
}

/// What is spent of a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) tokens: u32,
    /// When the first of them is anybody's; for ever where none is spent.
    pub(super) left: Duration,
    /// The nodes that have them, a few of many.
    pub(super) holders: Vec<String>,
}

/// Every Lease of the budget, at one moment.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<String, Held>);

impl Leases {
    /// Reads the answer to a list of them, which came when the server's clock showed this.
    pub(super) fn read(answer: &[u8], now: SystemTime) -> Result<Self, Trouble> {
        let list: List = follow::read(answer)?;
        if !list.metadata.next.is_empty() {
            return Err(Trouble::Broken(format!(
                "there are more Leases of the budget of evictions ({}={}) than it can have tokens: delete those that are not in use",
                LABEL.0, LABEL.1
            )));
        }
        let held = list.items.into_iter().map(|lease| {
            let made = parse_rfc3339(&lease.metadata.creation_timestamp).unwrap_or(0);
            let made = UNIX_EPOCH + Duration::from_micros(made);
            let held = Held {
                uid: lease.metadata.uid,
                // Made later than now: by another server's clock, which is a little ahead.
                age: now.duration_since(made).unwrap_or_default(),
                holder: lease.spec.holder_identity,
            };
            (lease.metadata.name, held)
        });
        Ok(Self(held.collect()))
    }

    /// What there is under this name.
    pub(super) fn get(&self, name: &str) -> Option<&Held> {
        self.0.get(name)
    }

    /// What is spent of a bound's tokens, those above its number as well, as when it was lowered.
    pub(super) fn spent(&self, scope: &Scope) -> Spent {
        let is_of_it = |name: &str| scope.number(name).is_some();
        let mut spent = Spent {
            tokens: 0,
            left: Duration::MAX,
            holders: Vec::new(),
        };
        for (name, held) in &self.0 {
            let left = scope.cooldown.saturating_sub(held.age);
            if left.is_zero() || !is_of_it(name) {
                continue;
            }
            spent.tokens = spent.tokens.saturating_add(1);
            spent.left = spent.left.min(left);
            if spent.holders.len() < HOLDERS_MAX && !spent.holders.contains(&held.holder) {
                spent.holders.push(held.holder.clone());
            }
        }
        spent
    }

    /// Those of controllers that nobody needs any more: they are made anew with each rollout, and nobody would take one of theirs again.
    pub(super) fn of_the_past(&self, cooldown: Duration) -> impl Iterator<Item = (&str, &str)> {
        let is_past =
            move |(name, held): &(&String, &Held)| name.starts_with(OF_CONTROLLERS) && held.age >= cooldown;
        let past = self.0.iter().filter(is_past);
        past.map(|(name, held)| (&**name, &*held.uid))
    }
}

/// The Lease of a token. What it says beside its name is for people.
pub(super) fn lease(name: &str, namespace: &str, node: &str, cooldown: Duration, now: SystemTime) -> Value {
    let label = LABEL.0;
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name, "namespace": namespace, "labels": { label: LABEL.1 } },
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": cooldown.as_secs(),
            "acquireTime": rfc3339_micros(now),
        },
    })
}

/// How many there are of what was listed by pages of one.
pub(super) fn count(answer: &[u8]) -> Result<u64, Trouble> {
    let list: List = follow::read(answer)?;
    let more = u64::try_from(list.metadata.remaining_item_count).unwrap_or(0);
    Ok(more.saturating_add(list.items.len() as u64))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    #[serde(deserialize_with = "lenient")]
    metadata: ListMeta,
    #[serde(deserialize_with = "each")]
    items: Vec<Lease>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    #[serde(rename = "continue", deserialize_with = "text")]
    next: String,
    #[serde(deserialize_with = "lenient")]
    remaining_item_count: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lease {
    #[serde(deserialize_with = "lenient")]
    metadata: Meta,
    #[serde(deserialize_with = "lenient")]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "text")]
    holder_identity: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    uid: String,
    #[serde(deserialize_with = "text")]
    creation_timestamp: String,
}

/// The answer to one that was made.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Made {
    #[serde(deserialize_with = "lenient")]
    metadata: Meta,
}

impl Made {
    pub(super) fn uid(self) -> String {
        self.metadata.uid
    }
}
