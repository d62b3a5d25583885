//! A node as the agent sees it: the world's lines turned into the sample that a real node would give.
//!
//! Every figure is what the kernel's own counter would say at that moment, parents as the sums of their children. It refuses
//! to tell the agent anything that a real node would not.

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Limit, LimitHits, Moment, NodeSample, ProcessId, ProcessSample,
    Qos, Sample, Span, Stall,
};

use crate::cast::{Container, Hits, State};
use crate::levels::LEVELS;
use crate::memory::{Memory, Part};
use crate::node::{HOST, Node};

/// The cgroup `kubepods` of every node.
pub(crate) const KUBEPODS: GroupId = GroupId(1);
/// What a look costs and how late it comes; measured on a node of two processors.
const LOOK_COST: Span = Span(500);
const PAGE: u64 = 4096;

impl Node {
    /// Fills `sample` with what is to be seen at `now`; `clock` is what the agent's clock says then.
    pub(crate) fn fill_sample(&self, sample: &mut Sample, now: Moment, clock: Moment) {
        self.fill_node(&mut sample.node, now);
        sample.groups.clear();
        sample.processes.clear();
        if self.has_pods() {
            let mut kubepods = group(KUBEPODS, None, GroupKind::Kubepods, &self.pods_sum, now);
            let of_pods = self.pods.iter().skip(HOST + 1);
            kubepods.swap_current = swapped_of(of_pods.flat_map(|pod| &pod.containers));
            kubepods.min = self.kept_at_most();
            kubepods.limit = self.kubepods_limit().map_or(Limit::Max, Limit::Bytes);
            kubepods.oom_kills = self.kernel.pods_oom_kills;
            kubepods.limit_hits = self.kernel.pods_hits.counted();
            kubepods.stall = Some(self.stall());
            sample.groups.push(kubepods);
        }
        for at in 1..self.pods.len() {
            if self.spec.qos_reserved_permille.is_none() || self.pods[at].qos == Qos::Guaranteed {
                self.fill_pod(sample, at, 0, now);
            }
        }
        if self.spec.qos_reserved_permille.is_some() {
            for level in LEVELS {
                self.fill_level(sample, level, now);
            }
        }
        for (index, container) in self.pods[HOST].containers.iter().enumerate() {
            if !is_there(container) {
                continue;
            }
            let mut own = group(container.id, None, GroupKind::Host, &container.memory, now);
            own.leaf = true;
            own.swap_current = container.swapped;
            own.limit = container.limit;
            own.oom_kills = container.oom_kills;
            own.limit_hits = of_leaf(container);
            own.protection = self.protection(HOST, index);
            sample.groups.push(own);
            sample.processes.push(ProcessSample {
                id: process_id(container),
                group: Some(container.id),
                unreclaimable: own.unreclaimable(),
                read_at: clock,
                protection: self.protection(HOST, index),
            });
        }
    }

    /// There is a place for pods.
    pub(crate) fn has_pods(&self) -> bool {
        self.pods.len() > 1 || self.kubelet.is_some()
    }

    /// A QoS level with its pods.
    fn fill_level(&self, sample: &mut Sample, level: Qos, now: Moment) {
        let (Some(id), Some(counts)) = (crate::levels::id(level), self.levels.of(level)) else {
            return;
        };
        let place = sample.groups.len();
        let of_level = |at: &usize| self.pods[*at].qos == level;
        let pods = (1..self.pods.len()).filter(of_level);
        let whole = sum_of(pods.clone().flat_map(|at| &self.pods[at].containers), now);
        let mut above = group(id, Some(0), GroupKind::Qos(level), &whole, now);
        above.limit = self.level_limit(level).map_or(Limit::Max, Limit::Bytes);
        above.swap_current = swapped_of(pods.clone().flat_map(|at| &self.pods[at].containers));
        above.oom_kills = counts.oom_kills;
        above.limit_hits = counts.hits.counted();
        above.populated = pods
            .clone()
            .any(|at| self.pods[at].containers.iter().any(is_there));
        sample.groups.push(above);
        for at in pods {
            self.fill_pod(sample, at, place, now);
        }
    }

    fn fill_pod(&self, sample: &mut Sample, at: usize, parent: usize, now: Moment) {
        let pod = &self.pods[at];
        let whole = sum_of(pod.containers.iter(), now);
        let place = u32::try_from(sample.groups.len()).ok();
        let parent = u32::try_from(parent).ok();
        let mut above = group(pod.group, parent, GroupKind::Pod(pod.qos), &whole, now);
        above.limit = pod.spec.limit;
        above.min = self.pod_min(pod);
        above.swap_current = swapped_of(pod.containers.iter());
        above.protection = pod.protection();
        above.oom_kills = pod.oom_kills;
        above.limit_hits = pod.hits.counted();
        above.populated = pod.containers.iter().any(is_there);
        sample.groups.push(above);
        for (index, container) in pod.containers.iter().enumerate() {
            if is_there(container) {
                let kind = GroupKind::Container(pod.qos);
                let mut own = group(container.id, place, kind, &container.memory, now);
                own.leaf = true;
                own.swap_current = container.swapped;
                own.swap_limit = container.swap_limit;
                own.min = self.container_min(pod, index);
                own.limit = pod.spec.limit_written(container.limit);
                own.oom_kills = container.oom_kills;
                own.limit_hits = of_leaf(container);
                own.protection = self.protection(at, index);
                own.refault_file_pages = container.running.refaulted.0 / PAGE;
                sample.groups.push(own);
            }
        }
    }

