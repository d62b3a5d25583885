//! What the engine is told of this node's pods: all that are known, with their cgroups, and how sure that is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use forestall_decide::{Cluster, Elsewhere, Moment, Pods, Span};

use super::follow;
use super::places::Groups;
use super::pod::{has_ended, translate, was_evicted_for_memory};

/// So many complaints about annotations are remembered, so that each is made once.
const WRONG_MAX: usize = 256;

/// Makes it, and remembers what only time tells.
#[derive(Debug)]
pub(crate) struct Teller {
    /// The mount point of the cgroups.
    root: PathBuf,
    /// Since when who is going was seen to be.
    going: BTreeMap<String, Moment>,
    /// Whom the kubelet had evicted, and how many of them since the start.
    evicted: BTreeSet<String>,
    evictions: u64,
    has_told: bool,
    wrong: BTreeSet<String>,
}

impl Teller {
    /// With nothing told.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            going: BTreeMap::new(),
            evicted: BTreeSet::new(),
            evictions: 0,
            has_told: false,
            wrong: BTreeSet::new(),
        }
    }

    /// Everything, as known at `told_at`. What is newly found to be wrong with annotations goes to `complaints`.
    pub(crate) fn tell(
        &mut self,
        pods: &follow::Pods,
        has_api: bool,
        told_at: Moment,
        now: Moment,
        (eviction_tokens, elsewhere): (Option<u32>, Elsewhere),
        complaints: &mut Vec<String>,
    ) -> Pods {
        self.remember(pods, now);
        let groups = Groups::find(&self.root);
        let mut wrong = Vec::new();
        let mut list = Vec::new();
        for pod in pods.iter().filter(|pod| !has_ended(pod)) {
            let since = self.going.get(&pod.metadata.uid).copied();
            wrong.clear();
            list.extend(translate(pod, &groups, since, &mut wrong));
            for what in wrong.drain(..) {
                let meta = &pod.metadata;
                let of = format!("pod {}/{}: {what}", meta.namespace, meta.name);
                if self.wrong.len() < WRONG_MAX && self.wrong.insert(of.clone()) {
                    complaints.push(of);
                }
            }
        }
        list.sort_by_key(|pod| pod.uid);
        Pods {
            told_at,
            list,
            cluster: Cluster {
                api: has_api,
                eviction_tokens,
                elsewhere,
            },
            kubelet_evictions: self.evictions,
        }
    }

    fn remember(&mut self, pods: &follow::Pods, now: Moment) {
        let is_going = |uid: &String| {
            pods.of_uid(uid)
                .is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
        };
        self.going.retain(|uid, _| is_going(uid));
        self.evicted.retain(|uid| pods.of_uid(uid).is_some());
        for pod in pods.iter() {
            let uid = &pod.metadata.uid;
            if pod.metadata.deletion_timestamp.is_some() {
                self.going.entry(uid.clone()).or_insert(now);
            }
            if was_evicted_for_memory(pod) && self.evicted.insert(uid.clone()) && self.has_told {
                self.evictions += 1;
            }
        }
        self.has_told = true;
    }
}

/// What is heard over a connection that answers its pings is at most so old.
pub(crate) fn heard_at(now: Moment) -> Moment {
    let age = super::link::PING_EVERY + super::link::PING_TIME_MAX;
    let age = Span(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    Moment(now.0.saturating_sub(age.0))
}
