//! What the engine is told: samples of the machine, outcomes of its own actions, and the policy. Closed: whatever
//! can change a decision is one of these, so a recording of them reproduces every decision.

use crate::kubelet::KubeletConfig;
use crate::pods::Pods;
use crate::policy::Policy;
use crate::units::{Bytes, Limit, Moment, Span};
use crate::{ActionId, Rung};

/// One input.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// What was seen at one tick.
    Sample(&'a Sample),
    /// What Kubernetes knows of this node's pods and of the cluster; whole, and seldom.
    Pods(&'a Pods),
    /// What the kubelet was told; whole, and seldom.
    KubeletConfig(&'a KubeletConfig),
    /// What became of an action.
    Outcome(&'a Outcome),
    /// A new policy; tracks and alarms are kept.
    Policy(&'a Policy),
}

/// A cgroup's number: its inode, which the kernel does not reuse while the cgroup lives (`kernfs` node id).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// A process: its PID and its start time in clock ticks since boot, which together name it for good
/// (`proc(5)`, `/proc/PID/stat` fields 1 and 22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    /// The process ID in the agent's PID namespace (the host's).
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
}

/// Kubernetes' quality-of-service class, as the cgroup path tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// Limits equal requests; oom_score_adj −997.
    Guaranteed,
    /// Some requests.
    Burstable,
    /// None; oom_score_adj 1000.
    #[default]
    BestEffort,
}

/// What a cgroup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// The last `kubepods` node on its path.
    Kubepods,
    /// A QoS level below it.
    Qos(Qos),
    /// A pod.
    Pod(Qos),
    /// A container of a pod; everything below it counts to it.
    Container(Qos),
    /// Anything outside `kubepods`: a slice, service, scope, Docker or Podman container, …
    #[default]
    Host,
}

/// Why a cgroup or process may never be touched (design rule 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// PID 1, a kernel thread, forestall or an ancestor of it.
    Essential,
    /// kubelet, container runtime, shim, CNI, etcd, sshd, login, dbus, journald, logind, udevd.
    NodeAgent,
    /// `oom_score_adj` at or below −900.
    OomScoreAdj,
    /// A static or mirror pod.
    StaticPod,
    /// The pause process of a pod.
    Pause,
    /// A unit with `Delegate=yes`, or an ancestor of `kubepods`.
    Delegated,
    /// Somebody opted it out.
    OptedOut,
    /// A cgroup outside `kubepods` whose processes live in cgroups below it that are not followed: they may have nothing to
    /// do with each other. Says nothing of a single one of them.
    Shared,
}

/// Which page replacement the kernel runs (`/sys/kernel/mm/lru_gen/enabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lru {
    /// Active and inactive lists.
    #[default]
    Classic,
    /// Multi-gen LRU.
    MultiGen,
}

/// Cumulative stall time since boot (`/proc/pressure/memory`, `memory.pressure`; `Documentation/accounting/psi.rst`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stall {
    /// `some … total=`, microseconds.
    pub some_micros: u64,
    /// `full … total=`, microseconds.
    pub full_micros: u64,
}

/// What the kernel counts of allocations that a limit refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitHits {
    /// Nothing is known: a recording from before this was recorded, or a kernel before 5.3.
    #[default]
    Unknown,
    /// cgroup v2: how often the kernel was about to kill because of a limit (`oom`). A kill for want of memory on the whole
    /// machine does not count here (`Documentation/admin-guide/cgroup-v2.rst`; `mem_cgroup_oom` in `mm/memcontrol.c`).
    Ooms {
        /// Because of the cgroup's own (`memory.events.local`).
        own: u64,
        /// Because of its own or of one below it, those of cgroups that are gone among them (`memory.events`).
        within: u64,
    },
    /// cgroup v1: how often a charge failed at the cgroup's own limit (`memory.failcnt` and `memory.memsw.failcnt`). Nobody is
    /// killed there without one; most are answered by reclaim and kill nobody (`page_counter_try_charge` in
    /// `mm/page_counter.c`).
    Failures(u64),
}

/// Everything seen at one tick. `groups` is in preorder: a parent stands before its children.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The machine.
    pub node: NodeSample,
    /// Every cgroup that is followed.
    pub groups: Vec<GroupSample>,
    /// Processes outside `kubepods` that are large enough to matter, and small ones of a cgroup whose growth they do not
    /// explain. May be a little older than the sample.
    pub processes: Vec<ProcessSample>,
}

