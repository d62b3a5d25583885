//! The mildest rung: take cold page cache where it lies, so much as is needed and no more.
//!
//! Against a kubelet wall it keeps the working set below the eviction threshold, though nothing is short: the kubelet
//! counts active page cache as used. At the kernel's own walls it gives nothing: what it could free counts as left there
//! already, and the kernel takes it by itself before it kills. What it refuses to do: hide a leak from the kubelet while
//! a kernel or kubepods wall comes near, or touch a cgroup that is protected or was told to be left alone.

use crate::decision::{PassedOver, Target, WallReading, WhyNot};
use crate::flight::Flights;
use crate::input::{GroupId, GroupKind, GroupSample, Sample};
use crate::kubelet::{LOOK, Signal, memory_available};
use crate::pods::Pods;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, Span};
use crate::wall::Lines;

/// How long before the kubelet's threshold its working set is lowered. As late as can be, because reclaim deactivates pages
/// only once they outnumber the inactive ones: before that it drops cold cache and changes nothing that the kubelet sees.
const KUBELET_AHEAD: Span = Span::secs(1);
/// Of a soft threshold's grace period so much is left when it is cleared: two looks of the kubelet's, and half of one.
const SOFT_AHEAD: Span = Span(LOOK.0 * 5 / 2);
/// So much (permille of the wall) is kept before a threshold of the kubelet's where nothing grows fast: what it counts at its own look is a little
/// more than what is read between two of them. It is not what an eviction needs: cache is given back within milliseconds.
const ROOM_PERMILLE: u64 = 25;
/// A cgroup that has less active cache than this (permille of the wall) is not asked: it moves nothing that the kubelet looks at.
const WORTH_PERMILLE: u64 = 1;
/// One order at the most, in permille of the wall; the act thread cuts it into steps of 16 MiB. A reader that takes 150 MiB/s
/// has used up a tenth of a small node within half a second, and was asked again at every look.
const ORDER_PERMILLE: u64 = 250;

/// A reclaim that is due: from whom, how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) target: GroupId,
    pub(crate) bytes: Bytes,
    pub(crate) rule: &'static str,
}

/// What reclaim has to keep a working set away from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brink {
    /// Beyond this it meets a threshold of the kubelet's.
    pub(crate) limit: Bytes,
    /// So much is kept free before it.
    pub(crate) room: Bytes,
}

impl Lines<'_> {
    /// The first of the thresholds of this signal, at its wall, that may act soon. A soft one is cleared no sooner than it has to be: until its grace
    /// period ends what was taken comes back many times, and once it is not met at one look of the kubelet's the period begins
    /// anew. Where nobody knows how much of it is left, that is at once.
    pub(crate) fn pressing(self, signal: Signal, reading: &WallReading, room: Bytes) -> Option<Brink> {
        // The wall stands at the first of them all.
        let first = self.of(signal).map(|line| line.value).max()?;
        let soon = self.of(signal).filter(|line| line.left.earliest <= SOFT_AHEAD);
        let value = soon.map(|line| line.value).max()?;
        Some(Brink {
            limit: reading.limit.bytes()? + (first - value),
            room,
        })
    }
}

/// Whether reclaim is due before this brink at a wall. `leak_is_near`: some kernel or kubepods wall is alarmed. Where it is, and there is nobody
/// else to ask, those whom it has to leave alone go to `passed_over`.
pub(crate) fn judge_reclaim(
    reading: &WallReading,
    brink: Brink,
    sample: &Sample,
    flights: &Flights,
    pods: &Pods,
    leak_is_near: bool,
    passed_over: &mut Vec<PassedOver>,
) -> Option<Due> {
    if leak_is_near && holds(Rule::NoHiding) {
        return None;
    }
    let Brink { limit, room } = brink;
    let (used, active_file) = match reading.scope {
        None => {
            let node = &sample.node;
            (node.total - memory_available(node), node.active_file)
        }
        Some(id) => {
            let group = sample.groups.iter().find(|group| group.id == id)?;
            (group.working_set(), group.active_file)
        }
    };
    let distance = limit - used;
    let room = room.min(limit.permille(ROOM_PERMILLE));
    let wanted = reading.growth_fast.over(KUBELET_AHEAD).max(room);
    let beyond = used - limit;
    // Where all of it would not do, taking it saves nobody.
    if distance > wanted || active_file < beyond {
        return None;
    }
    let those = || askable(sample, reading.scope, pods).map(|group| (group, Target::Group(group.id)));
    let richest = those()
        .filter(|(_, target)| !flights.concerns(Rung::Reclaim, *target))
        .max_by_key(|(group, _)| (group.active_file, core::cmp::Reverse(group.id)));
    let due = richest.and_then(|(group, _)| {
        // Twice the room, so that it is asked for seldom and not at every look.
        let bytes = (beyond + wanted + wanted - distance)
            .min(group.active_file)
            .min(limit.permille(ORDER_PERMILLE));
        (bytes >= limit.permille(WORTH_PERMILLE)).then_some(Due {
            target: group.id,
            bytes,
            rule: "kubelet-sees-cache",
        })
    });
    if due.is_none() {
        let resting = those().filter(|(_, target)| flights.rests(*target));
        passed_over
            .extend(resting.map(|(_, target)| reading.pass_over(Rung::Reclaim, target, WhyNot::LeftAlone)));
    }
    due
}

/// Whoever opted out, or is never touched, is left alone altogether, its cache too (rule 5). That a pod would come straight back, or
/// never, is a reason not to end it, and none to leave it its cache.
fn is_spared(sample: &Sample, pods: &Pods, group: &GroupSample) -> bool {
    let owner = pods.owning(sample, Target::Group(group.id));
    let by_pod = owner.is_some_and(|it| it.pod.standing.vetoed || it.pod.is_critical());
    (group.protection.is_some() || by_pod) && holds(Rule::ProtectedCache)
}

/// The leaves below `scope` that have what is asked for and may be asked.
fn askable<'a>(
    sample: &'a Sample,
    scope: Option<GroupId>,
    pods: &Pods,
) -> impl Iterator<Item = &'a GroupSample> {
    let kubepods_only = scope.is_some();
    sample
        .groups
        .iter()
        .filter(move |group| group.leaf && (!kubepods_only || matches!(group.kind, GroupKind::Container(_))))
        .filter(|group| group.active_file > Bytes::ZERO && !is_spared(sample, pods, group))
}
