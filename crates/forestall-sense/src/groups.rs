//! The followed cgroups' figures: what is read at which sample, and kept in between.
//!
//! `memory.current` is read every time. The rest follows where it changed, and once a second in any case: on a large
//! machine most cgroups are idle. The reads of idle cgroups are spread over that second.

mod reading;

use std::collections::BTreeMap;

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Limit as DecideLimit, LimitHits, Moment, Qos as DecideQos, Span,
};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::{Hearing, Identity, Look, Node, Qos, Tree, Version};
use forestall_kernel::file::Buffer;

use crate::failures::Failures;
use crate::node::is_due;
use crate::rest::Breadth;
use crate::traits::Traits;
use reading::Reading;

/// How old any figure may be.
const FIGURES_EVERY: Span = Span::secs(1);
/// Link counts are compared this often where the hierarchy has no count of descendants (v1).
const LINKS_EVERY_V1: Span = Span::millis(500);
/// And this often where it has one.
const LINKS_EVERY_V2: Span = Span::secs(5);
/// Every followed directory is listed this often, whatever its link count says.
const EVERYTHING_EVERY: Span = Span::secs(60);
/// Room for so many cgroups is kept in any case.
const GROUPS_FEW: usize = 64;
/// Slices of a second over which idle cgroups' reads are spread.
const SLICES: u64 = 16;

/// What is remembered of a cgroup beside its figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupState {
    figures_due: Moment,
    rare_due: Moment,
    min_due: Moment,
    /// Traits as last read; `None` for a cgroup that is new.
    pub(crate) traits: Option<Traits>,
}

/// What the whole machine says, as far as reading cgroups depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings {
    /// There is swap.
    pub(crate) swap: bool,
    /// Somebody has been killed since the last sample.
    pub(crate) killed: bool,
    /// The kernel has told of a new cgroup or of a limit.
    pub(crate) told: bool,
    /// How much of what is outside `kubepods` is read.
    pub(crate) breadth: Breadth,
}

/// What was seen while all were read.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// One is gone.
    gone: bool,
    /// One that was known before counts more kills.
    killed: bool,
}

/// Reads the followed cgroups.
#[derive(Debug)]
pub(crate) struct GroupReader {
    tree: Tree,
    states: Vec<GroupState>,
    buffer: Buffer,
    links_due: Moment,
    everything_due: Moment,
    failures: Failures,
}

