//! The kernel's own kills, as its counters tell them: whose, and at which limit.

use forestall_decide::{Bytes, GroupId, GroupKind, GroupSample, Moment, Sample};

/// A cgroup that was seen this near to its limit (permille of it) was at it when the kernel killed.
const AT_LIMIT_PERMILLE: u64 = 900;

/// The kernel has killed.
#[derive(Clone, Debug)]
pub(super) struct KernelKill {
    pub(super) at: Moment,
    pub(super) unix_micros: u64,
    pub(super) processes: u64,
    /// The innermost cgroups that count it; nobody where the kernel keeps no such count.
    pub(super) groups: Vec<GroupId>,
    /// The pod, container or service whose own limit it was: nobody else's end would have prevented it.
    pub(super) own_limit: Option<GroupId>,
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
}

impl Kills {
    /// Whether the kernel has killed since the sample before.
    pub(super) fn look(&mut self, at: Moment, unix_micros: u64, sample: &Sample) -> Option<KernelKill> {
        let total = sample.node.oom_kills;
        let before = self.machine.replace(total);
        let fresh = before.map_or(0, |before| total.saturating_sub(before));
        let found = (fresh > 0).then(|| self.describe(at, unix_micros, fresh, sample));
        self.before.clear();
        self.before.extend(sample.groups.iter().map(|group| Known {
            id: group.id,
            kills: group.oom_kills,
            current: group.current,
        }));
        found
    }

    fn describe(&self, at: Moment, unix_micros: u64, processes: u64, sample: &Sample) -> KernelKill {
        let risen: Vec<(usize, &GroupSample, Known)> = sample
            .groups
            .iter()
            .enumerate()
            .filter_map(|(index, group)| {
                let known = self.before.iter().find(|known| known.id == group.id)?;
                (group.oom_kills > known.kills).then_some((index, group, *known))
            })
            .collect();
        let is_above = |index: usize| {
            let parent = |group: &GroupSample| group.parent.map(|parent| parent as usize);
            risen.iter().any(|(_, group, _)| parent(group) == Some(index))
        };
        // A parent stands before its children, so the last one at its limit is the innermost.
        let at_limit = risen.iter().rev().find(|(_, group, known)| {
            let theirs = !matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
            let limit = group.limit.bytes();
            theirs
                && limit.is_some_and(|limit| {
                    known.current.max(group.current) >= limit.permille(AT_LIMIT_PERMILLE)
                })
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
}
