//! The kernel's part: limits are met, cache is reclaimed, and where there is none left somebody is killed.
//!
//! Reclaim goes in batches, so that a line that leans on a limit is met now and then and not at every page. A kill's memory
//! is back at once; what a victim's end takes is part of our own kills only, which are the ones that are slow enough to
//! matter. It refuses to compact.

use forestall_decide::{Bytes, Moment, Qos, Span, WallKind};

use crate::cast::{Hits, NEVER, State};
use crate::event::{Grower, What};
use crate::memory::Part;
use crate::node::{HOST, Node};

/// What reclaim of this much costs the task that has to wait for it: a microsecond for a page.
const STALL_BYTES_PER_MICRO: u64 = 4096;
/// The kernel's marks and counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub(crate) watermark_min: Bytes,
    pub(crate) watermark_low: Bytes,
    pub(crate) watermark_high: Bytes,
    pub(crate) stall_some_micros: u64,
    pub(crate) stall_full_micros: u64,
    pub(crate) oom_kills: u64,
    pub(crate) pods_oom_kills: u64,
    pub(crate) pods_hits: Hits,
    /// What lies in swap.
    pub(crate) swapped: Bytes,
    /// Somebody looks soon whether there is room for it.
    pub(crate) swap_returns: bool,
    /// When the machine or `kubepods` is full.
    pub(crate) contact: Moment,
}

impl Kernel {
    /// The marks of a machine of this size (mm/page_alloc.c, `init_per_zone_wmark_min`, `__setup_per_zone_wmarks`, with
    /// the default `watermark_scale_factor`), whose kernel knows transparent huge pages.
    pub(crate) fn new(total: Bytes) -> Self {
        let kibi = total.0 / 1024;
        let without_huge = Bytes(kibi.saturating_mul(16).isqrt().clamp(128, 262_144) * 1024);
        let min = without_huge.max(for_huge_pages(total));
        let step = Bytes((min.0 / 4).max(total.0 / 1000));
        Self {
            watermark_min: min,
            watermark_low: min + step,
            watermark_high: min + step + step,
            stall_some_micros: 0,
            stall_full_micros: 0,
            oom_kills: 0,
            pods_oom_kills: 0,
            pods_hits: Hits::default(),
            swapped: Bytes::ZERO,
            swap_returns: false,
            contact: NEVER,
        }
    }

    /// A task stood still for so long.
    pub(crate) fn stall_for(&mut self, span: Span) {
        self.stall_some_micros = self.stall_some_micros.saturating_add(span.0);
    }

    /// Somebody waited until so much was written out: a disk of the slower kind takes 100 MiB a second.
    pub(crate) fn stall_for_swap(&mut self, written: Bytes) {
        let micros = written.0 / 105;
        self.stall_some_micros = self.stall_some_micros.saturating_add(micros);
        self.stall_full_micros = self.stall_full_micros.saturating_add(micros / 4);
    }

    fn stall(&mut self, reclaimed: Bytes) {
        let micros = reclaimed.0 / STALL_BYTES_PER_MICRO;
        self.stall_some_micros = self.stall_some_micros.saturating_add(micros);
        self.stall_full_micros = self.stall_full_micros.saturating_add(micros / 4);
    }
}

/// What khugepaged has kept free (mm/khugepaged.c, `set_recommended_min_free_kbytes`): eleven pageblocks of each zone, two and
/// one for each pair of the three kinds of pages, but no more than a twentieth of the machine. It runs wherever huge pages are
/// not switched off, which distributions do not.
fn for_huge_pages(total: Bytes) -> Bytes {
    const PAGEBLOCK: Bytes = Bytes(2 << 20);
    const BLOCKS: u64 = 2 + 3 * 3;
    // On x86-64 DMA and DMA32; what does not fit below the hole of four gibibytes is in Normal.
    let zones = if total > Bytes(3 << 30) { 3 } else { 2 };
    Bytes(PAGEBLOCK.0 * BLOCKS * zones).min(Bytes(total.0 / 20))
}