/// The machine as `/proc/{meminfo,zoneinfo,vmstat,pressure/memory,swaps}` show it. A field that the kernel lacks is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of /proc/meminfo, in bytes.
pub struct NodeSample {
    pub total: Bytes,
    pub free: Bytes,
    pub available: Bytes,
    pub cached: Bytes,
    pub buffers: Bytes,
    pub anon: Bytes,
    pub shmem: Bytes,
    pub active_file: Bytes,
    pub inactive_file: Bytes,
    pub dirty: Bytes,
    pub writeback: Bytes,
    pub unevictable: Bytes,
    pub slab_reclaimable: Bytes,
    pub slab_unreclaimable: Bytes,
    pub kernel_stack: Bytes,
    pub page_tables: Bytes,
    pub percpu: Bytes,
    pub hugetlb: Bytes,
    pub swap_total: Bytes,
    pub swap_free: Bytes,
    /// Some or all of the swap lies in memory (zram).
    pub swap_is_zram: bool,
    /// Sum of the zones' `min` watermarks.
    pub watermark_min: Bytes,
    /// Sum of the zones' `high` watermarks.
    pub watermark_high: Bytes,
    /// `None` where PSI is compiled out or switched off.
    pub stall: Option<Stall>,
    /// `workingset_refault_file`, pages.
    pub refault_file_pages: u64,
    /// `oom_kill` of `/proc/vmstat`: processes the kernel's OOM killer has killed since boot.
    pub oom_kills: u64,
    /// Which LRU the kernel runs.
    pub lru: Lru,
    /// A kubelet runs on this machine.
    pub kubelet_present: bool,
    /// When the kubelet last showed life: used processor time, renewed its lease, wrote a line. 0: nobody listens.
    pub kubelet_heard_at: Moment,
    /// How much more memory the compressed pool of `zswap` may take before it writes to the swap device: its limit less what
    /// it holds (`max_pool_percent` of `/sys/module/zswap/parameters`, `Zswap` of `/proc/meminfo`); 0 where it is off.
    pub zswap_room: Bytes,
    /// Online processors.
    pub cpus: u32,
    /// How late the guard woke up against what it asked for; the scheduler's part in every reaction.
    pub wake_late: Span,
    /// What reading this sample took, waiting included.
    pub sample_cost: Span,
    /// For how much of it the reading thread was on a processor; `None` where nobody knows.
    pub sample_processor: Option<Span>,
}

/// One cgroup. All figures include its descendants, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // The names are those of memory.stat, in bytes.
pub struct GroupSample {
    pub id: GroupId,
    /// Index of the parent in `Sample::groups`; `None` right below the root.
    pub parent: Option<u32>,
    pub kind: GroupKind,
    /// No followed cgroup lies below it (below a container nothing is followed).
    pub leaf: bool,
    /// A process is in it or below it (`cgroup.events`: populated).
    pub populated: bool,
    pub protection: Option<Protection>,
    /// `memory.max`.
    pub limit: Limit,
    /// `memory.min`: so much of it reclaim never takes. (`memory.high` is no wall: above it allocations are slowed down, and
    /// nobody is killed.)
    pub min: Bytes,
    /// `memory.current`.
    pub current: Bytes,
    pub anon: Bytes,
    pub shmem: Bytes,
    pub active_file: Bytes,
    pub inactive_file: Bytes,
    pub dirty: Bytes,
    pub writeback: Bytes,
    pub unevictable: Bytes,
    pub slab_reclaimable: Bytes,
    /// `memory.swap.current`.
    pub swap_current: Bytes,
    /// `memory.swap.max`.
    pub swap_limit: Limit,
    /// `memory.pressure`; `None` where there is none (v1, PSI off).
    pub stall: Option<Stall>,
    /// `workingset_refault_file`, pages.
    pub refault_file_pages: u64,
    /// `memory.events`: `oom_kill`; v1 `memory.oom_control`, which counts in the victim's own cgroup alone.
    pub oom_kills: u64,
    /// How often a limit was met here, as far as the kernel tells.
    pub limit_hits: LimitHits,
}

impl GroupSample {
    /// What reclaim can give back without swap: file LRU pages and reclaimable slab, less what is locked.
    pub fn reclaimable(&self) -> Bytes {
        let file = self.active_file + self.inactive_file;
        // Locked file pages are counted in `unevictable` and not in the two file lists, so nothing is subtracted.
        file + self.slab_reclaimable
    }

