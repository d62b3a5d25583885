//! The plan of one run: what the guest is to look like, who lives in it, and when it ends.
//!
//! The host draws a plan from a seed and puts it in the guest's initramfs as [`PATH`]. Every size is a share of the
//! guest's own `MemTotal`, so that no plan rests on an absolute number of bytes.

use serde::{Deserialize, Serialize};

/// Where the guest finds its plan.
pub const PATH: &str = "/plan.json";

/// Where an agent of a trial finds its configuration.
pub const CONFIG: &str = "/forestall.yaml";

/// Where an agent that records does so, and nobody else puts anything.
pub const RECORDINGS: &str = "/run/forestall/recordings";

/// Thousandths of the guest's `MemTotal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share(pub u32);

impl Share {
    /// The bytes this is of `whole_bytes`.
    pub fn bytes_of(self, whole_bytes: u64) -> u64 {
        whole_bytes.saturating_mul(u64::from(self.0)) / 1000
    }
}

/// What a guest can try instead of living through a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// What each set of rights allows.
    Rights,
    /// What the sources of kills tell of kills of every kind.
    Kills,
    /// What the agent's ledger keeps of storms.
    Storms,
    /// What a brake comes to, and whether one is left behind.
    Brakes,
}

/// Everything the guest has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a trait that a node has or has not"
)]
pub struct Plan {
    /// The scenario's name, for the reports only.
    pub scenario: String,
    /// What the plan was drawn from.
    pub seed: u64,
    /// How cgroups are named.
    pub naming: Naming,
    /// Which cgroup hierarchy holds the memory controller.
    pub hierarchy: Hierarchy,
    /// `memory.max` of `kubepods`; without one, the machine itself is the only wall.
    pub kubepods_limit: Option<Share>,
    /// Which LRU the kernel is to use.
    pub lru: Lru,
    /// The size of a compressed swap device, if there is one.
    pub zram: Option<Share>,
    /// Whether no container may use the swap, as the kubelet has it unless it is told otherwise (`NoSwap`).
    pub swap_forbidden: bool,
    /// Whether a disk with an ext4 filesystem is attached and mounted at `/data`.
    pub disk: bool,
    /// Whether the stand-in for the kubelet evicts.
    pub kubelet_evicts: bool,
    /// What the guest tries, instead of living through a story.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// Whether the guest, instead of living through a story, times so many reactions of the agent and of a bare loop while
    /// the culprits make it thrash.
    #[serde(default)]
    pub reactions: Option<u32>,
    /// Whether the machine knows no Kubernetes: no `kubepods`, no kubelet, and containers as Docker makes them.
    #[serde(default)]
    pub plain: bool,
    /// The pods, in the order in which they start.
    pub pods: Vec<Pod>,
    /// Processes of the host, each in a service of its own below `system.slice`.
    pub services: Vec<Service>,
    /// The agent, if it runs.
    pub agent: Option<Agent>,
    /// Whether the agent records into [`RECORDINGS`], and the guest sends the recording at the end.
    #[serde(default)]
    pub recorded: bool,
    /// How long after the culprits the agent starts; before them where it is `None`.
    pub agent_late_millis: Option<u64>,
    /// Between the start of the bystanders (and the agent) and that of the culprits.
    pub calm_millis: u64,
    /// When the run ends, at the latest, counted from the start of the culprits.
    pub deadline_millis: u64,
    /// How long to keep looking after the end of a culprit or a kill of the kernel.
    pub aftermath_millis: u64,
}

/// How cgroups are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Naming {
    /// `kubepods/burstable/podUID/CID`.
    Cgroupfs,
    /// `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-CID.scope`.
    Systemd,
}

/// Which cgroup hierarchy holds the memory controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hierarchy {
    /// cgroup v2 alone.
    V2,
    /// cgroup v1, mounted at `/sys/fs/cgroup/memory`.
    V1,
}

/// Which LRU the kernel is to use, where it has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lru {
    /// Whatever the kernel booted with.
    AsBooted,
    /// The active and inactive lists.
    Classic,
    /// The multi-generational LRU.
    MultiGen,
}

/// A pod's class of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// No request, no limit.
    BestEffort,
    /// A request.
    Burstable,
    /// Request and limit are the same.
    Guaranteed,
}

/// What a pod, container or service is in the story. It decides what its death means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It eats the memory.
    Culprit,
    /// It does nothing wrong.
    Innocent,
}