/// From whom is reclaimed, among whom is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Machine,
    Pods,
    Level(Qos),
    Pod(usize),
    Container(usize, usize),
}

/// So little cache cannot be had: pages in use, and what the kernel leaves lying (0.1 %, at least a mebibyte).
fn rest(level: Bytes) -> Bytes {
    Bytes((level.0 / 1000).max(1 << 20))
}

/// From so much cache on there is something to take: twice the rest, so that what is read back at once is not taken page by
/// page.
pub(crate) fn plenty(level: Bytes) -> Bytes {
    rest(level) + rest(level)
}

impl Node {
    fn full_line(&self) -> crate::memory::Line {
        self.pods_sum
            .line(&Part::ALL)
            .plus(&self.host_sum.line(&Part::ALL))
    }

    /// When the machine, `kubepods` or a QoS level is full next.
    pub(crate) fn wall_contact(&self, now: Moment) -> Moment {
        let machine = self.machine_contact(now);
        let pods = self
            .kubepods_limit()
            .and_then(|limit| self.pods_sum.line(&Part::ALL).reaches(limit, now));
        let levels = self.level_contact(now);
        machine
            .into_iter()
            .chain(pods)
            .chain(levels)
            .min()
            .unwrap_or(NEVER)
    }

    /// The kernel acts at the low mark while there is cache to take, else at the lowest. Asked at any moment, the answer is
    /// the same as long as no line changes.
    fn machine_contact(&self, now: Moment) -> Option<Moment> {
        let total = self.spec.memory;
        let room = total - self.spec.set_aside();
        let full = self.full_line();
        let cache = self
            .pods_sum
            .line(&Part::CACHE)
            .plus(&self.host_sum.line(&Part::CACHE));
        // With so much more there is something beside what is kept, whoever has it.
        let plenty = cache.reaches(plenty(total) + self.kept_at_most(), now);
        let reclaim = plenty.and_then(|from| full.reaches(room - self.kernel.watermark_low, from.max(now)));
        let kill = full.reaches(room - self.kernel.watermark_min, now);
        reclaim.into_iter().chain(kill).min()
    }

    /// `kubepods` has a limit where its kubelet enforces one.
    pub(crate) fn kubepods_limit(&self) -> Option<Bytes> {
        let config = &self.kubelet.as_ref()?.config;
        config.enforces_pods.then(|| config.kubepods_limit())
    }

    /// What is free of the machine above its low mark, but for two batches.
    pub(crate) fn machine_spare(&self, now: Moment) -> Bytes {
        let batch = self.machine_batch();
        let room = self.spec.memory - self.spec.set_aside() - self.kernel.watermark_low;
        room - self.full_line().bytes(now) - batch - batch
    }

    fn machine_batch(&self) -> Bytes {
        (self.kernel.watermark_high - self.kernel.watermark_low) + Bytes(self.spec.memory.0 / 512)
    }

    /// The machine, `kubepods` or a QoS level is full.
    pub(crate) fn meet_wall(&mut self, now: Moment) {
        let machine = self.over_machine(now);
        // A charge is tried from below upwards.
        let level = self.full_level(now).filter(|full| full.over >= machine);
        let pods = self.over_pods(now).filter(|(_, over)| *over >= machine);
        match (level, pods) {
            (Some(full), None) => self.meet_level(full, now),
            (Some(full), Some((_, over))) if full.over >= over => self.meet_level(full, now),
            (_, Some((limit, _))) => {
                let cache = self.pods_sum.line(&Part::CACHE).bytes(now);
                let batch = Bytes(limit.0 / 256);
                self.reclaim_or_kill(Scope::Pods, WallKind::Kubepods, limit, batch, cache, now);
            }
            (None, None) => {
                let (total, batch) = (self.spec.memory, self.machine_batch());
                let cache = self.held(&Part::CACHE, now);
                self.reclaim_or_kill(Scope::Machine, WallKind::Kernel, total, batch, cache, now);
            }
        }
    }

