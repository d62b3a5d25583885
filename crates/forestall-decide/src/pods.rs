//! What Kubernetes knows of this node's pods and of the cluster around it: the engine's second kind of input.
//!
//! It comes whole and seldom, on a change, so it may hold text: namespaces, labels and classes are what an operator's
//! preferences speak of. What it refuses to do: say how much memory anybody uses; only samples do.

use crate::input::{GroupId, Qos};
use crate::preference::Standing;
use crate::units::{Bytes, Limit, Moment, Span};

/// A pod's UID, the 128 bits of RFC 9562 (`metadata.uid`; of a static pod the hash that names its cgroup).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodUid(pub u128);

/// Everything that is known of this node's pods and of the cluster. Older than a minute it counts as unknown (rule 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// When it was last known to be true: the API server's latest word, a bookmark or a heartbeat included.
    pub told_at: Moment,
    /// The pods bound to this node that have not ended, in order of their UID.
    pub list: Vec<Pod>,
    /// The cluster.
    pub cluster: Cluster,
    /// Pods of this node that the kubelet has evicted for memory, counted since this agent's start.
    pub kubelet_evictions: u64,
}

/// What the cluster allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The API server answers.
    pub api: bool,
    /// Evictions that the cluster's budget grants this node now; `None`: no budget is set.
    pub eviction_tokens: Option<u32>,
    /// Where an evicted pod would go.
    pub elsewhere: Elsewhere,
}

impl Default for Cluster {
    /// No API server: nothing that needs one.
    fn default() -> Self {
        Self {
            api: false,
            eviction_tokens: None,
            elsewhere: Elsewhere::Unknown,
        }
    }
}

/// Whether other nodes have room for what is evicted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Elsewhere {
    /// Nobody has said.
    #[default]
    Unknown,
    /// Some node has room for this many bytes of requests. What a pod holds has to fit into it as well: where it leaks it will hold that
    /// again.
    Room(Bytes),
    /// Nowhere to go: every other node is near a wall of its own.
    Nowhere,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Who it is.
    pub uid: PodUid,
    /// Its cgroup in the samples; `None` until it is seen there.
    pub group: Option<GroupId>,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.labels`, in order of their keys.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// `status.qosClass`.
    pub qos: Qos,
    /// `spec.priority`; 0 where there is none.
    pub priority: i32,
    /// `spec.priorityClassName`; empty where there is none.
    pub priority_class: Box<str>,
    /// The memory request as the kubelet's eviction counts it ([`crate::kubelet::Requests`]): pod level if set, else the
    /// containers', init rules and overhead included. Parts of a byte are dropped: a working set exceeds it all the same.
    pub request: Bytes,
    /// `metadata.ownerReferences`, the controller.
    pub owner: Owner,
    /// Where its definition comes from.
    pub origin: Origin,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace: Span,
    /// Since when it has a deletion timestamp, or that timestamp, which lies ahead by the grace period. Its memory is on its way
    /// from then on for that period and ten seconds; what lies further ahead than that is not believed.
    pub terminating_since: Option<Moment>,
    /// The sum of its memory-backed volumes' sizes, which outlive its containers: no kill gives back what lies in them, and only its
    /// eviction does.
    pub memory_volumes: Bytes,
    /// What its own annotations ask for.
    pub asks: Asks,
    /// That, and the operator's preferences, weighed ([`Pods::weigh`]).
    pub standing: Standing,
    /// Containers that have started, in order of their cgroup.
    pub containers: Vec<PodContainer>,
}

/// One container of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// Its cgroup in the samples.
    pub group: GroupId,
    /// Its memory request.
    pub request: Bytes,
    /// Its memory limit.
    pub limit: Limit,
    /// `status.restartCount`.
    pub restarts: u32,
}

/// Who brings a pod back when it is evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Nobody: eviction is final.
    #[default]
    Nobody,
    /// A DaemonSet: it comes straight back to this node.
    DaemonSet,
    /// Any other controller: a replacement is scheduled somewhere.
    Controller,
}

/// Where a pod's definition comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The API server.
    #[default]
    Api,
    /// A file or URL of the kubelet's, a mirror pod included (`kubernetes.io/config.source`, `kubernetes.io/config.mirror`).
    Static,
}

/// What a pod's own annotations ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Never touch it.
    pub opted_out: bool,
    /// It may be evicted though nobody brings it back.
    pub final_eviction: bool,
    /// It wants to be warned first, and needs so long to save its state.
    pub warning: Option<Span>,
    /// The limits of its containers may be raised in place, up to this; one that is there already, or above, may not.
    pub growth: Option<Bytes>,
    /// Sooner (positive) or later (negative) than others.
    pub preference: i32,
}

/// The priority from which a pod is critical (`scheduling.SystemCriticalPriority`, k/k `pkg/apis/scheduling/types.go`).
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

impl Pod {
    /// The kubelet never evicts it: static, mirror or critical (`IsCriticalPod`, k/k `pkg/kubelet/types/pod_update.go`).
    pub fn is_critical(&self) -> bool {
        self.origin == Origin::Static || self.priority >= CRITICAL_PRIORITY
    }

    /// The cgroups that it says are its own.
    pub(crate) fn claims(&self) -> impl Iterator<Item = GroupId> {
        let containers = self.containers.iter().map(|container| container.group);
        self.group.into_iter().chain(containers)
    }
}

impl Pods {
    /// The pod whose cgroup this is.
    pub fn of_group(&self, group: GroupId) -> Option<&Pod> {
        self.list.iter().find(|pod| pod.group == Some(group))
    }
}
