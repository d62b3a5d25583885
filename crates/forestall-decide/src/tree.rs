//! Walking the groups of a sample, which stand in preorder.

use crate::input::{GroupId, GroupSample, Sample};

/// The group at `index` lies in `scope`, or is it; everything lies in the machine.
pub(crate) fn is_within(sample: &Sample, index: usize, scope: Option<GroupId>) -> bool {
    let Some(scope) = scope else { return true };
    let mut at = Some(index);
    while let Some(group) = at.and_then(|at| sample.groups.get(at)) {
        if group.id == scope {
            return true;
        }
        // A parent stands before its child, so this ends; a malformed sample ends it too.
        at = group
            .parent
            .map(|parent| parent as usize)
            .filter(|parent| at.is_some_and(|at| *parent < at));
    }
    false
}

/// The groups right below the one at `index`.
pub(crate) fn children(sample: &Sample, index: usize) -> impl Iterator<Item = &GroupSample> {
    // Everything below stands right behind, so the first one that does not lie below ends it.
    let behind = sample.groups.iter().skip(index + 1);
    let below = behind.take_while(move |group| group.parent.is_some_and(|at| at as usize >= index));
    below.filter(move |group| group.parent.is_some_and(|at| at as usize == index))
}
