//! Memory without a process: what a memory-backed directory keeps when those who filled it have ended, in a pod or on the
//! host.
//!
//! No kill gives it back. Whoever happens to grow next would be killed in its stead, so it is named instead: it is the
//! culprit as long as it holds more of the last minute's growth than the one who grows now. What was filled before that, by
//! an init container say, is part of the node as it is and shields nobody.

use crate::decision::{Culprit, Target};
use crate::history::{History, Scope};
use crate::input::{GroupId, GroupKind, Sample};
use crate::tree::{children, is_within};
use crate::units::Bytes;

/// The culprit, or the orphaned memory that explains more than it does.
pub(crate) fn blame_orphan(
    sample: &Sample,
    history: &History,
    scope: Option<GroupId>,
    culprit: Culprit,
    noise: Bytes,
) -> Culprit {
    let Target::Group(id) = culprit.target else {
        return culprit;
    };
    let Some(grower) = history.group(id) else {
        return culprit;
    };
    let least = grower.filled().max(noise);
    let largest = (0..sample.groups.len())
        .filter(|index| is_within(sample, *index, scope))
        .filter_map(|index| Some((orphaned(sample, history, index)?, index)))
        .filter(|(bytes, _)| *bytes > least)
        .max();
    let Some((grown, group)) = largest.and_then(|(bytes, index)| Some((bytes, sample.groups.get(index)?)))
    else {
        return culprit;
    };
    Culprit {
        target: Target::Group(group.id),
        grown,
        protection: group.protection,
        ..culprit
    }
}

/// What the group at `index` was filled with that no process of it holds: a container or service without processes, or what
/// a pod holds beyond its containers and a slice beyond its services, the ended ones' included.
fn orphaned(sample: &Sample, history: &History, index: usize) -> Option<Bytes> {
    let group = sample.groups.get(index)?;
    let own = history.group(group.id)?;
    let filled = own.filled();
    match group.kind {
        GroupKind::Container(_) | GroupKind::Host if group.leaf && !group.populated => Some(filled),
        // A process right in a slice (cgroup v1 allows it) may be the one that holds it.
        GroupKind::Host if group.leaf || lives_in(sample, group.id) => None,
        GroupKind::Pod(_) | GroupKind::Host => {
            let of_containers = children(sample, index)
                .filter_map(|child| history.group(child.id))
                .map(Scope::filled)
                .sum();
            Some(filled - of_containers)
        }
        _ => None,
    }
}

fn lives_in(sample: &Sample, home: GroupId) -> bool {
    sample.processes.iter().any(|process| process.group == Some(home))
}
