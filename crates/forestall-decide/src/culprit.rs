//! Who explains a shrinking distance: the cgroup whose own growth is most of all growth, never the one that is largest
//! or that has the worst oom_score.
//!
//! Growth is counted in the cgroup's bytes, shmem and kernel memory included. Only what is still growing counts: a
//! neighbour whose heap has just reached its plateau explains nothing any more, and neither does one who grows by next to
//! nothing of what was lost. Where most of it comes from outside the pods, it is the host's, however many share in it: one of
//! those is named, and no pod. What a job takes again after it had given it back is no growth as long as somebody else's new
//! ground explains the loss. Where nobody explains enough of it, the answer is nobody.

use crate::decision::{Culprit, Target};
use crate::growth::{Grower, Growth, Search};
use crate::history::History;
use crate::input::{GroupId, Sample};
use crate::member::narrow;
use crate::orphan::blame_orphan;
use crate::rule::{Rule, holds};
use crate::units::{Bytes, Span};
use crate::window::WINDOWS;

/// In which order windows are asked: ten seconds tell most; one second finds a burst; a minute a slow leak.
const ORDER: [Span; 3] = [WINDOWS[1], WINDOWS[0], WINDOWS[2]];

/// With more than this of all growth outside the pods (permille), none of them pays for it.
const HOSTS_PERMILLE: u64 = 500;
/// Whoever has this much of what the first of many has (permille) is one of them.
const OF_FIRST_PERMILLE: u64 = 500;

/// Finds the culprit of a wall whose limit is `scope`'s (`None`: the machine), or nobody.
pub(crate) fn find_culprit(
    sample: &Sample,
    history: &History,
    scope: Option<GroupId>,
    share_permille_min: u64,
    noise: Bytes,
) -> Option<Culprit> {
    let search = Search {
        sample,
        history,
        scope,
        noise,
        only_new: true,
    };
    let mut swings = false;
    let found = find(search, share_permille_min, &mut swings);
    // Where nobody's new ground explains it, one of those who came back to where they were took it.
    let of_all = Search {
        only_new: false,
        ..search
    };
    found.or_else(|| swings.then(|| find(of_all, share_permille_min, &mut false))?)
}

/// `swings`: somebody took back what it had given back.
fn find(search: Search<'_>, share_permille_min: u64, swings: &mut bool) -> Option<Culprit> {
    let mut is_hollow = false;
    for window in ORDER {
        // A longer window than one in which nobody explains the loss would only blame somebody for what is long over. But beside
        // what swings a slow leak shows in the longest one alone.
        if is_hollow && window > ORDER[0] && !*swings {
            return None;
        }
        let mut first: Option<Grower> = None;
        let growth = search.each_grower(window, |grower| {
            if first.is_none_or(|first| grower.grown > first.grown) {
                first = Some(grower);
            }
        });
        *swings |= growth.swung > search.noise;
        let Some(found) = first.map(|first| growth.culprit(first)) else {
            continue;
        };
        let explains =
            growth.is_explained_by(found.grown) || search.is_explained_by_climb(&growth, found.target);
        if explains && found.share_permille >= share_permille_min {
            return Some(name(search, found));
        }
        let is_hosts = growth.hosts.permille_of(growth.total) > HOSTS_PERMILLE;
        if is_hosts && growth.is_explained_by(growth.hosts) && holds(Rule::HostsOwn) {
            return Some(choose_of_host(search, growth, found.grown));
        }
        is_hollow |= !explains;
    }
    None
}

/// Fills `growers` with those who share in a growth that nobody alone explains, in the first window that shows any: whoever has a part
/// in it, or, of so many that nobody has one, half of what the first has. New ground goes before what somebody takes back.
pub(crate) fn find_growers(search: Search<'_>, growers: &mut Vec<(Target, Bytes)>) {
    for (only_new, window) in [true, false]
        .into_iter()
        .flat_map(|new| ORDER.map(|window| (new, window)))
    {
        growers.clear();
        let growth = Search { only_new, ..search }.each_grower(window, |grower| {
            growers.push((grower.target, grower.grown));
        });
        let first = growers.iter().map(|(_, grown)| *grown).max();
        let first = first.unwrap_or(Bytes::ZERO);
        growers.retain(|(_, grown)| {
            growth.is_explained_by(*grown) || grown.permille_of(first) >= OF_FIRST_PERMILLE
        });
        if !growers.is_empty() {
            return;
        }
    }
}

/// Whom the one that was found stands for: who left the memory behind, or one process of the host's.
fn name(search: Search<'_>, found: Culprit) -> Culprit {
    let Search {
        sample,
        history,
        scope,
        noise,
        ..
    } = search;
    let blamed = blame_orphan(sample, history, scope, found, noise);
    narrow(sample, history, blamed, noise)
}

/// Whom of several that leak outside the pods: the process that grew most and may be touched, if it has a part in it, or, of so
/// many that nobody has one, half of what the first has. Where there is none, the one that grew most is named, and nobody ends.
fn choose_of_host(search: Search<'_>, growth: Growth, first: Bytes) -> Culprit {
    let is_spread = growth.hosts.permille_of(growth.lost) > HOSTS_PERMILLE;
    let is_of_them = |grown: Bytes| {
        growth.is_explained_by(grown) || is_spread && grown.permille_of(first) >= OF_FIRST_PERMILLE
    };
    let mut named: Option<Culprit> = None;
    let mut chosen: Option<Culprit> = None;
    search.each_grower(growth.window, |grower| {
        if !grower.is_hosts {
            return;
        }
        let found = growth.culprit(grower);
        let is_more = |other: Option<Culprit>| other.is_none_or(|other| found.grown > other.grown);
        let process = || {
            let narrowed = name(search, found);
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
