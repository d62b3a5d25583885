//! Rules from public documents, kept runnable as they were written, with their faults: they read one figure and act.
//! Two things they did not write are added: a pod that may not be touched is not, and neither is one whose figures cannot be true.

use crate::decision::Target;
use crate::input::{GroupKind, GroupSample, Qos, Sample};
use crate::kill::is_too_large;
use crate::pods::Pods;
use crate::policy::{Policy, Preset};
use crate::rung::Rung;
use crate::units::Bytes;
use crate::victim::may_touch;

/// What a preset wants done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) rung: Rung,
    pub(crate) target: Option<Target>,
    pub(crate) rule: &'static str,
}

/// Asks the preset in force; `None` for forestall's own rules, and when the preset is content.
pub(crate) fn judge_preset(sample: &Sample, pods: &Pods, policy: &Policy) -> Option<Wish> {
    let node = &sample.node;
    match policy.preset {
        Preset::Forestall => None,
        Preset::Gist => (node.available < policy.gist_available_bytes_min).then_some(Wish {
            rung: Rung::Sysrq,
            target: Some(Target::Node),
            rule: "gist: available below minimum",
        }),
        Preset::WarStoryA => {
            // Its "actually used" is total − free − cache; its cache is the page cache as meminfo has it.
            let used = node.total - node.free - node.cached;
            let rule = if used > node.total.permille(policy.war_story_used_permille) {
                "war-story-a: actually used above its share"
            } else if node.cached > node.total.permille(policy.war_story_cache_permille) {
                "war-story-a: page cache above its share"
            } else {
                return None;
            };
            Some(Wish {
                rung: Rung::Kill,
                target: lowest_priority(sample, pods),
                rule,
            })
        }
    }
}

/// Low priority first: BestEffort before Burstable before Guaranteed, the largest among equals. Whoever is known to be a pod
/// that may not be touched is no choice, however old the news of it are (rule 5).
fn lowest_priority(sample: &Sample, pods: &Pods) -> Option<Target> {
    let node = &sample.node;
    let rank = |kind: GroupKind| match kind {
        GroupKind::Container(Qos::BestEffort) => Some(3),
        GroupKind::Container(Qos::Burstable) => Some(2),
        GroupKind::Container(Qos::Guaranteed) => Some(1),
        _ => None,
    };
    let is_spared = |group: &GroupSample| {
        pods.owning(sample, Target::Group(group.id))
            .is_some_and(|pod| may_touch(&pod).is_err())
    };
    sample
        .groups
        .iter()
        .filter(|group| group.protection.is_none() && group.populated && group.unreclaimable() > Bytes::ZERO)
        .filter(|group| rank(group.kind).is_some() && !is_spared(group))
        .filter(|group| !is_too_large(group.current, node))
        .filter_map(|group| {
            rank(group.kind).map(|rank| (rank, group.unreclaimable(), core::cmp::Reverse(group.id)))
        })
        .max()
        .map(|(_, _, id)| Target::Group(id.0))
}
