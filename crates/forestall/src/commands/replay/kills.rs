//! The kernel's own kills, as its counters tell them: whose, and at which limit.

use forestall_decide::{Bytes, GroupId, GroupKind, GroupSample, LimitHits, Moment, Sample, Span};

/// Where the kernel does not tell whose limit it was, a cgroup that was seen this near to its own (permille of it) was at it.
const AT_LIMIT_PERMILLE: u64 = 900;
/// The kernel counts the limit first, writes its report, and counts the kill then.
const REPORT_TAKES: Span = Span::secs(5);

/// The kernel has killed.
#[derive(Clone, Debug)]
pub(super) struct KernelKill {
    pub(super) at: Moment,
    pub(super) unix_micros: u64,
    pub(super) processes: u64,
    /// The innermost cgroups that count it; nobody where the kernel keeps no such count.
    pub(super) groups: Vec<GroupId>,
    /// The pod, container or service whose own limit it was, or the pod of a container that is gone: nobody else's end would
    /// have prevented it.
    pub(super) own_limit: Option<GroupId>,
}

impl KernelKill {
    /// When somebody was last killed at this one's wall before it, as far as these tell.
    pub(super) fn before_at_wall(&self, all: &[Self]) -> Option<Moment> {
        let same = |other: &&Self| other.own_limit == self.own_limit && other.at < self.at;
        all.iter().rev().find(same).map(|other| other.at)
    }
}

/// The counters, from look to look.
#[derive(Debug, Default)]
pub(super) struct Kills {
    machine: Option<u64>,
    before: Vec<Known>,
}

/// What is remembered of a cgroup.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: GroupId,
    kills: u64,
    current: Bytes,
    hits: LimitHits,
    /// When its own limit was met last, or that of a container of this pod.
    hit_at: Option<Moment>,
}

impl Kills {
    /// Whether the kernel has killed since the sample before.
    pub(super) fn look(&mut self, at: Moment, unix_micros: u64, sample: &Sample) -> Option<KernelKill> {
        let total = sample.node.oom_kills;
        let before = self.machine.replace(total);
        let fresh = before.map_or(0, |before| total.saturating_sub(before));
        let seen: Vec<Known> = (0..sample.groups.len())
            .filter_map(|index| self.follow(at, index, sample))
            .collect();
        let found = (fresh > 0).then(|| self.describe(at, unix_micros, fresh, sample, &seen));
        self.before = seen;
        found
    }

    /// What was known of the group at this place, which mostly is the one it had.
    fn known(&self, index: usize, id: GroupId) -> Option<&Known> {
        let same = self.before.get(index).filter(|known| known.id == id);
        same.or_else(|| self.before.iter().find(|known| known.id == id))
    }

    fn follow(&self, at: Moment, index: usize, sample: &Sample) -> Option<Known> {
        let group = sample.groups.get(index)?;
        let before = self.known(index, group.id);
        let is_hit = before.is_some_and(|before| match (before.hits, group.limit_hits) {
            (LimitHits::Ooms { own, within }, LimitHits::Ooms { own: o, within: w }) => {
                let of_pod = matches!(group.kind, GroupKind::Pod(_)) && w > within;
                o > own || of_pod
            }
            (LimitHits::Failures(before), LimitHits::Failures(now)) => now > before,
            _ => false,
        });
        Some(Known {
            id: group.id,
            kills: group.oom_kills,
            current: group.current,
            hits: group.limit_hits,
            hit_at: if is_hit {
                Some(at)
            } else {
                before.and_then(|before| before.hit_at)
            },
        })
    }

