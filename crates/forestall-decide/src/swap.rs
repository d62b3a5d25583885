//! What swap can still take: the part of a wall's distance that is not there yet.
//!
//! Free swap is room only for memory that may go there. Locked memory may not, nor may that of a cgroup whose own
//! `memory.swap.max` is used up. The kubelet sets it to 0 for every container, unless it is told otherwise
//! (`memorySwap.swapBehavior: NoSwap`, and under `LimitedSwap` for all but burstable pods, who get a share), on nodes whose
//! swap is on. What the kubelet was told is not asked here: the limits themselves are in the sample, and they are what holds.

use crate::input::{GroupSample, Sample};
use crate::tree::{is_within, lineage};
use crate::units::Bytes;

/// What swap can still take of the memory of the group at this place of the sample (`None`: the machine). Swap in memory (zram) frees only part of
/// what it takes: half is reckoned with, the ratio that zram's own documentation plans with (2:1).
pub(crate) fn swap_room(sample: &Sample, place: Option<usize>) -> Bytes {
    let node = &sample.node;
    if node.swap_free == Bytes::ZERO {
        return Bytes::ZERO;
    }
    let scope = place.and_then(|place| sample.groups.get(place));
    let anon = scope.map_or(node.anon - node.unevictable, movable);
    let id = scope.map(|scope| scope.id);
    // Everything below stands right behind. A parent's own processes are few and counted as free to move.
    let stuck = (place.unwrap_or(0)..sample.groups.len())
        .take_while(|index| is_within(sample, *index, id))
        .filter_map(|index| Some((index, sample.groups.get(index).filter(|group| group.leaf)?)))
        .map(|(index, leaf)| {
            // What `memory.min` keeps is kept from whoever reclaims for a limit above, and from nobody's own.
            let kept_here = place != Some(index);
            let free = if kept_here {
                leaf.current - leaf.min
            } else {
                leaf.current
            };
            movable(leaf) - allowed(sample, index).min(free)
        })
        .sum();
    let free = node.swap_free;
    let allowance = scope.map_or(free, |scope| own_allowance(scope, free));
    let taken = allowance.min(anon - stuck);
    if node.swap_is_zram {
        taken.permille(500)
    } else {
        // What zswap takes stays in memory, compressed, until its pool is full; then it goes to the device.
        taken - taken.permille(500).min(node.zswap_room)
    }
}

/// What the group at this place (`None`: the machine) holds in memory that neither reclaim nor swap can take; nothing where there is no
/// swap. A wall's distance shrinks by its growth, and not by that of memory which may still go to swap: that brings along the
/// room that it takes, until swap is as good as used up.
pub(crate) fn beside_swap(sample: &Sample, place: Option<usize>) -> Option<Bytes> {
    let node = &sample.node;
    if node.swap_total == Bytes::ZERO {
        return None;
    }
    let resident = match place {
        None => node.unreclaimable() - (node.swap_total - node.swap_free),
        Some(place) => {
            let group = sample.groups.get(place)?;
            group.unreclaimable() - group.swap_current
        }
    };
    Some(resident - swap_room(sample, place))
}

/// Anonymous memory that is not locked. `unevictable` also counts locked files, which errs on the safe side.
fn movable(group: &GroupSample) -> Bytes {
    group.anon - group.unevictable
}

/// How much more the group at `index` may have in swap, by its own limit and those above it.
fn allowed(sample: &Sample, index: usize) -> Bytes {
    let free = sample.node.swap_free;
    lineage(sample, index).fold(free, |least, group| least.min(own_allowance(group, free)))
}