    /// What reclaim cannot give back: anon, shmem, page tables, stacks, sockets, slab; plus what already lies in swap,
    /// so that memory which merely moves to swap does not look freed.
    pub fn unreclaimable(&self) -> Bytes {
        (self.current - self.reclaimable()) + self.swap_current
    }

    /// The kubelet's working set: usage less inactive file
    /// (cadvisor `container/libcontainer/handler.go`, `setMemoryStats`).
    pub fn working_set(&self) -> Bytes {
        self.current - self.inactive_file
    }
}

impl NodeSample {
    /// What reclaim cannot give back on the whole machine, swap in use included.
    pub fn unreclaimable(&self) -> Bytes {
        let reclaimable = self.active_file + self.inactive_file + self.slab_reclaimable;
        (self.total - self.free - reclaimable) + (self.swap_total - self.swap_free)
    }

    /// The first figure, by the kernel's name, of a part that is more than the whole: whatever wrote this is not the kernel of
    /// this machine.
    pub fn impossible(&self) -> Option<&'static str> {
        let parts = [
            ("MemFree", self.free),
            ("MemAvailable", self.available),
            ("Buffers", self.buffers),
            ("Cached", self.cached),
            ("AnonPages", self.anon),
            ("Shmem", self.shmem),
            ("Active(file)", self.active_file),
            ("Inactive(file)", self.inactive_file),
            ("Unevictable", self.unevictable),
            ("SReclaimable", self.slab_reclaimable),
            ("SUnreclaim", self.slab_unreclaimable),
            ("KernelStack", self.kernel_stack),
            ("PageTables", self.page_tables),
            ("Percpu", self.percpu),
            ("Hugetlb", self.hugetlb),
        ];
        let too_large = parts.into_iter().find(|(_, part)| *part > self.total);
        let swap = (self.swap_free > self.swap_total).then_some("SwapFree");
        too_large.map(|(name, _)| name).or(swap)
    }

    /// What there is besides the pages that are set aside as huge ones: only this can be given to anybody as memory, and only
    /// this can run out.
    pub fn ordinary(&self) -> Bytes {
        self.total - self.hugetlb
    }

    /// What is in use besides page cache: total less free less `Cached`.
    pub fn actual(&self) -> Bytes {
        self.total - self.free - self.cached
    }

    /// Memory the kernel cannot give away and the kubelet does not see (`notes` of the kubelet's root accounting:
    /// opencontainers/cgroups `fs2/memory.go`, runc#4059: root usage is anon + file).
    pub fn blind(&self) -> Bytes {
        self.slab_unreclaimable + self.page_tables + self.kernel_stack + self.percpu + self.hugetlb
    }

    /// The kubelet's working set of the root: anon + file − inactive file.
    pub fn kubelet_working_set(&self) -> Bytes {
        (self.anon + self.cached + self.buffers) - self.inactive_file
    }
}

/// One process outside `kubepods`.
#[derive(Clone, Copy, Debug)]
pub struct ProcessSample {
    /// Who it is.
    pub id: ProcessId,
    /// The followed cgroup it lives in; `None` for the root.
    pub group: Option<GroupId>,
    /// RssAnon + RssShmem + VmPTE + VmSwap of `/proc/PID/status`.
    pub unreclaimable: Bytes,
    /// When these figures were read.
    pub read_at: Moment,
    /// Why it may not be touched.
    pub protection: Option<Protection>,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which action.
    pub action: ActionId,
    /// Its rung.
    pub rung: Rung,
    /// What happened.
    pub kind: OutcomeKind,
    /// Bytes that came back, as the target's own counter shows.
    pub freed: Bytes,
    /// From the order to the effect.
    pub took: Span,
    /// Of a reclaim: asked again before this has passed, it does nothing. Zero where nobody said so.
    pub rest: Span,
}

/// What happened to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// A step was done; the action goes on (the TERM was sent, a slice was reclaimed).
    Progress,
    /// It is over and did what it should.
    Done,
    /// It is over; the victim lives or nothing came back.
    NoEffect,
    /// The API server refuses for now: a disruption budget is used up, or the cluster's own. Nothing was touched.
    Blocked,
    /// The target was gone or another one had its number: nothing was touched. Of a brake that is on: its cgroup was removed, and it
    /// with that, so that there is nothing to lift.
    Gone,
    /// The act thread refused it: a last check found a protected process.
    Vetoed,
    /// A right is missing or the system call failed; the number is the errno.
    Failed(i32),
}