impl GroupReader {
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            states: Vec::new(),
            buffer: Buffer::with_capacity(32 * 1024),
            links_due: Moment(0),
            everything_due: Moment(0),
            failures: Failures::default(),
        }
    }

    pub(crate) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Somebody besides the host's own cgroups is followed.
    pub(crate) fn has_pods(&self) -> bool {
        self.tree
            .nodes()
            .iter()
            .any(|node| node.identity != Identity::Host)
    }

    /// Takes what the kernel tells of cgroups outside `kubepods`: whether one was made, removed or renamed, or a limit written.
    /// Never allocates.
    pub(crate) fn hear(&mut self) -> bool {
        self.tree.hear()
    }

    /// Reads that failed although the cgroup was there.
    pub(crate) const fn failures(&self) -> u64 {
        self.failures.count()
    }

    /// The last of them, once.
    pub(crate) const fn take_failure(&mut self) -> Option<KernelError> {
        self.failures.take_last()
    }

    /// Whether the kernel can be heard, once after every change of that.
    pub(crate) const fn take_hearing(&mut self) -> Option<Hearing> {
        self.tree.take_hearing()
    }

    /// A cgroup and what is remembered of it, by its place.
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<(&Node, &mut GroupState)> {
        self.tree.nodes().get(index).zip(self.states.get_mut(index))
    }

    /// What is known of a cgroup's processes.
    pub(crate) fn traits(&self, index: usize) -> Option<Traits> {
        self.states.get(index)?.traits
    }

    /// Brings `groups` up to date: follows changes of the tree, then reads figures. True where one tells of a kill that the
    /// machine did not tell of: then only some tell of it yet, and all have to be read again.
    pub(crate) fn read(&mut self, groups: &mut Vec<GroupSample>, now: Moment, around: Surroundings) -> bool {
        let look = self.look(now, around.breadth);
        if look == Look::Everything && self.tree.ear().is_none() {
            // That it could not was said before; others may have given watches back since.
            let _ = self.tree.listen();
        }
        let changed = self.tree.refresh(look).unwrap_or_else(|error| {
            self.failures.note(error);
            false
        });
        if changed || self.states.len() != self.tree.nodes().len() {
            self.align(groups, now);
        }
        let mut seen = self.read_figures(groups, now, around);
        if seen.gone {
            // Some went away while they were read: they are closed now, and not a tick later, and what took their
            // place is read at once. Whatever vanishes during this second round is closed at the next sample.
            if self.tree.refresh(Look::Count).unwrap_or(false) {
                self.align(groups, now);
                seen.killed |= self.read_figures(groups, now, around).killed;
            }
        }
        seen.killed && !around.killed
    }

    fn look(&mut self, now: Moment, breadth: Breadth) -> Look {
        let links_every = match self.tree.version() {
            Version::V1 => LINKS_EVERY_V1,
            Version::V2 => LINKS_EVERY_V2,
        };
        let links = is_due(&mut self.links_due, now, links_every);
        // At rest without pods links are enough until everything else is read as well.
        let may_list = breadth != Breadth::Least || self.has_pods();
        if may_list && is_due(&mut self.everything_due, now, EVERYTHING_EVERY) {
            Look::Everything
        } else if links {
            Look::Links
        } else {
            Look::Count
        }
    }

    /// Makes `groups` and the states match the tree, keeping what is known of cgroups that stayed.
    fn align(&mut self, groups: &mut Vec<GroupSample>, now: Moment) {
        let before: BTreeMap<GroupId, (GroupSample, GroupState)> = groups
            .iter()
            .zip(&self.states)
            .map(|(group, state)| (group.id, (*group, *state)))
            .collect();
        groups.clear();
        self.states.clear();
        // What a crowd took is given back when it has gone.
        let room = self.tree.nodes().len().max(GROUPS_FEW) * 2;
        if self.states.capacity() > room * 2 {
            self.states.shrink_to(room);
            groups.shrink_to(room);
        }
        for (slice, node) in (0..).zip(self.tree.nodes()) {
            let id = GroupId(node.dir.inode());
            let kept = before.get(&id).copied();
            let (group, state) = kept.unwrap_or_else(|| (blank(id), GroupState::new(now, slice)));
            groups.push(GroupSample {
                parent: node.parent,
                kind: kind_of(&node.identity),
                leaf: true,
                ..group
            });
            self.states.push(state);
            if let Some(parent) = node.parent.and_then(|parent| groups.get_mut(parent as usize)) {
                parent.leaf = false;
            }
        }
    }

    /// Reads every cgroup's figures.
    fn read_figures(&mut self, groups: &mut [GroupSample], now: Moment, around: Surroundings) -> Seen {
        let mut seen = Seen::default();
        for index in 0..groups.len() {
            let (Some(node), Some(state), Some(group)) = (
                self.tree.nodes().get(index),
                self.states.get_mut(index),
                groups.get_mut(index),
            ) else {
                break;
            };
            if around.breadth == Breadth::Least && group.kind == GroupKind::Host && state.traits.is_some() {
                continue;
            }
            let reading = Reading {
                dir: &node.dir,
                buffer: &mut self.buffer,
                now,
                around,
            };
            let kills_before = state.traits.map(|_| group.oom_kills);
            match reading.update(group, state) {
                Ok(()) => seen.killed |= kills_before.is_some_and(|before| group.oom_kills > before),
                Err(error) if error.is_gone() => {
                    self.tree.mark_gone(index);
                    group.populated = false;
                    seen.gone = true;
                }
                Err(error) => self.failures.note(error),
            }
        }
        if self.tree.version() == Version::V1 {
            spread_populated(groups);
        }
        seen
    }
}

impl GroupState {
    /// A new cgroup is read whole at once, and from then on in its slice of the second.
    fn new(now: Moment, slice: u64) -> Self {
        let early = Span(FIGURES_EVERY.0 / SLICES * (slice % SLICES));
        let due = Moment(now.0.saturating_sub(early.0));
        Self {
            figures_due: due,
            rare_due: due,
            min_due: due,
            traits: None,
        }
    }
}

/// The next time after `now` at which something is due, in the same slice of the second.
fn next_due(due: Moment, now: Moment) -> Moment {
    let late = now.since(due).0 % FIGURES_EVERY.0;
    Moment(now.0 - late.min(now.0)) + FIGURES_EVERY
}

