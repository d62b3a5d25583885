//! The mildest rung: take cold page cache where it lies, so much as is needed and no more.
//!
//! Against a kubelet wall it keeps the working set below the eviction threshold, though nothing is short: the kubelet
//! counts active page cache as used. At the kernel's own walls it gives nothing: what it could free counts as left there
//! already, and the kernel takes it by itself before it kills. What it refuses to do: hide a leak from the kubelet while
//! a kernel or kubepods wall comes near, or touch a cgroup that is protected or was told to be left alone.

use crate::decision::{Target, WallKind, WallReading};
use crate::flight::Flights;
use crate::input::{GroupId, GroupKind, GroupSample, Sample};
use crate::pods::Pods;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, Span};

/// How long before the kubelet's threshold its working set is lowered. As late as can be, because reclaim deactivates pages
/// only once they outnumber the inactive ones: before that it drops cold cache and changes nothing that the kubelet sees.
const KUBELET_AHEAD: Span = Span::secs(1);
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

/// Whether reclaim is due at this wall. `leak_is_near`: some kernel or kubepods wall is alarmed. `room`: so much is kept free before
/// the kubelet's threshold.
pub(crate) fn judge_reclaim(
    reading: &WallReading,
    sample: &Sample,
    flights: &Flights,
    pods: &Pods,
    leak_is_near: bool,
    room: Bytes,
) -> Option<Due> {
    let size = reading.limit.bytes()?;
    match reading.wall {
        WallKind::KubeletNode | WallKind::KubeletAllocatable => {
            if leak_is_near && holds(Rule::NoHiding) {
                return None;
            }
            let wanted = reading.growth_fast.over(KUBELET_AHEAD).max(room);
            let target = richest(sample, reading.scope, flights, pods, |group| group.active_file)?;
            if reading.distance > wanted {
                return None;
            }
            // Twice the room, so that it is asked for seldom and not at every look.
            let bytes = (wanted + wanted - reading.distance)
                .min(target.active_file)
                .min(size.permille(ORDER_PERMILLE));
            (bytes > Bytes::ZERO).then_some(Due {
                target: target.id,
                bytes,
                rule: "kubelet-sees-cache",
            })
        }
        WallKind::Kernel | WallKind::Kubepods | WallKind::Pod | WallKind::Container => None,
    }
}

/// Whoever opted out, or is never touched, is left alone altogether, its cache too (rule 5). That a pod would come straight back, or
/// never, is a reason not to end it, and none to leave it its cache.
fn is_spared(sample: &Sample, pods: &Pods, group: &GroupSample) -> bool {
    let owner = pods.owning(sample, Target::Group(group.id));
    let by_pod = owner.is_some_and(|it| it.pod.standing.vetoed || it.pod.is_critical());
    (group.protection.is_some() || by_pod) && holds(Rule::ProtectedCache)
}

/// The leaf below `scope` that holds most of what is asked for and may be asked.
fn richest<'a>(
    sample: &'a Sample,
    scope: Option<GroupId>,
    flights: &Flights,
    pods: &Pods,
    held: fn(&GroupSample) -> Bytes,
) -> Option<&'a GroupSample> {
    let kubepods_only = scope.is_some();
    sample
        .groups
        .iter()
        .filter(|group| group.leaf && (!kubepods_only || matches!(group.kind, GroupKind::Container(_))))
        .filter(|group| !flights.concerns(Rung::Reclaim, Target::Group(group.id)))
        .filter(|group| held(group) > Bytes::ZERO && !is_spared(sample, pods, group))
        .max_by_key(|group| (held(group), core::cmp::Reverse(group.id)))
}