    /// By how much more is held than the machine has. What comes at once here comes page by page there, so of several limits that are
    /// exceeded at the same moment the one that is exceeded by most was met first.
    fn over_machine(&self, now: Moment) -> Bytes {
        let room = self.spec.memory - self.spec.set_aside() - self.kernel.watermark_min;
        self.full_line().bytes(now) - room
    }

    /// The limit of `kubepods`, where it is met, and by how much it is exceeded.
    fn over_pods(&self, now: Moment) -> Option<(Bytes, Bytes)> {
        let limit = self.kubepods_limit()?;
        let held = self.pods_sum.line(&Part::ALL).bytes(now);
        (held >= limit).then(|| (limit, held - limit))
    }

    /// A limit above those of a pod is exceeded by more than this.
    fn is_tighter_above(&self, over: Bytes, now: Moment) -> bool {
        let pods = self.over_pods(now).map(|(_, over)| over);
        let level = self.full_level(now).map(|full| full.over);
        [Some(self.over_machine(now)), pods, level]
            .into_iter()
            .flatten()
            .any(|above| above > over)
    }

    /// A container is full.
    pub(crate) fn meet_container_limit(&mut self, at: usize, index: usize, now: Moment) {
        let container = &self.pods[at].containers[index];
        let limit = container.limit.bytes().unwrap_or_default();
        let over = container.memory.line(&Part::ALL).bytes(now) - limit;
        if self.over_pod(at, now) > over {
            return self.meet_pod_limit(at, now);
        }
        if self.is_tighter_above(over, now) {
            return self.meet_wall(now);
        }
        let cache = self.pods[at].containers[index].memory.sum(&Part::CACHE, now);
        let scope = Scope::Container(at, index);
        self.reclaim_or_kill(scope, WallKind::Container, limit, Bytes(limit.0 / 16), cache, now);
    }

    /// A container is at its `memory.high`: its cache is taken, and where there is none it is slowed down.
    pub(crate) fn meet_high(&mut self, at: usize, index: usize, now: Moment) {
        let container = &self.pods[at].containers[index];
        let high = container.high.unwrap_or_default();
        let cache = container.memory.sum(&Part::CACHE, now);
        if cache >= plenty(high) {
            let batch = Bytes(high.0 / 16).min(cache - rest(high)).max(Bytes(1));
            let freed = self.reclaim(Scope::Container(at, index), batch, now);
            self.kernel.stall(freed);
        } else {
            // The change of nothing finds out what pace is left.
            self.change(at, index, now, |_| ());
        }
    }

    /// By how much a pod's own limit is exceeded.
    fn over_pod(&self, at: usize, now: Moment) -> Bytes {
        let limit = self.pods[at].spec.limit.bytes().filter(|_| at != HOST);
        limit.map_or(Bytes::ZERO, |limit| self.pods[at].used(&Part::ALL, now) - limit)
    }

    /// A pod is full.
    pub(crate) fn meet_pod_limit(&mut self, at: usize, now: Moment) {
        if self.is_tighter_above(self.over_pod(at, now), now) {
            return self.meet_wall(now);
        }
        let limit = self.pods[at].spec.limit.bytes().unwrap_or_default();
        let cache = self.pods[at].used(&Part::CACHE, now);
        self.reclaim_or_kill(
            Scope::Pod(at),
            WallKind::Pod,
            limit,
            Bytes(limit.0 / 16),
            cache,
            now,
        );
    }