    fn describe(
        &self,
        at: Moment,
        unix_micros: u64,
        processes: u64,
        sample: &Sample,
        seen: &[Known],
    ) -> KernelKill {
        let risen: Vec<(usize, &GroupSample, Known)> = sample
            .groups
            .iter()
            .enumerate()
            .filter_map(|(index, group)| {
                let known = self.known(index, group.id)?;
                (group.oom_kills > known.kills).then_some((index, group, *known))
            })
            .collect();
        let is_above = |index: usize| {
            let parent = |group: &GroupSample| group.parent.map(|parent| parent as usize);
            risen.iter().any(|(_, group, _)| parent(group) == Some(index))
        };
        let was_near = |group: &GroupSample, known: &Known| {
            let held = known.current.max(group.current);
            let limit = group.limit.bytes();
            limit.is_some_and(|limit| held >= limit.permille(AT_LIMIT_PERMILLE))
        };
        let was_hit = |index: usize| {
            let hit_at = seen.get(index).and_then(|known| known.hit_at);
            hit_at.is_some_and(|hit| at.since(hit) <= REPORT_TAKES)
        };
        // A parent stands before its children, so the last one at its limit is the innermost.
        let at_limit = risen.iter().rev().find(|(index, group, known)| {
            let theirs = !matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
            theirs
                && match group.limit_hits {
                    LimitHits::Ooms { .. } => was_hit(*index),
                    LimitHits::Failures(_) => was_hit(*index) && was_near(group, known),
                    LimitHits::Unknown => was_near(group, known),
                }
        });
        KernelKill {
            at,
            unix_micros,
            processes,
            groups: risen
                .iter()
                .filter(|(index, _, _)| !is_above(*index))
                .map(|(_, group, _)| group.id)
                .collect(),
            own_limit: at_limit.map(|(_, group, _)| group.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use forestall_decide::{Limit, NodeSample, Qos};

    use super::*;

    /// `kubepods` with a pod of one container that may have 100 MiB and has `current`; all count the kills.
    fn sample(kills: u64, current: u64) -> Sample {
        let group = |id, parent, kind, limit| GroupSample {
            id: GroupId(id),
            parent,
            kind,
            limit,
            current: Bytes::mebi(current),
            oom_kills: kills,
            ..GroupSample::default()
        };
        Sample {
            node: NodeSample {
                oom_kills: 7 + kills,
                ..NodeSample::default()
            },
            groups: vec![
                group(1, None, GroupKind::Kubepods, Limit::Bytes(Bytes::mebi(100))),
                group(2, Some(0), GroupKind::Pod(Qos::Burstable), Limit::Max),
                group(
                    3,
                    Some(1),
                    GroupKind::Container(Qos::Burstable),
                    Limit::Bytes(Bytes::mebi(100)),
                ),
            ],
            processes: Vec::new(),
        }
    }

    #[test]
    fn a_kill_at_a_containers_own_limit_is_told_from_one_of_the_nodes() {
        for (current, own_limit) in [(95, Some(GroupId(3))), (50, None)] {
            let mut kills = Kills::default();
            // Kills before the first look are nobody's.
            assert!(kills.look(Moment(1), 1, &sample(0, current)).is_none());
            assert!(kills.look(Moment(2), 2, &sample(0, current)).is_none());
            // By the time it is seen, the victim's memory is gone.
            let kill = kills.look(Moment(3), 3, &sample(1, 1)).expect("it is seen");
            assert_eq!((kill.processes, kill.groups), (1, vec![GroupId(3)]));
            assert_eq!(kill.own_limit, own_limit);
        }
    }

    #[test]
    fn the_kernels_own_count_of_limits_goes_before_how_full_they_were() {
        let looks = |hits: [LimitHits; 3], is_gone: bool| {
            let mut kills = Kills::default();
            let mut before = sample(0, 95);
            for group in &mut before.groups {
                group.limit_hits = LimitHits::Ooms { own: 0, within: 0 };
            }
            assert!(kills.look(Moment(1), 1, &before).is_none());
            let mut after = sample(1, 1);
            for (group, hits) in after.groups.iter_mut().zip(hits) {
                group.limit_hits = hits;
            }
            if is_gone {
                after.groups.pop();
            }
            kills.look(Moment(2), 2, &after).expect("it is seen").own_limit
        };
        let none = LimitHits::Ooms { own: 0, within: 0 };
        let own = LimitHits::Ooms { own: 1, within: 1 };
        let below = LimitHits::Ooms { own: 0, within: 1 };
        // The machine's end, however full the container was; the container's; that of one that is gone; that of kubepods.
        assert_eq!(looks([none, none, none], false), None);
        assert_eq!(looks([below, below, own], false), Some(GroupId(3)));
        assert_eq!(looks([below, below, own], true), Some(GroupId(2)));
        assert_eq!(looks([own, none, none], false), None);
    }
}
