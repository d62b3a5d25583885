//! What the kubelet observes: `memory.available` and `allocatableMemory.available`, and what it does not see.
//!
//! Computed from our own samples by its formulas, so that its next look is known before it looks. It refuses to correct
//! them: active page cache counts as used here, because the kubelet counts it so.

use super::config::Signal;
use crate::input::{GroupKind, GroupSample, NodeSample, Sample};
use crate::units::{Bytes, Moment};

/// Above this a limit is none to the kubelet (`isMemoryUnlimited`, k/k `pkg/kubelet/stats/helper.go`).
const UNLIMITED_ABOVE: Bytes = Bytes(1 << 62);

/// One signal at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is left.
    pub available: Bytes,
    /// Of what: a percentage is a share of this.
    pub capacity: Bytes,
    /// When the kubelet read it; it acts on no reading twice.
    pub at: Moment,
}

/// Both signals. The kubelet reads both afresh at each look (`forceStatsUpdate`), unlike its pods' figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// `memory.available`.
    pub memory: Option<Reading>,
    /// `allocatableMemory.available`; there is none where `kubepods` has no limit.
    pub allocatable: Option<Reading>,
}

impl Observation {
    /// The reading of one signal.
    pub const fn of(&self, signal: Signal) -> Option<Reading> {
        match signal {
            Signal::MemoryAvailable => self.memory,
            Signal::AllocatableMemoryAvailable => self.allocatable,
        }
    }

    /// What the kubelet would observe if it looked at this sample.
    pub fn of_sample(sample: &Sample, at: Moment) -> Self {
        let kubepods = sample
            .groups
            .iter()
            .find(|group| group.kind == GroupKind::Kubepods);
        Self::of_machine(&sample.node, kubepods, at)
    }

    /// The same of a machine and its `kubepods`.
    pub(crate) fn of_machine(node: &NodeSample, kubepods: Option<&GroupSample>, at: Moment) -> Self {
        let memory = (node.total > Bytes::ZERO).then(|| Reading {
            available: memory_available(node),
            capacity: node.total,
            at,
        });
        let allocatable = kubepods.and_then(|group| {
            let capacity = group.limit.bytes().filter(|limit| *limit <= UNLIMITED_ABOVE)?;
            Some(Reading {
                available: allocatable_available(capacity, group),
                capacity,
                at,
            })
        });
        Self { memory, allocatable }
    }
}

/// `memory.available`: what the root's working set leaves of the machine.
///
/// The root's usage is anonymous and file pages and nothing else: on cgroup v2 opencontainers/cgroups sums `anon` and
/// `file` of the root's `memory.stat` (`fs2/memory.go`), on v1 the kernel does the same for the root's
/// `memory.usage_in_bytes` (mm/memcontrol.c `mem_cgroup_usage`). `file` there is Cached + Buffers of `/proc/meminfo`
/// and what both count twice of the swap cache, so a machine that swaps reads a little more than is computed here.
pub fn memory_available(node: &NodeSample) -> Bytes {
    node.total - node.kubelet_working_set()
}

/// `allocatableMemory.available`: what the working set of `kubepods` leaves of its limit. It is an ordinary cgroup: its usage
/// holds kernel memory too.
pub(crate) fn allocatable_available(limit: Bytes, kubepods: &GroupSample) -> Bytes {
    limit - kubepods.working_set()
}

/// Memory that the kernel cannot give away and `memory.available` does not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blind {
    /// All of it: what is in use, less the pages the kubelet counts and the slab that reclaim gives back.
    pub total: Bytes,
    /// `SUnreclaim`.
    pub slab: Bytes,
    /// `PageTables`.
    pub page_tables: Bytes,
    /// `KernelStack`.
    pub kernel_stack: Bytes,
    /// `Percpu`.
    pub percpu: Bytes,
    /// `Hugetlb`: reserved by somebody, used or not.
    pub hugetlb: Bytes,
    /// The rest of the total: socket buffers, drivers' own pages, vmalloc. The kernel has no one number for it.
    pub unnamed: Bytes,
}

