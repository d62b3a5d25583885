//! Who explains a shrinking distance: the cgroup whose own growth is most of all growth, never the one that is largest
//! or that has the worst oom_score.
//!
//! Growth is counted in the cgroup's bytes, shmem and kernel memory included. Only what is still growing counts: a
//! neighbour whose heap has just reached its plateau explains nothing any more, and neither does one who grows by next to
//! nothing of what was lost. Where nobody explains enough of it, the answer is nobody.

use crate::decision::{Culprit, Target};
use crate::history::History;
use crate::input::{GroupId, GroupKind, GroupSample, Protection, Sample};
use crate::member::narrow;
use crate::orphan::blame_orphan;
use crate::tree::{children, is_within};
use crate::units::{Bytes, Span};
use crate::window::{Track, WINDOWS};

/// In which order windows are asked: ten seconds tell most; one second finds a burst; a minute a slow leak.
const ORDER: [Span; 3] = [WINDOWS[1], WINDOWS[0], WINDOWS[2]];

/// Who has less of what a wall has lost explains nothing of it (permille).
const PART_PERMILLE_MIN: u64 = 125;

/// A grower: who, and by how much within the window.
#[derive(Clone, Copy, Debug)]
struct Grower {
    target: Target,
    grown: Bytes,
    protection: Option<Protection>,
}

/// Finds the culprit of a wall whose limit is `scope`'s (`None`: the machine), or nobody.
pub(crate) fn find_culprit(
    sample: &Sample,
    history: &History,
    scope: Option<GroupId>,
    share_permille_min: u64,
    noise: Bytes,
) -> Option<Culprit> {
    let mut is_hollow = false;
    for window in ORDER {
        // A longer window than one in which nobody explains the loss would only blame somebody for what is long over.
        if is_hollow && window > ORDER[0] {
            return None;
        }
        let Some(found) = dominant(sample, history, scope, window, noise) else {
            continue;
        };
        if !explains(history, scope, &found) {
            is_hollow = true;
        } else if found.share_permille >= share_permille_min {
            let blamed = blame_orphan(sample, history, scope, found, noise);
            return Some(narrow(sample, history, blamed, noise));
        }
    }
    None
}

/// Whether the largest of those who still grow has a part in what the wall has lost at all. Where the one that did it waits
/// for memory, whoever moves a little beside it is the only one who grows, and would be ended for nothing.
fn explains(history: &History, scope: Option<GroupId>, found: &Culprit) -> bool {
    let lost = lost(history, scope, found.window);
    found.grown.permille_of(lost) >= PART_PERMILLE_MIN || lost == Bytes::ZERO
}

/// What a wall has lost within the window.
fn lost(history: &History, scope: Option<GroupId>, window: Span) -> Bytes {
    let rise = history
        .scope(scope)
        .map_or(0, |scope| scope.unreclaimable.rise(window).0);
    Bytes(u64::try_from(rise).unwrap_or(0))
}

/// The largest grower within one window and its share of all growth there.
fn dominant(
    sample: &Sample,
    history: &History,
    scope: Option<GroupId>,
    window: Span,
    noise: Bytes,
) -> Option<Culprit> {
    let mut total = Bytes::ZERO;
    let mut first: Option<Grower> = None;
    let mut count = |grower: Grower| {
        if grower.grown > noise {
            total += grower.grown;
            if first.is_none_or(|first| grower.grown > first.grown) {
                first = Some(grower);
            }
        }
    };
    let lost = lost(history, scope, window);
    let mut settled = Bytes::ZERO;
    let mut explained_at_top = 0_i64;
    for (index, group) in sample.groups.iter().enumerate() {
        if !is_within(sample, index, scope) {
            continue;
        }
        let Some(found) = history.at(index) else {
            continue;
        };
        let track = &found.unreclaimable;
        if group.parent.is_none() {
            explained_at_top = explained_at_top.saturating_add(found.risen(window));
        }
        if group.leaf {
            let rising = still_rising(track, window);
            // What somebody came with was taken, too, and is its own doing if it goes on; unless it is more than the wall has
            // lost, because it was there before and nobody followed it.
            let came_with = found.came_with(window);
            let is_own = rising > Bytes::ZERO && came_with <= lost;
            let (own, beside) = if is_own {
                (came_with, Bytes::ZERO)
            } else {
                (Bytes::ZERO, came_with)
            };
            settled += beside;
            count(Grower {
                target: Target::Group(group.id),
                grown: rising + own,
                protection: group.protection,
            });
        } else if !is_root_of(group, scope) || group.kind == GroupKind::Host {
            // What a parent holds beyond its children: memory of containers that are gone (a memory-backed
            // directory), or of processes that live in the parent itself.
            let rising = still_rising(track, window);
            let own = if rising == Bytes::ZERO {
                Bytes::ZERO
            } else {
                rising.min(Bytes(own_rise(sample, history, index, window)))
            };
            count(Grower {
                target: Target::Group(group.id),
                grown: own,
                protection: group.protection,
            });
        }
    }
    if scope.is_none() {
        let node = &history.node.unreclaimable;
        // What merely moved to swap in memory is counted once more by the pool that holds it.
        let pool = if sample.node.swap_is_zram {
            history.swap_used.rise(window).0.max(0)
        } else {
            0
        };
        let rest = node
            .rise(window)
            .0
            .saturating_sub(explained_at_top)
            .saturating_sub(pool);
        let own = still_rising(node, window).0.min(u64::try_from(rest).unwrap_or(0));
        count(Grower {
            target: Target::Node,
            grown: Bytes(own),
            protection: None,
        });
    }
    let first = first?;
    Some(Culprit {
        target: first.target,
        share_permille: first.grown.permille_of(total + settled),
        grown: first.grown,
        window,
        protection: first.protection,
    })
}

/// Growth in the window, or nothing if its last quarter went at less than a quarter of the even pace: it has stopped.
fn still_rising(track: &Track, window: Span) -> Bytes {
    if track.is_flat() {
        return Bytes::ZERO;
    }
    let (rise, over) = track.rise(window);
    let (late, late_over) = track.rise(Span(window.0 / 4));
    let (Ok(rise), Ok(late)) = (u64::try_from(rise), u64::try_from(late)) else {
        return Bytes::ZERO;
    };
    let even = crate::units::wide_ratio(rise, late_over.0, over.0);
    if late < even / 4 { Bytes::ZERO } else { Bytes(rise) }
}

/// What it rose by beyond its children. Who came with its memory explains all of that.
fn own_rise(sample: &Sample, history: &History, index: usize, window: Span) -> u64 {
    let risen = |group: &GroupSample| history.group(group.id).map_or(0, |found| found.risen(window));
    let Some(group) = sample.groups.get(index) else {
        return 0;
    };
    let own = children(sample, index).fold(risen(group), |own, child| own.saturating_sub(risen(child)));
    u64::try_from(own).unwrap_or(0)
}

fn is_root_of(group: &GroupSample, scope: Option<GroupId>) -> bool {
    scope == Some(group.id)
}
