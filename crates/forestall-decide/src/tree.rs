//! Walking the groups of a sample, which stand in preorder.

use crate::input::{GroupId, GroupSample, Sample};

/// The group at `index` and those above it.
pub(crate) fn lineage(sample: &Sample, index: usize) -> impl Iterator<Item = &GroupSample> {
    let mut at = Some(index);
    core::iter::from_fn(move || {
        let here = at?;
        let group = sample.groups.get(here)?;
        // A parent stands before its child, so this ends; a malformed sample ends it too.
        at = group
            .parent
            .map(|parent| parent as usize)
            .filter(|parent| *parent < here);
        Some(group)
    })
}

/// The group at `index` lies in `scope`, or is it; everything lies in the machine.
pub(crate) fn is_within(sample: &Sample, index: usize, scope: Option<GroupId>) -> bool {
    scope.is_none_or(|scope| lineage(sample, index).any(|group| group.id == scope))
}

/// The groups right below the one at `index`.
pub(crate) fn children(sample: &Sample, index: usize) -> impl Iterator<Item = &GroupSample> {
    // Everything below stands right behind, so the first one that does not lie below ends it.
    let behind = sample.groups.iter().skip(index + 1);
    let below = behind.take_while(move |group| group.parent.is_some_and(|at| at as usize >= index));
    below.filter(move |group| group.parent.is_some_and(|at| at as usize == index))
}
