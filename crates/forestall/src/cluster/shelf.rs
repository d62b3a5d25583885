//! What the line to the API server and those who evict have in common: the connection as it is now, and which pod has which cgroup.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forestall_decide::{Bytes, GroupId, Pods};

use super::budget::Purse;
use super::follow;
use super::link::Link;
use super::own_node::OwnNode;
use super::places::number_of;
use super::pod::controller_of;
use super::slim::OwnerReference;

/// A pod as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// As the API has it.
    pub(crate) uid: String,
    /// Its priority class, where it has one.
    pub(crate) class: String,
    /// Who makes it anew.
    pub(crate) controller: Option<Controller>,
    /// What the scheduler looks for room for.
    pub(crate) request: Bytes,
}

/// Of pods that replace each other: a ReplicaSet, a StatefulSet, a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) kind: String,
    pub(crate) name: String,
    /// As the API has it.
    pub(crate) uid: String,
}

impl Controller {
    fn of(owner: &OwnerReference) -> Self {
        Self {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }
    }
}

/// Shared; nobody holds it while waiting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    content: Arc<Mutex<Content>>,
    purse: Purse,
}

#[derive(Debug, Default)]
struct Content {
    link: Option<Link>,
    own_node: Option<OwnNode>,
    /// What the pods here request, of all that are known.
    requested: Option<Bytes>,
    pods: BTreeMap<GroupId, Named>,
}

impl Shelf {
    /// An empty one, with the tokens of evictions.
    pub(crate) fn with(purse: Purse) -> Self {
        Self {
            purse,
            ..Self::default()
        }
    }

    /// Where tokens of evictions are taken.
    pub(super) const fn purse(&self) -> &Purse {
        &self.purse
    }

    /// The connection; `None` while there is none.
    pub(crate) fn link(&self) -> Option<Link> {
        self.lock().link.clone()
    }

    pub(super) fn set_link(&self, link: Option<Link>) {
        self.lock().link = link;
    }

    /// This node's object as it was read last; `None` where it could not be.
    pub(super) fn own_node(&self) -> Option<OwnNode> {
        self.lock().own_node.clone()
    }

    pub(super) fn set_own_node(&self, node: Option<OwnNode>) {
        self.lock().own_node = node;
    }

    /// What the scheduler counts as taken here; `None` before anybody was told of.
    pub(super) fn requested(&self) -> Option<Bytes> {
        self.lock().requested
    }

    /// Whose cgroup this is.
    pub(crate) fn pod_of(&self, group: GroupId) -> Option<Named> {
        self.lock().pods.get(&group).cloned()
    }

    /// Those that the guard was told of.
    pub(super) fn set_pods(&self, known: &follow::Pods, told: &Pods) {
        let uids: BTreeMap<_, _> = known
            .iter()
            .filter_map(|pod| Some((number_of(pod.metadata.uid.as_bytes())?, pod)))
            .collect();
        let named = told.list.iter().filter_map(|pod| {
            let known = uids.get(&pod.uid)?;
            let meta = &known.metadata;
            let named = Named {
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                class: known.spec.priority_class_name.clone(),
                controller: controller_of(known).map(Controller::of),
                request: pod.request,
            };
            Some((pod.group?, named))
        });
        let mut content = self.lock();
        content.pods = named.collect();
        content.requested = Some(told.list.iter().map(|pod| pod.request).sum());
    }

    #[cfg(test)]
    pub(super) fn put(&self, group: GroupId, pod: Named) {
        self.lock().pods.insert(group, pod);
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
