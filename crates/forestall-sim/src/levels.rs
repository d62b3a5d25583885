//! The QoS levels' own cgroups, where the kubelet gives them limits (`--qos-reserved=memory=…`): best-effort and burstable pods may
//! together not take what better ones request.
//!
//! Such a limit kills across the pods of its level, as that of `kubepods` does across all. It follows the requests at once, which a
//! kubelet does when a pod comes or goes and every minute. It refuses to exist where nobody asked for it: then a node's pods
//! stand right below `kubepods`, and nobody looks here.

use forestall_decide::{Bytes, GroupId, Moment, Qos, WallKind};

use crate::cast::{Hits, State};
use crate::kernel::Scope;
use crate::memory::{Line, Part};
use crate::node::{HOST, Node};

/// Those that have a cgroup of their own; guaranteed pods stand right below `kubepods`.
pub(crate) const LEVELS: [Qos; 2] = [Qos::Burstable, Qos::BestEffort];

/// The number of a level's cgroup, on every node.
pub(crate) const fn id(level: Qos) -> Option<GroupId> {
    match level {
        Qos::Burstable => Some(GroupId(2)),
        Qos::BestEffort => Some(GroupId(3)),
        Qos::Guaranteed => None,
    }
}

/// A level's cgroup is meant.
pub(crate) fn is_one(group: Option<GroupId>) -> bool {
    LEVELS.into_iter().any(|level| id(level) == group)
}

/// A level whose limit is met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    level: Qos,
    limit: Bytes,
    /// By how much it is exceeded.
    pub(crate) over: Bytes,
}

/// What the kernel counts at one level.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Its kills of all containers that were ever in the level.
    pub(crate) oom_kills: u64,
    pub(crate) hits: Hits,
}

/// What it counts at all levels.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Levels {
    burstable: Counts,
    best_effort: Counts,
}

impl Levels {
    pub(crate) const fn of(&self, level: Qos) -> Option<&Counts> {
        match level {
            Qos::Burstable => Some(&self.burstable),
            Qos::BestEffort => Some(&self.best_effort),
            Qos::Guaranteed => None,
        }
    }

    const fn of_mut(&mut self, level: Qos) -> Option<&mut Counts> {
        match level {
            Qos::Burstable => Some(&mut self.burstable),
            Qos::BestEffort => Some(&mut self.best_effort),
            Qos::Guaranteed => None,
        }
    }
}

impl Node {
    /// A level's limit: what `kubepods` may have, less the reserved share of what all better pods request (k/k
    /// `pkg/kubelet/cm/qos_container_manager_linux.go`, `setMemoryReserve`). A limit of nothing is not written.
    pub(crate) fn level_limit(&self, level: Qos) -> Option<Bytes> {
        let reserved = self.spec.qos_reserved_permille?;
        let all = self.kubelet.as_ref()?.config.kubepods_limit();
        let kept = |better| self.requested_by(better).permille(reserved);
        let limit = match level {
            Qos::Guaranteed => return None,
            Qos::Burstable => all - kept(Qos::Guaranteed),
            Qos::BestEffort => all - kept(Qos::Guaranteed) - kept(Qos::Burstable),
        };
        Some(limit).filter(|limit| *limit > Bytes::ZERO)
    }

    fn requested_by(&self, level: Qos) -> Bytes {
        let pods = self.pods.iter().skip(HOST + 1);
        let own = pods.filter(|pod| pod.qos == level);
        own.map(|pod| pod.request).sum()
    }

    /// What the pods of a level hold together.
    pub(crate) fn level_line(&self, level: Qos, parts: &[Part], now: Moment) -> Line {
        let nothing = Line {
            at: now,
            ..Line::default()
        };
        let pods = self.pods.iter().skip(HOST + 1);
        let own = pods.filter(|pod| pod.qos == level);
        let containers = own.flat_map(|pod| &pod.containers);
        containers.fold(nothing, |sum, container| sum.plus(&container.memory.line(parts)))
    }

    /// When a level with somebody to kill is full.
    pub(crate) fn level_contact(&self, now: Moment) -> Option<Moment> {
        self.spec.qos_reserved_permille?;
        let contact = |level| {
            let limit = self.level_limit(level).filter(|_| self.has_somebody(level))?;
            self.level_line(level, &Part::ALL, now).reaches(limit, now)
        };
        LEVELS.into_iter().filter_map(contact).min()
    }

    fn has_somebody(&self, level: Qos) -> bool {
        let mut pods = self.pods.iter().skip(HOST + 1).filter(|pod| pod.qos == level);
        pods.any(|pod| {
            let mut containers = pod.containers.iter();
            containers.any(|container| container.state == State::Running)
        })
    }

    /// The level whose limit is met, and of two the one that is exceeded by more.
    pub(crate) fn full_level(&self, now: Moment) -> Option<Full> {
        self.spec.qos_reserved_permille?;
        let full = |level: Qos| {
            let held = self.level_line(level, &Part::ALL, now).bytes(now);
            let limit = self.level_limit(level).filter(|limit| held >= *limit)?;
            self.has_somebody(level).then(|| Full {
                level,
                limit,
                over: held - limit,
            })
        };
        let [burstable, best_effort] = LEVELS.map(full);
        match (burstable, best_effort) {
            (Some(one), Some(other)) if other.over > one.over => Some(other),
            (one, other) => one.or(other),
        }
    }

    /// The kernel acts in a level that is full.
    pub(crate) fn meet_level(&mut self, full: Full, now: Moment) {
        let Full { level, limit, .. } = full;
        let cache = self.level_line(level, &Part::CACHE, now).bytes(now);
        let batch = Bytes(limit.0 / 256);
        self.reclaim_or_kill(Scope::Level(level), WallKind::Kubepods, limit, batch, cache, now);
    }

    /// The kernel killed somebody of this pod.
    pub(crate) fn count_kill_of_level(&mut self, at: usize) {
        if at != HOST
            && let Some(counts) = self.levels.of_mut(self.pods[at].qos)
        {
            counts.oom_kills += 1;
        }
    }

    /// A level's own limit, or one below it, led to a kill.
    pub(crate) fn count_hit_of_level(&mut self, level: Qos, own: bool) {
        if let Some(counts) = self.levels.of_mut(level) {
            counts.hits.own += u64::from(own);
            counts.hits.within += 1;
        }
    }
}