/// On v1 a cgroup tells of its own processes alone; a parent is populated by its children.
fn spread_populated(groups: &mut [GroupSample]) {
    for index in (0..groups.len()).rev() {
        let child = groups
            .get(index)
            .filter(|child| child.populated)
            .and_then(|child| child.parent);
        if let Some(parent) = child.and_then(|parent| groups.get_mut(parent as usize)) {
            parent.populated = true;
        }
    }
}

/// A cgroup of which nothing is known yet: populated until it is known not to be.
pub(crate) fn blank(id: GroupId) -> GroupSample {
    GroupSample {
        id,
        parent: None,
        kind: GroupKind::Host,
        leaf: true,
        populated: true,
        protection: None,
        limit: DecideLimit::Max,
        min: Bytes::ZERO,
        current: Bytes::ZERO,
        anon: Bytes::ZERO,
        shmem: Bytes::ZERO,
        active_file: Bytes::ZERO,
        inactive_file: Bytes::ZERO,
        dirty: Bytes::ZERO,
        writeback: Bytes::ZERO,
        unevictable: Bytes::ZERO,
        slab_reclaimable: Bytes::ZERO,
        swap_current: Bytes::ZERO,
        swap_limit: DecideLimit::Max,
        stall: None,
        refault_file_pages: 0,
        oom_kills: 0,
        limit_hits: LimitHits::Unknown,
    }
}

fn kind_of(identity: &Identity) -> GroupKind {
    match identity {
        Identity::Kubepods => GroupKind::Kubepods,
        Identity::Qos(qos) => GroupKind::Qos(qos_of(*qos)),
        Identity::Pod(pod) => GroupKind::Pod(qos_of(pod.qos)),
        Identity::Container(container) => GroupKind::Container(qos_of(container.pod.qos)),
        Identity::Host => GroupKind::Host,
    }
}

const fn qos_of(qos: Qos) -> DecideQos {
    match qos {
        Qos::Guaranteed => DecideQos::Guaranteed,
        Qos::Burstable => DecideQos::Burstable,
        Qos::BestEffort => DecideQos::BestEffort,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use forestall_kernel::cgroup::{Bounds, Hierarchy};

    use super::*;

    #[test]
    fn a_cgroup_keeps_its_slice_of_the_second() {
        // Due at 0.25 s: read late at 0.3 s, the next time is 1.25 s; after a pause until 7.1 s it is 7.25 s.
        assert_eq!(next_due(Moment(250_000), Moment(300_000)), Moment(1_250_000));
        assert_eq!(next_due(Moment(1_250_000), Moment(7_100_000)), Moment(7_250_000));
        // Read before it was due, because it had changed: a second from now is soon enough.
        assert_eq!(next_due(Moment(1_250_000), Moment(500_000)), Moment(1_500_000));
    }

    #[test]
    fn who_cannot_hear_tries_again_once_a_minute() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, moved) = (dir.path().join("cgroup"), dir.path().join("moved"));
        fs::create_dir(&root).expect("made");
        let write = |file: &str| fs::write(root.join(file), "memory\n").expect("written");
        write("cgroup.controllers");
        write("cgroup.subtree_control");
        let hierarchy = Hierarchy::at(&root, true).expect("a hierarchy");
        let mut reader = GroupReader::new(Tree::open(&hierarchy, Bounds::default()).expect("opened"));
        let rename = |from: &Path, to: &Path| fs::rename(from, to).expect("renamed");
        let mut hears_at = |secs| {
            let _ = reader.read(
                &mut Vec::new(),
                Moment(0) + Span::secs(secs),
                Surroundings::default(),
            );
            reader.tree().ear().is_some()
        };
        // Watching goes by the path.
        rename(&root, &moved);
        assert!(!hears_at(100));
        rename(&moved, &root);
        assert!(!hears_at(159), "tried a minute ago at most");
        assert!(hears_at(160) && hears_at(161));
    }

    #[test]
    fn new_cgroups_are_due_at_once_and_then_apart() {
        let now = Moment(5_000_000);
        let dues: Vec<u64> = (0..SLICES)
            .map(|slice| GroupState::new(now, slice).figures_due.0)
            .collect();
        assert!(dues.iter().all(|due| *due <= now.0));
        let next: Vec<Moment> = dues.iter().map(|due| next_due(Moment(*due), now)).collect();
        assert_eq!(next[1], Moment(5_937_500));
        assert_eq!(next[15], Moment(5_062_500));
    }
}
