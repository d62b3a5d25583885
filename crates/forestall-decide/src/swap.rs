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
        .map(|(index, leaf)| movable(leaf) - allowed(sample, index))
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
    fn swap_in_memory_frees_half_of_what_it_takes() {
        let mut sample = node();
        sample.node.swap_is_zram = true;
        assert_eq!(rooms(&sample), (350, 300));
    }
}