    pub(crate) fn reclaim_or_kill(
        &mut self,
        scope: Scope,
        wall: WallKind,
        size: Bytes,
        batch: Bytes,
        cache: Bytes,
        now: Moment,
    ) {
        let cache = if self.spec.reserves_requests {
            self.takable(scope, now)
        } else {
            cache
        };
        if cache >= plenty(size) {
            let freed = self.reclaim(scope, batch.min(cache - rest(size)).max(Bytes(1)), now);
            if scope != Scope::Machine {
                self.kernel.stall(freed);
            }
        } else if !self.swap_out(scope, batch, now) {
            self.oom(scope, wall, size, now);
        }
    }

    /// The OOM killer: the highest badness in the scope (mm/oom_kill.c, `oom_badness`).
    pub(crate) fn oom(&mut self, scope: Scope, wall: WallKind, size: Bytes, now: Moment) {
        let grower = self.grower(now);
        let victim = self
            .places(scope)
            .into_iter()
            .filter(|(at, index)| self.pods[*at].containers[*index].state == State::Running)
            .filter_map(|(at, index)| Some((self.badness(at, index, size, now)?, at, index)))
            .max_by_key(|(points, at, index)| (*points, core::cmp::Reverse((*at, *index))));
        let Some((_, at, index)) = victim else {
            return self.find_nobody(scope, size, now);
        };
        let process = self.process_to_lose(at, index, now);
        let mut victim = self.victim(at, index, now);
        victim.held = victim.held.min(process.unwrap_or(victim.held));
        self.kernel.oom_kills += 1;
        self.kernel.pods_oom_kills += u64::from(at != HOST);
        self.count_kill_of_level(at);
        self.pods[at].oom_kills += 1;
        self.pods[at].containers[index].oom_kills += 1;
        self.count_hit(scope);
        let killed = What::KernelKilled {
            wall,
            scope: match scope {
                Scope::Machine | Scope::Pods => None,
                Scope::Level(level) => crate::levels::id(level),
                Scope::Pod(at) => Some(self.pods[at].group),
                Scope::Container(at, index) => Some(self.pods[at].containers[index].id),
            },
            victim,
            grower,
        };
        self.note(now, killed);
        match process {
            Some(size) => self.lose_process(at, index, size, now),
            None => self.end_container(at, index, now),
        }
    }

    /// There is nobody to kill. Without memory for all the kernel panics (mm/oom_kill.c, `out_of_memory`); at a cgroup's limit only
    /// the charge fails that would have gone beyond it (mm/memcontrol.c, `try_charge_memcg`), and whoever asked stands still there.
    fn find_nobody(&mut self, scope: Scope, limit: Bytes, now: Moment) {
        const PAGE: Bytes = Bytes(4096);
        if scope == Scope::Machine {
            self.lost = true;
            self.note(now, What::NodeLost);
            return;
        }
        let places = self.places(scope);
        let held: Bytes = places
            .iter()
            .map(|(at, index)| self.pods[*at].containers[*index].memory.sum(&Part::ALL, now))
            .sum();
        // One page less, so that a line which stands still touches the limit no more.
        let mut over = held - (limit - PAGE);
        for (at, index) in places {
            self.change(at, index, now, |container| {
                container.memory.freeze();
                for part in Part::ALL {
                    over = over - container.memory.take(part, over);
                }
            });
        }
    }

    /// The kernel counts the limit that led to a kill where it is, and in those above (`memcg_memory_event`,
    /// include/linux/memcontrol.h); the machine's end is no cgroup's.
    fn count_hit(&mut self, scope: Scope) {
        let pod = match scope {
            Scope::Machine => return,
            Scope::Pods => {
                self.kernel.pods_hits.own += 1;
                HOST
            }
            Scope::Level(level) => {
                self.count_hit_of_level(level, true);
                HOST
            }
            Scope::Pod(at) => {
                self.pods[at].hits.own += 1;
                at
            }
            Scope::Container(at, index) => {
                self.pods[at].containers[index].hits += 1;
                at
            }
        };
        if pod != HOST {
            self.pods[pod].hits.within += 1;
            self.count_hit_of_level(self.pods[pod].qos, false);
        }
        let within = pod != HOST || matches!(scope, Scope::Pods | Scope::Level(_));
        self.kernel.pods_hits.within += u64::from(within);
    }