fn own_allowance(group: &GroupSample, free: Bytes) -> Bytes {
    let limit = group.swap_limit.bytes();
    limit.map_or(free, |limit| free.min(limit - group.swap_current))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{GroupId, GroupKind, NodeSample, Qos};
    use crate::units::Limit;

    const CONTAINER: usize = 1;

    /// 1000 MiB of swap; `kubepods` with one container that holds 600 MiB, and 100 MiB on the host.
    fn node() -> Sample {
        let group = |id, parent, kind| GroupSample {
            id: GroupId(id),
            parent,
            kind,
            leaf: parent.is_some(),
            populated: true,
            current: Bytes::mebi(600),
            anon: Bytes::mebi(600),
            ..GroupSample::default()
        };
        Sample {
            node: NodeSample {
                anon: Bytes::mebi(700),
                swap_total: Bytes::mebi(1000),
                swap_free: Bytes::mebi(1000),
                ..NodeSample::default()
            },
            groups: vec![
                group(1, None, GroupKind::Kubepods),
                group(2, Some(0), GroupKind::Container(Qos::BestEffort)),
            ],
            processes: vec![],
        }
    }

    /// The room of the machine and that of `kubepods`, MiB.
    fn rooms(sample: &Sample) -> (u64, u64) {
        let mebi = |bytes: Bytes| bytes.0 >> 20;
        (mebi(swap_room(sample, None)), mebi(swap_room(sample, Some(0))))
    }

    #[test]
    fn what_may_move_is_room() {
        assert_eq!(rooms(&node()), (700, 600));
        let mut full = node();
        full.node.swap_free = Bytes::mebi(50);
        assert_eq!(rooms(&full), (50, 50));
        full.node.swap_free = Bytes::ZERO;
        assert_eq!(rooms(&full), (0, 0));
    }

    #[test]
    fn a_container_that_may_not_swap_leaves_room_for_the_others_alone() {
        let mut sample = node();
        sample.groups[CONTAINER].swap_limit = Limit::Bytes(Bytes::ZERO);
        assert_eq!(rooms(&sample), (100, 0));
        // One with an allowance may use what is left of it.
        sample.groups[CONTAINER].swap_limit = Limit::Bytes(Bytes::mebi(90));
        sample.groups[CONTAINER].swap_current = Bytes::mebi(20);
        assert_eq!(rooms(&sample), (170, 70));
    }

    #[test]
    fn what_memory_min_keeps_stays_unless_its_own_limit_is_reached() {
        let mut sample = node();
        sample.groups[CONTAINER].min = Bytes::mebi(450);
        // 150 of its 600 MiB, and the host's 100.
        assert_eq!(rooms(&sample), (250, 150));
        assert_eq!(swap_room(&sample, Some(CONTAINER)), Bytes::mebi(600));
    }

    #[test]
    fn locked_memory_stays() {
        let mut sample = node();
        sample.node.unevictable = Bytes::mebi(500);
        for group in &mut sample.groups {
            group.unevictable = Bytes::mebi(500);
        }
        assert_eq!(rooms(&sample), (200, 100));
    }

    #[test]
    fn what_zswap_takes_stays_in_memory_by_half_until_its_pool_is_full() {
        let mut sample = node();
        sample.node.zswap_room = Bytes::mebi(200);
        assert_eq!(rooms(&sample), (500, 400));
        sample.node.zswap_room = Bytes::mebi(900);
        assert_eq!(rooms(&sample), (350, 300));
    }

    #[test]
    fn the_least_of_the_allowances_on_the_way_up_counts() {
        // LimitedSwap: the container may have 300 MiB in swap, its pod 250, and 60 of these are there already.
        let mut sample = node();
        let mut pod = sample.groups[CONTAINER];
        (pod.id, pod.kind, pod.leaf) = (GroupId(3), GroupKind::Pod(Qos::Burstable), false);
        pod.swap_limit = Limit::Bytes(Bytes::mebi(250));
        pod.swap_current = Bytes::mebi(60);
        sample.groups.insert(1, pod);
        let container = &mut sample.groups[2];
        (container.parent, container.kind) = (Some(1), GroupKind::Container(Qos::Burstable));
        container.swap_limit = Limit::Bytes(Bytes::mebi(300));
        container.swap_current = Bytes::mebi(60);
        // 190 of the container's 600 may go, at each of the levels, and the host's 100.
        assert_eq!(rooms(&sample), (290, 190));
        assert_eq!(swap_room(&sample, Some(1)), Bytes::mebi(190));
        assert_eq!(swap_room(&sample, Some(2)), Bytes::mebi(190));
    }

    #[test]
    fn growth_that_may_go_to_swap_brings_nobody_nearer_until_swap_is_as_good_as_used_up() {
        let beside = |anon, kernel, swap_free| {
            let mut sample = node();
            sample.node.total = Bytes::mebi(4000);
            sample.node.anon = Bytes::mebi(anon + 100);
            sample.node.free = Bytes::mebi(4000 - anon - 100 - kernel);
            sample.node.swap_free = Bytes::mebi(swap_free);
            let used = Bytes::mebi(1000 - swap_free);
            for group in &mut sample.groups {
                group.anon = Bytes::mebi(anon);
                group.current = Bytes::mebi(anon + kernel);
                group.swap_current = used;
            }
            let of = |place| beside_swap(&sample, place).map(|bytes| bytes.0 >> 20);
            [of(None), of(Some(0)), of(Some(CONTAINER))]
        };
        let alike = |mebi| [Some(mebi); 3];
        assert_eq!(beside(600, 50, 1000), alike(50));
        assert_eq!(beside(800, 50, 1000), alike(50));
        // What is kernel's stays, whatever swap there is.
        assert_eq!(beside(600, 150, 1000), alike(150));
        // The host's 100 MiB may go, too: 1700 of anonymous memory and 1000 of swap.
        assert_eq!(beside(1600, 50, 1000), [Some(750), Some(650), Some(650)]);
        assert_eq!(beside(1700, 50, 1000), [Some(850), Some(750), Some(750)]);
        // What moved to swap is neither freed nor new.
        assert_eq!(beside(1300, 50, 600), [Some(850), Some(750), Some(750)]);
    }

    #[test]
    fn growth_that_may_not_go_to_swap_comes_nearer_and_without_swap_there_is_nothing_to_tell() {
        let mut sample = node();
        sample.groups[CONTAINER].swap_limit = Limit::Bytes(Bytes::ZERO);
        assert_eq!(beside_swap(&sample, Some(0)), Some(Bytes::mebi(600)));
        sample.node.swap_total = Bytes::ZERO;
        sample.node.swap_free = Bytes::ZERO;
        assert_eq!(beside_swap(&sample, Some(0)), None);
    }

    #[test]
    fn swap_in_memory_frees_half_of_what_it_takes() {
        let mut sample = node();
        sample.node.swap_is_zram = true;
        assert_eq!(rooms(&sample), (350, 300));
    }
}
