//! What a world is made of, once checked: nodes, pods with their containers' workloads, faults and the policy.
//!
//! Plain data: a scenario file results in it, and a test may write it by hand. It refuses to hold anything that happens.

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{
    Bytes, BytesPerSecond, Limit, Lru, Moment, Owner, Pod, Policy, Preference, Protection, Span, Standing,
    weigh,
};

use crate::memory::Part;

/// A whole world, before it starts.
#[derive(Clone, Debug)]
pub struct World {
    /// One line about it.
    pub title: String,
    /// From which all randomness comes.
    pub seed: u64,
    /// How long it runs.
    pub duration: Span,
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// The pods.
    pub pods: Vec<PodSpec>,
    /// What goes wrong beside memory.
    pub faults: Vec<Fault>,
    /// What the agents are told; `None`: there are none.
    pub policy: Option<Policy>,
    /// The least time from an eviction to the replacement's start on another node.
    pub reschedule: Span,
}

/// One machine.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name.
    pub name: Box<str>,
    /// MemTotal.
    pub memory: Bytes,
    /// Processors.
    pub cpus: u32,
    /// Which page replacement its kernel runs.
    pub lru: Lru,
    /// Its kubelet; `None`: it has none, and `kubepods` no limit.
    pub kubelet: Option<KubeletConfig>,
    /// When its kubelet looks first, within ten seconds; at random, where nothing is said.
    pub first_look: Option<Moment>,
    /// How the kubelet counts the machine.
    pub accounting: Accounting,
    /// The kubelet's `memoryThrottlingFactor` in permille; `None`: it sets no `memory.high`, as by default.
    pub throttling_permille: Option<u64>,
    /// The kubelet's `qosReserved` for memory in permille: so much of what better levels' pods request is kept from the limits of
    /// the burstable and best-effort levels; `None`: these have no limits of their own, as by default.
    pub qos_reserved_permille: Option<u64>,
    /// The kubelet's `memoryReservationPolicy` is `TieredReservation`: what guaranteed pods request is their `memory.min`, and what
    /// burstable ones do their `memory.low`.
    pub reserves_requests: bool,
    /// The kubelet's `singleProcessOOMKill`: the kernel ends one process of a container and not all of them.
    pub kills_one_process: bool,
    /// How much swap there is, on a disk; nothing: there is none.
    pub swap: Bytes,
    /// Memory of the kernel itself from the start: in no cgroup, seen by no kubelet.
    pub kernel: Bytes,
    /// An agent runs here, if there is a policy.
    pub agent: bool,
    /// How many evictions the cluster's budget grants this node a minute; `None`: there is no budget.
    pub eviction_tokens: Option<u32>,
    /// What runs outside of `kubepods`.
    pub host: Vec<ContainerSpec>,
}

/// How a kubelet counts its working set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounting {
    /// As its code does: usage less inactive file.
    Kubelet,
    /// As war story A says: of page cache only this many permille count.
    CachePermille(u64),
}

/// One kind of pod, and how many there are.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Its name; copies get a number.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Where it starts.
    pub place: Place,
    /// How many.
    pub count: u32,
    /// When it starts.
    pub start: Moment,
    /// It starts at random within so long after that.
    pub spread: Span,
    /// `spec.priority`.
    pub priority: i32,
    /// Who brings it back.
    pub owner: Owner,
    /// Its definition lies on the node.
    pub is_static: bool,
    /// It is opted out.
    pub opted_out: bool,
    /// `metadata.labels`, in order of their keys.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// `spec.priorityClassName`; empty where there is none.
    pub priority_class: Box<str>,
    /// It may be evicted though nobody brings it back.
    pub final_eviction: bool,
    /// It wants to be warned, and needs so long to save its state.
    pub warning: Option<Span>,
    /// The limits of its containers may be raised in place, up to this.
    pub grow_max: Option<Bytes>,
    /// By its own word it goes sooner (positive) or later (negative) than others.
    pub preference: i32,
    /// What the operator's preferences come to for it.
    pub preferred: Standing,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace: Span,
    /// How long it takes to end after TERM.
    pub term: Span,
    /// Its own memory request (`spec.resources`), as it is written: with a limit alone Kubernetes fills one in.
    pub request: Option<Bytes>,
    /// Its own memory limit.
    pub limit: Limit,
    /// Its containers.
    pub containers: Vec<ContainerSpec>,
}

/// Where a pod starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Node(u32),
    /// On every node, so many times.
    Each,
    /// Where the scheduler puts it.
    Anywhere,
}

/// One container, or one process outside of `kubepods`.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Its name.
    pub name: Box<str>,
    /// Its memory request.
    pub request: Bytes,
    /// Its memory limit.
    pub limit: Limit,
    /// `oom_score_adj` of a host process; a container's follows from its pod.
    pub oom_score_adj: i32,
    /// Why it may not be touched.
    pub protection: Option<Protection>,
    /// What it holds from its first moment on.
    pub base: Bytes,
    /// What it does.
    pub load: Load,
    /// It starts again when it was killed (a container always does).
    pub restarts: bool,
    /// Its shared memory lies in a memory-backed volume, which outlives it.
    pub volume: bool,
    /// What the OOM killer counts of its largest process, at the most: it goes by one process's RSS and page tables, whatever
    /// the others hold, or the kernel for them in pipes and sockets. `None`: all but what lies in a volume is one process's.
    pub largest_process: Option<Bytes>,
    /// Random parts of its figures, permille: each copy differs by so much.
    pub jitter_permille: u64,
}