impl Blind {
    /// What is blind in this sample.
    pub fn of(node: &NodeSample) -> Self {
        let seen = node.anon + node.cached + node.buffers;
        let total = node.total - node.free - seen - node.slab_reclaimable;
        let named = node.blind();
        Self {
            total: total.max(named),
            slab: node.slab_unreclaimable,
            page_tables: node.page_tables,
            kernel_stack: node.kernel_stack,
            percpu: node.percpu,
            hugetlb: node.hugetlb,
            unnamed: total - named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::GroupId;
    use crate::units::Limit;

    /// The eviction article's machine: 7120616 Ki, and `kubepods` with 1638 Mi less.
    fn article(pods_working_set: Bytes) -> Sample {
        let kubepods = GroupSample {
            id: GroupId(1),
            kind: GroupKind::Kubepods,
            populated: true,
            limit: Limit::Bytes(Bytes(5_573_943_296)),
            current: pods_working_set + Bytes::mebi(50),
            active_file: Bytes::mebi(70),
            inactive_file: Bytes::mebi(50),
            ..GroupSample::default()
        };
        Sample {
            node: NodeSample {
                total: Bytes(7_291_510_784),
                free: Bytes::mebi(1000),
                anon: Bytes::mebi(2000),
                cached: Bytes::mebi(900),
                buffers: Bytes::mebi(100),
                active_file: Bytes::mebi(700),
                inactive_file: Bytes::mebi(250),
                slab_reclaimable: Bytes::mebi(60),
                slab_unreclaimable: Bytes::mebi(200),
                page_tables: Bytes::mebi(30),
                kernel_stack: Bytes::mebi(10),
                percpu: Bytes::mebi(5),
                ..NodeSample::default()
            },
            groups: vec![kubepods],
            processes: Vec::new(),
        }
    }

    #[test]
    fn the_articles_machine_evicts_where_its_working_sets_say() {
        // 5315.73 MiB less 750 MiB is 4565.73 MiB: there the allocatable signal reads exactly its threshold.
        let observed = Observation::of_sample(&article(Bytes(4_787_511_296)), Moment(5));
        let allocatable = observed.allocatable.unwrap_or_default();
        assert_eq!(allocatable.available, Bytes::mebi(750));
        assert_eq!(allocatable.capacity, Bytes(5_573_943_296));
        // The machine: anon + file − inactive file is 2000 + 1000 − 250 MiB; active cache and buffers count as used.
        let memory = observed.memory.unwrap_or_default();
        assert_eq!(memory.available, Bytes(7_291_510_784) - Bytes::mebi(2750));
        assert_eq!(memory.at, Moment(5));
    }

    #[test]
    fn more_inactive_file_than_usage_is_nothing_used() {
        let mut sample = article(Bytes::ZERO);
        sample.groups[0].current = Bytes::mebi(10);
        let observed = Observation::of_sample(&sample, Moment(0));
        assert_eq!(
            observed.allocatable.map(|reading| reading.available),
            Some(Bytes(5_573_943_296))
        );
    }

    #[test]
    fn without_a_limit_there_is_no_allocatable_signal() {
        let mut sample = article(Bytes::ZERO);
        for limit in [Limit::Max, Limit::Bytes(Bytes((1 << 62) + 1))] {
            sample.groups[0].limit = limit;
            assert_eq!(Observation::of_sample(&sample, Moment(0)).allocatable, None);
        }
    }

    #[test]
    fn what_is_used_and_in_no_list_is_blind() {
        let blind = Blind::of(&article(Bytes::ZERO).node);
        // 6953.73 MiB less 1000 free, 3000 seen and 60 that reclaim gives back; 245 of it have a name.
        let total = Bytes(7_291_510_784) - Bytes::mebi(4060);
        assert_eq!(blind.total, total);
        assert_eq!(blind.unnamed, total - Bytes::mebi(245));
    }
}