/// One pod. It also gets a pause process in a container of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// A short name for the reports.
    pub name: String,
    /// The pod's UID, with dashes.
    pub uid: String,
    /// Its class.
    pub class: Class,
    /// Its part in the story.
    pub role: Role,
    /// What it asked for.
    pub request: Share,
    /// Its own limit.
    pub limit: Option<Share>,
    /// Its one container's id, 64 hex digits.
    pub container: String,
    /// The pause container's id, 64 hex digits.
    pub pause: String,
    /// Whether its container has a PID namespace of its own.
    pub pid_namespace: bool,
    /// What it runs.
    pub work: Work,
    /// Whether its container divides its own cgroup, as a container engine inside a container does.
    #[serde(default)]
    pub nested: bool,
    /// A second container, which then is the culprit in the first one's stead.
    pub sidecar: Option<Sidecar>,
}

/// A pod's second container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Its id, 64 hex digits.
    pub container: String,
    /// What it runs.
    pub work: Work,
}

/// A process of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The service's name without `.service`; the process carries it as its own.
    pub name: String,
    /// Its part in the story.
    pub role: Role,
    /// What it runs.
    pub work: Work,
    /// Its `oom_score_adj`.
    pub oom_score_adj: i32,
    /// Whether it sits in the root cgroup instead of a service's.
    pub in_root: bool,
    /// The id, 64 hex digits, of the Docker container that it is, if it is one and no service.
    #[serde(default)]
    pub container: Option<String>,
}

/// The agent under test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// As a `DaemonSet` pod would be, or as a service of the host.
    pub as_pod: bool,
    /// Keep every capability instead of the one that is shipped (`CAP_KILL`).
    pub full_caps: bool,
}

/// What a process does with memory. Rates are shares of `MemTotal` per second; 0 means as fast as it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Nothing.
    Pause,
    /// Takes `hold` at once and keeps it, touching a little of it again now and then.
    Hold {
        /// How much.
        hold: Share,
    },
    /// Anonymous memory that grows until `total`, then is kept. Without a `total` it never stops.
    Grow {
        /// How fast.
        rate: Share,
        /// Where it stops.
        total: Option<Share>,
        /// What it holds before it starts to grow.
        start: Share,
    },
    /// Files on a tmpfs, written with write(2), so that no process has them in its RSS.
    Shmem {
        /// How fast.
        rate: Share,
        /// Where it stops; it then ends, or stays.
        total: Option<Share>,
        /// Whether the writer ends after `total`, and leaves the memory behind.
        then_exits: bool,
    },
    /// Many processes that each hold a little.
    Forks {
        /// How much each of them holds.
        each: Share,
        /// How many are started a second.
        per_second: u32,
        /// How many at most.
        at_most: u32,
    },
    /// Page tables: reads of a sparse mapping. Neither RSS nor file, and blind to the kubelet outside pods.
    PageTables {
        /// How fast the tables themselves grow.
        rate: Share,
    },
    /// Full pipes: kernel memory.
    Pipes {
        /// How fast.
        rate: Share,
    },
    /// Full sockets: kernel memory, too, but slab, as small messages that nobody reads are.
    Sockets {
        /// How fast.
        rate: Share,
    },
    /// Writes a file of `size` on the disk, then reads it over and over.
    Reread {
        /// The file.
        size: Share,
        /// How much is read a second.
        rate: Share,
    },
    /// The same, but read through a mapping of it.
    Mapped {
        /// The file.
        size: Share,
        /// How much is read a second.
        rate: Share,
    },
    /// Writes a file of `size` on the disk, and reads it over and over; meant to be larger than memory.
    Stream {
        /// The file.
        size: Share,
        /// How much is read a second.
        rate: Share,
    },
    /// Writes a file of `size` on the disk over and over: page cache that is dirty.
    Write {
        /// The file.
        size: Share,
        /// How much is written a second.
        rate: Share,
    },
    /// Asks a disk's filesystem for names that do not exist: the kernel remembers each, in slab that it can reclaim.
    Names {
        /// How many a second; 0 for as many as it can.
        per_second: u32,
    },
    /// Anonymous memory that grows by a step at a time.
    Steps {
        /// How much at once.
        step: Share,
        /// How often.
        every_millis: u64,
    },
    /// Takes `size`, gives it back, rests, and begins again.
    Batch {
        /// How much.
        size: Share,
        /// How fast.
        rate: Share,
        /// How long it rests.
        rest_millis: u64,
    },
    /// Writes a file on a tmpfs, removes it, and begins again.
    Scratch {
        /// The file.
        size: Share,
        /// How fast it is written.
        rate: Share,
    },
    /// Anonymous memory that is locked: no swap takes it.
    Locked {
        /// How fast.
        rate: Share,
    },
    /// One in a process of its own, under one that starts it again whenever it ends.
    Supervised {
        /// What is started.
        work: Box<Work>,
    },
    /// Several of these, each in a process of its own, under one that waits for them.
    Crew {
        /// What each of them does.
        works: Vec<Work>,
    },
}