/// What a container does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing more.
    Steady,
    /// Grows by `rate` until it holds `total` more than its base (`None`: for ever).
    Leak {
        /// Of which part.
        part: Part,
        /// How fast.
        rate: BytesPerSecond,
        /// How much at the most.
        total: Option<Bytes>,
        /// When it starts.
        delay: Span,
    },
    /// Grows by a block at a time, as `forestall leak` does.
    Steps {
        /// One block, touched at once.
        block: Bytes,
        /// From one block to the next.
        interval: Span,
        /// How much at the most.
        total: Option<Bytes>,
        /// It ends itself (a runtime's own heap cap) instead of holding when it reaches the total.
        aborts: bool,
    },
    /// Takes `size` within `rise`, holds it, gives it back, again after `every`.
    Burst {
        /// How much.
        size: Bytes,
        /// How fast it comes.
        rise: Span,
        /// How long it stays.
        hold: Span,
        /// From one start to the next; not shorter than both together.
        every: Span,
    },
    /// Up and down evenly between its base and `size` more.
    Periodic {
        /// How much more.
        size: Bytes,
        /// There and back.
        period: Span,
    },
    /// A heap that grows by steps, a collection after each gives a part back, until its plateau.
    Heap {
        /// One step.
        step: Bytes,
        /// From one collection to the next.
        interval: Span,
        /// What a collection gives back of the step, permille.
        freed_permille: u64,
        /// The committed heap never exceeds this.
        plateau: Bytes,
    },
    /// Reads a file in a loop.
    Reader {
        /// The file's size.
        file: Bytes,
        /// How fast.
        rate: BytesPerSecond,
    },
    /// Holds so many permille of what another container of the pod holds beside its cache (a sidecar).
    Follow {
        /// Which one, as an index into the pod's containers.
        of: usize,
        /// How much of it.
        permille: u64,
    },
}

/// Something else that goes wrong, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// On which node; `None`: on all of them.
    pub node: Option<u32>,
    /// From when.
    pub from: Moment,
    /// How long.
    pub lasts: Span,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The API server does not answer: nobody replaces pods, nobody tells the agent about them.
    ApiAway,
    /// The agent is away, and starts with an empty memory at the end.
    AgentRestart,
    /// The agent's clock jumps by so many milliseconds; it does not jump back.
    ClockJump(i64),
    /// The agent's looks fail.
    SamplesLost,
    /// Victims take so long to end.
    SlowVictim(Span),
    /// No pod may be evicted through the API.
    PdbZero,
    /// The kubelet does nothing.
    KubeletAway,
}

impl ContainerSpec {
    /// A container that holds nothing, asks for nothing and does nothing.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.into(),
            request: Bytes::ZERO,
            limit: Limit::Max,
            oom_score_adj: 0,
            protection: None,
            base: Bytes::ZERO,
            load: Load::Steady,
            restarts: true,
            volume: false,
            largest_process: None,
            jitter_permille: 0,
        }
    }
}

impl PodSpec {
    /// Weighs what an operator prefers. What its own annotations say is added when the agent is told of it.
    pub fn prefer(&mut self, preferences: &[Preference]) {
        let plain = Pod {
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            priority_class: self.priority_class.clone(),
            ..Pod::default()
        };
        self.preferred = weigh(&plain, preferences);
    }

    /// One pod that starts at once, wherever it is put, and is brought back by a controller.
    pub fn plain(name: &str, containers: Vec<ContainerSpec>) -> Self {
        Self {
            name: name.into(),
            namespace: "default".into(),
            place: Place::Anywhere,
            count: 1,
            start: Moment(0),
            spread: Span(0),
            priority: 0,
            owner: Owner::Controller,
            is_static: false,
            opted_out: false,
            labels: Vec::new(),
            priority_class: "".into(),
            final_eviction: false,
            warning: None,
            grow_max: None,
            preference: 0,
            preferred: Standing::default(),
            grace: Span::secs(30),
            term: Span::secs(1),
            request: None,
            limit: Limit::Max,
            containers,
        }
    }
}

impl NodeSpec {
    /// The `memory.high` that the kubelet gives a container under MemoryQoS (k/k `pkg/kubelet/kuberuntime`,
    /// `generateLinuxContainerResources`): its request and the factor's share of what lies between that and its limit, or what is
    /// allocatable; none where both are equal.
    pub(crate) fn memory_high(&self, container: &ContainerSpec) -> Option<Bytes> {
        const PAGE: u64 = 4096;
        let factor = self.throttling_permille?;
        let request = container.request;
        let limit = container.limit.bytes();
        if request == limit.unwrap_or_default() {
            return None;
        }
        let up_to = limit.or_else(|| Some(self.kubelet.as_ref()?.allocatable()))?;
        let high = request + (up_to - request).permille(factor);
        Some(Bytes(high.0 / PAGE * PAGE)).filter(|high| *high > request)
    }

    /// What lies in huge pages that were set aside at the start.
    pub(crate) fn hugepages(&self) -> Bytes {
        let kubelet = self.kubelet.as_ref();
        kubelet.map(|kubelet| kubelet.hugepages).unwrap_or_default()
    }

    /// What nobody can have as memory: the kernel's own, and huge pages.
    pub(crate) fn set_aside(&self) -> Bytes {
        self.kernel + self.hugepages()
    }

    /// A machine with a kubelet of its own defaults and nothing on it.
    pub fn plain(name: &str, memory: Bytes) -> Self {
        Self {
            name: name.into(),
            memory,
            cpus: 2,
            lru: Lru::Classic,
            kubelet: Some(KubeletConfig {
                capacity: memory,
                ..KubeletConfig::default()
            }),
            first_look: None,
            accounting: Accounting::Kubelet,
            throttling_permille: None,
            qos_reserved_permille: None,
            reserves_requests: false,
            kills_one_process: false,
            swap: Bytes::ZERO,
            kernel: Bytes::ZERO,
            agent: true,
            eviction_tokens: None,
            host: Vec::new(),
        }
    }
}
