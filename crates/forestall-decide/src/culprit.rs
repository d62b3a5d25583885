//! Who explains a shrinking distance: the cgroup whose own growth is most of all growth, never the one that is largest
//! or that has the worst oom_score.
//!
//! Growth is counted in the cgroup's bytes, shmem and kernel memory included. Only what is still growing counts: a
//! neighbour whose heap has just reached its plateau explains nothing any more, and neither does one who grows by next to
//! nothing of what was lost. Where most of it comes from outside the pods, it is the host's, however many share in it: one of
//! those is named, and no pod. Where nobody explains enough of it, the answer is nobody.

use crate::decision::{Culprit, Target};
use crate::history::History;
use crate::input::{GroupId, GroupKind, GroupSample, Protection, Sample};
use crate::member::narrow;
use crate::orphan::blame_orphan;
use crate::rule::{Rule, holds};
use crate::tree::{children, is_within};
use crate::units::{Bytes, Span};
use crate::window::{Track, WINDOWS};

/// In which order windows are asked: ten seconds tell most; one second finds a burst; a minute a slow leak.
const ORDER: [Span; 3] = [WINDOWS[1], WINDOWS[0], WINDOWS[2]];

/// Who has less of what a wall has lost explains nothing of it (permille).
const PART_PERMILLE_MIN: u64 = 125;

/// Where the last second took this much of what ten seconds took (permille), somebody grows now, and who stood still in it has stopped.
const HURRY_PERMILLE: u64 = 250;

/// With more than this of all growth outside the pods (permille), none of them pays for it.
const HOSTS_PERMILLE: u64 = 500;
/// Whoever has this much of what the first of many has (permille) is one of them.
const OF_FIRST_PERMILLE: u64 = 500;

/// A grower: who, and by how much within the window.
#[derive(Clone, Copy, Debug)]
struct Grower {
    target: Target,
    grown: Bytes,
    protection: Option<Protection>,
    is_hosts: bool,
}

/// All growth within one window.
#[derive(Clone, Copy, Debug)]
struct Growth {
    window: Span,
    lost: Bytes,
    /// Everybody's, what somebody merely came with included.
    total: Bytes,
    /// What is outside the pods of it.
    hosts: Bytes,
}

impl Growth {
    fn culprit(&self, grower: Grower) -> Culprit {
        Culprit {
            target: grower.target,
            share_permille: grower.grown.permille_of(self.total),
            grown: grower.grown,
            window: self.window,
            protection: grower.protection,
        }
    }

    /// Whether so much is a part of what the wall has lost at all. Where the one that did it waits for memory, whoever moves a
    /// little beside it is the only one who grows, and would be ended for nothing.
    fn is_explained_by(&self, grown: Bytes) -> bool {
        grown.permille_of(self.lost) >= PART_PERMILLE_MIN || self.lost == Bytes::ZERO
    }
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
        let mut first: Option<Grower> = None;
        let growth = each_grower(sample, history, scope, window, noise, |grower| {
            if first.is_none_or(|first| grower.grown > first.grown) {
                first = Some(grower);
            }
        });
        let Some(first) = first else {
            continue;
        };
        let found = growth.culprit(first);
        let explains = growth.is_explained_by(found.grown);
        if explains && found.share_permille >= share_permille_min {
            let blamed = blame_orphan(sample, history, scope, found, noise);
            return Some(narrow(sample, history, blamed, noise));
        }
        let is_hosts = growth.hosts.permille_of(growth.total) > HOSTS_PERMILLE;
        if is_hosts && growth.is_explained_by(growth.hosts) && holds(Rule::HostsOwn) {
            return Some(choose_of_host(sample, history, scope, growth, first.grown, noise));
        }
        is_hollow |= !explains;
    }
    None
}

/// Whom of several that leak outside the pods: the process that grew most and may be touched, if it has a part in it, or, of so
/// many that nobody has one, half of what the first has. Where there is none, the one that grew most is named, and nobody ends.
fn choose_of_host(
    sample: &Sample,
    history: &History,
    scope: Option<GroupId>,
    growth: Growth,
    first: Bytes,
    noise: Bytes,
) -> Culprit {
    let is_spread = growth.hosts.permille_of(growth.lost) > HOSTS_PERMILLE;
    let is_of_them = |grown: Bytes| {
        growth.is_explained_by(grown) || is_spread && grown.permille_of(first) >= OF_FIRST_PERMILLE
    };
    let mut named: Option<Culprit> = None;
    let mut chosen: Option<Culprit> = None;
    each_grower(sample, history, scope, growth.window, noise, |grower| {
        if !grower.is_hosts {
            return;
        }
        let found = growth.culprit(grower);
        let is_more = |other: Option<Culprit>| other.is_none_or(|other| found.grown > other.grown);
        let process = || {
            let blamed = blame_orphan(sample, history, scope, found, noise);
            let narrowed = narrow(sample, history, blamed, noise);
            let is_free = matches!(narrowed.target, Target::Process(_)) && narrowed.protection.is_none();
            is_free.then_some(narrowed)
        };
        if is_more(chosen) && is_of_them(found.grown) {
            chosen = process().or(chosen);
        }
        if is_more(named) {
            named = Some(found);
        }
    });
    let nobody = Culprit {
        target: Target::Node,
        share_permille: growth.hosts.permille_of(growth.total),
        grown: growth.hosts,
        window: growth.window,
        protection: None,
    };
    chosen.or(named).unwrap_or(nobody)
}

/// What a wall has lost within the window.
fn lost(history: &History, scope: Option<GroupId>, window: Span) -> Bytes {
    let rise = history
        .scope(scope)
        .map_or(0, |scope| scope.unreclaimable.rise(window).0);
    Bytes(u64::try_from(rise).unwrap_or(0))
}

/// Shows everybody who grew by more than noise within one window. Returns what all growth comes to.
fn each_grower(
    sample: &Sample,
    history: &History,
    scope: Option<GroupId>,
    window: Span,
    noise: Bytes,
    mut see: impl FnMut(Grower),
) -> Growth {
    let mut total = Bytes::ZERO;
    let mut hosts = Bytes::ZERO;
    let mut count = |grower: Grower| {
        if grower.grown > noise {
            total += grower.grown;
            if grower.is_hosts {
                hosts += grower.grown;
            }
            see(grower);
        }
    };
    let lost = lost(history, scope, window);
    let lately = self::lost(history, scope, WINDOWS[0]);
    let is_hurried = lately > noise && lately.permille_of(lost) >= HURRY_PERMILLE;
    let still_rising = |track: &Track, window| {
        let has_stopped = is_hurried && track.rise(WINDOWS[0]).0 <= 0;
        if has_stopped {
            Bytes::ZERO
        } else {
            still_rising(track, window)
        }
    };
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
        let is_hosts = group.kind == GroupKind::Host;
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
                is_hosts,
            });
        } else if !is_root_of(group, scope) || is_hosts {
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
                is_hosts,
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
            is_hosts: true,
        });
    }
    Growth {
        window,
        lost,
        total: total + settled,
        hosts,
    }
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
