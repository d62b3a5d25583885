//! Whom of the host's own: outside `kubepods` one process is acted upon and never a cgroup.
//!
//! It is the one that grew most, where the processes of the culprit's place explain half of the growth there. Where they do not
//! (a file on a memory-backed directory, full pipes, children that come one after another and then hold still), no figure
//! tells who of them did it. Then the oldest stands for all of them: a service lives and dies with its main process, what
//! forks is older than what it forked, and a process alone is the oldest one. What it refuses to do: guess where
//! unrelated programs share a cgroup (one in which somebody protected lives, as a login does in its session, or whose
//! processes live in cgroups below it), and end a second one before the effect of the first is known.

use core::cmp::Reverse;

use crate::decision::{Culprit, Target};
use crate::history::History;
use crate::input::{GroupId, GroupKind, GroupSample, ProcessSample, Protection, Sample};
use crate::units::{Bytes, Span};

/// A place whose processes do not explain its growth has to explain so much of all growth (permille) for one of them to
/// stand for it, however much is known of the pods.
const STANDS_FROM_PERMILLE: u64 = 800;

/// The process to be acted upon in the culprit's stead, where the culprit is the host's and has one.
pub(crate) fn narrow(sample: &Sample, history: &History, culprit: Culprit, noise: Bytes) -> Culprit {
    let kind_of = |id| find_group(sample, id).map(|group| group.kind);
    // What no cgroup explains lives in the root, with everybody who was never moved out of it.
    let home = match culprit.target {
        Target::Node => None,
        Target::Group(id) if kind_of(id) == Some(GroupKind::Host) => Some(id),
        Target::Group(_) | Target::Process(_) => return culprit,
    };
    let growing = find_growing(sample, history, home, &culprit, noise);
    match growing.or_else(|| find_oldest(sample, home?, &culprit)) {
        Some(process) => Culprit {
            target: Target::Process(process.id),
            protection: process.protection.or(handed_down(culprit.protection)),
            ..culprit
        },
        None => culprit,
    }
}

/// The culprit is a process that stands for its cgroup, and was not itself seen to grow.
pub(crate) fn stands_for_its_group(
    sample: &Sample,
    history: &History,
    culprit: &Culprit,
    noise: Bytes,
) -> bool {
    let Target::Process(id) = culprit.target else {
        return false;
    };
    let process = sample.processes.iter().find(|process| process.id == id);
    process.is_some_and(|process| find_growing(sample, history, process.group, culprit, noise).is_none())
}

fn find_group(sample: &Sample, id: GroupId) -> Option<&GroupSample> {
    sample.groups.iter().find(|group| group.id == id)
}

fn at_home(sample: &Sample, home: Option<GroupId>) -> impl Iterator<Item = &ProcessSample> {
    sample
        .processes
        .iter()
        .filter(move |process| process.group == home)
}

/// The process that grew most at home, where the processes there explain the growth at all.
fn find_growing<'a>(
    sample: &'a Sample,
    history: &History,
    home: Option<GroupId>,
    culprit: &Culprit,
    noise: Bytes,
) -> Option<&'a ProcessSample> {
    let grown = |process: &ProcessSample| {
        // A process that was below the threshold of the scan until now has no history: all it holds is growth.
        history
            .process(process.id)
            .map_or(Bytes::ZERO, |track| match track.rise(culprit.window) {
                (_, Span(0)) => track.latest(),
                (rise, _) => Bytes(u64::try_from(rise).unwrap_or(0)),
            })
    };
    let explained: Bytes = at_home(sample, home).map(grown).sum();
    let largest = at_home(sample, home).max_by_key(|process| (grown(process), Reverse(process.id)))?;
    // Together, and not alone: a daemon may spread its growth over many workers, which then end one after another.
    (grown(largest) > noise && explained.0 >= culprit.grown.0 / 2).then_some(largest)
}

/// The process that has been at home for longest, where it may stand for all of them.
fn find_oldest<'a>(sample: &'a Sample, home: GroupId, culprit: &Culprit) -> Option<&'a ProcessSample> {
    let is_one_thing = culprit.protection.is_none()
        && culprit.share_permille >= STANDS_FROM_PERMILLE
        && find_group(sample, home).is_some_and(|group| group.leaf && group.populated)
        && at_home(sample, Some(home)).all(|process| process.protection.is_none());
    if !is_one_thing {
        return None;
    }
    // Two started within one tick of the clock: the parent has the smaller number, unless numbers have just begun anew.
    at_home(sample, Some(home)).min_by_key(|process| (process.id.start_ticks, process.id.pid))
}

/// What a cgroup's protection says of a single process in it: that a neighbour there is a node agent says nothing.
fn handed_down(protection: Option<Protection>) -> Option<Protection> {
    protection.filter(|why| matches!(why, Protection::OptedOut | Protection::Delegated))
}
