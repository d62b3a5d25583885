//! Who grew, and by how much, within one window before a wall.

use crate::decision::{Culprit, Target};
use crate::history::{History, Scope};
use crate::input::{GroupId, GroupKind, GroupSample, Protection, Sample};
use crate::tree::{children, is_within};
use crate::units::{Bytes, Span};
use crate::window::{Track, WINDOWS};

/// Who has less of what a wall has lost explains nothing of it (permille).
const PART_PERMILLE_MIN: u64 = 125;

/// Where the last second took this much of what ten seconds took (permille), somebody grows now, and who stood still in it has stopped.
const HURRY_PERMILLE: u64 = 250;

/// A grower: who, and by how much within the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grower {
    pub(crate) target: Target,
    pub(crate) grown: Bytes,
    pub(crate) protection: Option<Protection>,
    pub(crate) is_hosts: bool,
}

/// All growth within one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) window: Span,
    pub(crate) lost: Bytes,
    /// Everybody's, what somebody merely came with included.
    pub(crate) total: Bytes,
    /// What is outside the pods of it.
    pub(crate) hosts: Bytes,
    /// What somebody held before, gave back and took again, beside it.
    pub(crate) swung: Bytes,
}

impl Growth {
    pub(crate) fn culprit(&self, grower: Grower) -> Culprit {
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
    pub(crate) fn is_explained_by(&self, grown: Bytes) -> bool {
        grown.permille_of(self.lost) >= PART_PERMILLE_MIN || self.lost == Bytes::ZERO
    }
}

/// A search for who explains a wall's loss: what it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) history: &'a History,
    /// Whose limit the wall is; `None`: the machine.
    pub(crate) scope: Option<GroupId>,
    pub(crate) noise: Bytes,
    /// What somebody has held before, gave back, and takes again is no growth.
    pub(crate) only_new: bool,
}

impl Search<'_> {
    /// Shows everybody who grew by more than noise within one window. Returns what all growth comes to.
    pub(crate) fn each_grower(self, window: Span, mut see: impl FnMut(Grower)) -> Growth {
        let Self {
            sample,
            history,
            scope,
            noise,
            ..
        } = self;
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
        let lately = self::lost(history, scope, WINDOWS[0]) - self.swung_lately();
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
        let mut swung = Bytes::ZERO;
        let mut explained_at_top = 0_i64;
        for (index, group) in sample.groups.iter().enumerate() {
            if !is_within(sample, index, scope) {
                continue;
            }
            let Some(found) = history.at(index) else {
                continue;
            };
            let track = found.held();
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
                let new = self.new_part(found, rising, window);
                swung += self.swung_part(found, window);
                count(Grower {
                    target: Target::Group(group.id),
                    grown: new + own,
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
            let node = history.node.held();
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
            swung,
        }
    }

    /// What of a rise counts.
    fn new_part(self, found: &Scope, rise: Bytes, window: Span) -> Bytes {
        if self.only_new {
            found.new_part(rise, window)
        } else {
            rise
        }
    }

    /// Whether it has come up by a part of what the wall has lost, in a climb that began long before the window did. A window in which a
    /// job takes back what it had before shows next to nothing of a slow leak, and it is the leak for which there is no room any more.
    pub(crate) fn is_explained_by_climb(self, growth: &Growth, target: Target) -> bool {
        let Target::Group(id) = target else { return false };
        let is_leaf = |place: &usize| self.sample.groups.get(*place).is_some_and(|group| group.leaf);
        let place = self.history.roster.place(id).filter(is_leaf);
        let climbed = place.and_then(|place| Some(self.history.at(place)?.climbed()));
        growth.swung > self.noise && climbed.is_some_and(|climbed| growth.is_explained_by(climbed))
    }

    /// What of a rise was held before and given back, whether it goes on or not.
    fn swung_part(self, found: &Scope, window: Span) -> Bytes {
        let (rise, _) = found.held().rise(window);
        let rise = Bytes(u64::try_from(rise).unwrap_or(0));
        rise - self.new_part(found, rise, window)
    }

    /// What those who came back to where they were took in the last second.
    fn swung_lately(self) -> Bytes {
        if !self.only_new {
            return Bytes::ZERO;
        }
        let leaves = self
            .sample
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.leaf);
        leaves
            .filter_map(|(at, _)| {
                let swung = self.swung_part(self.history.at(at)?, WINDOWS[0]);
                (swung > Bytes::ZERO && is_within(self.sample, at, self.scope)).then_some(swung)
            })
            .sum()
    }
}

/// What a wall has lost within the window.
fn lost(history: &History, scope: Option<GroupId>, window: Span) -> Bytes {
    let rise = history
        .scope(scope)
        .map_or(0, |scope| scope.held().rise(window).0);
    Bytes(u64::try_from(rise).unwrap_or(0))
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