    fn badness(&self, at: usize, index: usize, size: Bytes, now: Moment) -> Option<i128> {
        const PAGE: u64 = 4096;
        let container = &self.pods[at].containers[index];
        if container.oom_score_adj <= -1000 {
            return None;
        }
        // What was written to a memory-backed file is in nobody's RSS.
        let shmem = if container.volume {
            Bytes::ZERO
        } else {
            container.memory.bytes(Part::Shmem, now)
        };
        let held = container.memory.sum(&[Part::Anon, Part::Kernel], now) + shmem + container.swapped;
        let held = container
            .largest_process
            .map_or(held, |largest| held.min(largest));
        // Whatever lies in swap counts, and so does what could.
        let size = size + self.spec.swap;
        let adj = i128::from(container.oom_score_adj) * i128::from(size.0 / PAGE / 1000);
        Some(i128::from(held.0 / PAGE) + adj)
    }

    /// Who makes up nearly all growth, as the world knows it.
    pub(crate) fn grower(&self, now: Moment) -> Option<Grower> {
        let all = self.places(Scope::Machine);
        let total: u64 = all
            .iter()
            .map(|(at, index)| rate(&self.pods[*at].containers[*index]))
            .sum();
        let (at, index) = all
            .into_iter()
            .max_by_key(|(at, index)| rate(&self.pods[*at].containers[*index]))?;
        let container = &self.pods[at].containers[index];
        let own = rate(container);
        (own > 0 && own >= total / 20 * 19).then(|| Grower {
            group: container.id,
            pod: self.pods[at].group,
            rate: own,
            growing_for: now.since(container.running.since()),
            grown: container.grown(now),
            takes_again: container.takes_again(now),
            left_of_request: self.left_of_request(at, now),
            protected: self.protection(at, index).is_some()
                || self.spared(&self.pods[at]).is_some()
                || at == HOST,
            guarded: self.agent.as_ref().is_some_and(crate::agent::Agent::guards),
        })
    }

    /// How long nearly all growth has come from outside the pods, if it does.
    pub(crate) fn host_leaks_for(&self, now: Moment) -> Option<Span> {
        let all = self.places(Scope::Machine);
        let rate = |(at, index): &(usize, usize)| rate(&self.pods[*at].containers[*index]);
        let total: u64 = all.iter().map(rate).sum();
        let hosts: u64 = all.iter().filter(|(at, _)| *at == HOST).map(rate).sum();
        let since = |(at, index): &(usize, usize)| self.pods[*at].containers[*index].running.since();
        let steady = all.iter().map(|place| now.since(since(place))).min()?;
        (hosts > 0 && hosts >= total / 20 * 19).then_some(steady)
    }
}

/// How fast what reclaim cannot free grows in a container, bytes a second.
pub(crate) fn rate(container: &crate::cast::Container) -> u64 {
    let slope: i64 = Part::HARD.iter().map(|part| container.memory.slope(*part)).sum();
    u64::try_from(slope).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_are_those_of_a_kernel() {
        // /proc/zoneinfo of the lab's guests (972 MiB, DMA and DMA32): min 44 MiB, high 66 MiB, all zones together.
        let marks = Kernel::new(Bytes::mebi(972));
        assert_eq!(marks.watermark_min, Bytes::mebi(44));
        assert_eq!(marks.watermark_high, Bytes::mebi(66));
        // min_free_kbytes of larger machines is 67584, whatever their size: sqrt(16 Gi / 1 Ki × 16) = 16384 is less.
        let marks = Kernel::new(Bytes::mebi(16 * 1024));
        assert_eq!(marks.watermark_min, Bytes(67_584 * 1024));
        assert_eq!(marks.watermark_low, Bytes(67_584 * 1024 + 17_301_504));
    }
}