    fn stall(&self) -> Stall {
        Stall {
            some_micros: self.kernel.stall_some_micros,
            full_micros: self.kernel.stall_full_micros,
        }
    }

    /// The kernel's MemAvailable (`si_mem_available`, mm/show_mem.c): free and page cache, less the reserves, less half of the
    /// cache or the low mark, whichever is smaller.
    pub(crate) fn kernel_available(&self, now: Moment) -> Bytes {
        let part = |part: Part| self.pods_sum.bytes(part, now) + self.host_sum.bytes(part, now);
        let cache: Bytes = Part::CACHE.into_iter().map(part).sum();
        let hard: Bytes = Part::HARD.into_iter().map(part).sum();
        let free = self.spec.memory - self.spec.set_aside() - hard - cache;
        (free + cache) - (self.kernel.watermark_min + self.held_back(now))
    }

    /// What of it the kernel gives out all the same, before it kills.
    pub(crate) fn held_back(&self, now: Moment) -> Bytes {
        let part = |part: Part| self.pods_sum.bytes(part, now) + self.host_sum.bytes(part, now);
        let cache: Bytes = Part::CACHE.into_iter().map(part).sum();
        let kernel = &self.kernel;
        (kernel.watermark_high - kernel.watermark_min) + Bytes(cache.0 / 2).min(kernel.watermark_low)
    }

    fn fill_node(&self, node: &mut NodeSample, now: Moment) {
        let part = |part: Part| self.pods_sum.bytes(part, now) + self.host_sum.bytes(part, now);
        let (anon, shmem, kernel) = (part(Part::Anon), part(Part::Shmem), part(Part::Kernel));
        let (active, inactive) = (part(Part::Active), part(Part::Inactive));
        let total = self.spec.memory;
        let cache = active + inactive;
        let free = total - self.spec.set_aside() - anon - shmem - kernel - cache;
        let available = self.kernel_available(now);
        *node = NodeSample {
            total,
            free,
            available,
            cached: cache + shmem,
            anon,
            shmem,
            active_file: active,
            inactive_file: inactive,
            slab_unreclaimable: self.spec.kernel,
            hugetlb: self.spec.hugepages(),
            page_tables: kernel,
            swap_total: self.spec.swap,
            swap_free: self.spec.swap - self.kernel.swapped,
            watermark_min: self.kernel.watermark_min,
            watermark_high: self.kernel.watermark_high,
            stall: Some(self.stall()),
            oom_kills: self.kernel.oom_kills,
            lru: self.spec.lru,
            kubelet_present: self.kubelet.is_some(),
            cpus: self.spec.cpus,
            wake_late: LOOK_COST,
            sample_cost: LOOK_COST,
            sample_processor: Some(LOOK_COST),
            ..NodeSample::default()
        };
    }
}

impl Hits {
    const fn counted(self) -> LimitHits {
        LimitHits::Ooms {
            own: self.own,
            within: self.within,
        }
    }
}

/// Nothing lies below a container.
const fn of_leaf(container: &Container) -> LimitHits {
    let (own, within) = (container.hits, container.hits);
    LimitHits::Ooms { own, within }
}

/// It has a cgroup.
fn is_there(container: &Container) -> bool {
    matches!(container.state, State::Running | State::Ending)
}

/// The process of a host's container: its number stands for its PID.
pub(crate) fn process_id(container: &Container) -> ProcessId {
    ProcessId {
        pid: u32::try_from(container.id.0).unwrap_or(u32::MAX),
        start_ticks: container.started.0 / 10_000,
    }
}

fn swapped_of<'a>(containers: impl Iterator<Item = &'a Container>) -> Bytes {
    containers.map(|container| container.swapped).sum()
}

fn sum_of<'a>(containers: impl Iterator<Item = &'a Container>, now: Moment) -> Memory {
    let mut whole = Memory::at(now);
    for container in containers {
        let mut memory = container.memory;
        memory.rebase(now);
        whole.add(&memory);
    }
    whole
}

fn group(id: GroupId, parent: Option<u32>, kind: GroupKind, memory: &Memory, now: Moment) -> GroupSample {
    GroupSample {
        id,
        parent,
        kind,
        populated: true,
        current: memory.sum(&Part::ALL, now),
        anon: memory.bytes(Part::Anon, now),
        shmem: memory.bytes(Part::Shmem, now),
        active_file: memory.bytes(Part::Active, now),
        inactive_file: memory.bytes(Part::Inactive, now),
        ..GroupSample::default()
    }
}
