//! Page cache that reclaim must not take: what `memory.min` keeps for whoever holds it.
//!
//! Under MemoryQoS the kubelet sets it for the requests of guaranteed pods, at their containers and at every level above
//! (KEP-2570, `memoryReservationPolicy: TieredReservation`). It holds against reclaim from above and not against a limit of
//! one's own. `memory.low` is no such promise: before it kills, the kernel takes that too. `memory.high` is no wall at all:
//! above it allocations are slowed down and nobody is killed. It refuses to read protection out of a level whose parent has
//! none.

use crate::history::History;
use crate::input::Sample;
use crate::units::Bytes;

/// Deeper than this no protection is looked for; a kubelet's levels are four.
const DEPTH_MAX: u8 = 8;

/// What is kept of the page cache below the group at this place of the sample (`None`: of the machine), against reclaim on
/// behalf of that one's limit.
pub(crate) fn kept_below(sample: &Sample, history: &History, place: Option<usize>) -> Bytes {
    if !history.keeps {
        return Bytes::ZERO;
    }
    if let Some(place) = place {
        return below(sample, place).map(|at| kept(sample, at, DEPTH_MAX)).sum();
    }
    let tops = history.roster.tops.iter();
    tops.map(|at| kept(sample, *at as usize, DEPTH_MAX)).sum()
}

/// So much of the group's cache as its other memory does not use up of its protection, and at least what those below it keep
/// (mm/memcontrol.c, `mem_cgroup_calculate_protection`; with `memory_recursiveprot`, as systemd mounts it, what no child
/// claims is kept for all of them).
fn kept(sample: &Sample, at: usize, depth: u8) -> Bytes {
    let Some(group) = sample.groups.get(at).filter(|group| group.min > Bytes::ZERO) else {
        return Bytes::ZERO;
    };
    let other = group.current - group.reclaimable();
    let own = (group.min - other).min(group.active_file + group.inactive_file);
    let of_children: Bytes = match depth.checked_sub(1) {
        Some(depth) => below(sample, at).map(|child| kept(sample, child, depth)).sum(),
        None => Bytes::ZERO,
    };
    own.max(of_children.min(group.min))
}

/// The places right below this one.
fn below(sample: &Sample, place: usize) -> impl Iterator<Item = usize> + '_ {
    // Everything below stands right behind, so the first one that does not lie below ends it.
    let parent = move |at: &usize| sample.groups.get(*at).and_then(|group| group.parent);
    (place + 1..sample.groups.len())
        .take_while(move |at| parent(at).is_some_and(|parent| parent as usize >= place))
        .filter(move |at| parent(at).is_some_and(|parent| parent as usize == place))
}
