//! The followed cgroups' figures: what is read at which sample, and kept in between.
//!
//! `memory.current` is read every time. The rest follows where it changed, and once a second in any case: on a large
//! machine most cgroups are idle. The reads of idle cgroups are spread over that second.

use std::collections::BTreeMap;

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Limit as DecideLimit, Moment, Protection, Qos as DecideQos, Span,
};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::{CgroupDir, GroupFile, Identity, Look, Node, Qos, Tree, Version};
use forestall_kernel::file::Buffer;
use forestall_kernel::parse::{Limit, MemoryEvents, MemoryStat, Pressure, entries, unsigned};

use crate::node::{is_due, stall_of};
use crate::traits::Traits;

/// How old any figure may be.
const FIGURES_EVERY: Span = Span::secs(1);
/// Link counts are compared this often where the hierarchy has no count of descendants (v1).
const LINKS_EVERY_V1: Span = Span::millis(500);
/// And this often where it has one.
const LINKS_EVERY_V2: Span = Span::secs(5);
/// Every followed directory is listed this often, whatever its link count says.
const EVERYTHING_EVERY: Span = Span::secs(60);
/// Slices of a second over which idle cgroups' reads are spread.
const SLICES: u64 = 16;

/// What is remembered of a cgroup beside its figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupState {
    figures_due: Moment,
    rare_due: Moment,
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
}

/// Reads the followed cgroups.
#[derive(Debug)]
pub(crate) struct GroupReader {
    tree: Tree,
    states: Vec<GroupState>,
    buffer: Buffer,
    links_due: Moment,
    everything_due: Moment,
    failures: u64,
}

impl GroupReader {
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            states: Vec::new(),
            buffer: Buffer::with_capacity(32 * 1024),
            links_due: Moment(0),
            everything_due: Moment(0),
            failures: 0,
        }
    }

    pub(crate) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Reads that failed although the cgroup was there.
    pub(crate) const fn failures(&self) -> u64 {
        self.failures
    }

    /// A cgroup and what is remembered of it, by its place.
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<(&Node, &mut GroupState)> {
        self.tree.nodes().get(index).zip(self.states.get_mut(index))
    }

    /// What is known of a cgroup's processes.
    pub(crate) fn traits(&self, index: usize) -> Option<Traits> {
        self.states.get(index)?.traits
    }

    /// Brings `groups` up to date: follows changes of the tree, then reads figures.
    pub(crate) fn read(&mut self, groups: &mut Vec<GroupSample>, now: Moment, around: Surroundings) {
        let look = self.look(now);
        let changed = self.tree.refresh(look).unwrap_or_else(|_| {
            self.failures += 1;
            false
        });
        if changed || self.states.len() != self.tree.nodes().len() {
            self.align(groups, now);
        }
        if self.read_figures(groups, now, around) {
            // Some went away while they were read: they are closed now, and not a tick later, and what took their
            // place is read at once. Whatever vanishes during this second round is closed at the next sample.
            if self.tree.refresh(Look::Count).unwrap_or(false) {
                self.align(groups, now);
                self.read_figures(groups, now, around);
            }
        }
    }

    fn look(&mut self, now: Moment) -> Look {
        let links_every = match self.tree.version() {
            Version::V1 => LINKS_EVERY_V1,
            Version::V2 => LINKS_EVERY_V2,
        };
        let links = is_due(&mut self.links_due, now, links_every);
        if is_due(&mut self.everything_due, now, EVERYTHING_EVERY) {
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

    /// Reads every cgroup's figures; `true` where one was found to be gone.
    fn read_figures(&mut self, groups: &mut [GroupSample], now: Moment, around: Surroundings) -> bool {
        let mut gone = false;
        for index in 0..groups.len() {
            let (Some(node), Some(state), Some(group)) = (
                self.tree.nodes().get(index),
                self.states.get_mut(index),
                groups.get_mut(index),
            ) else {
                break;
            };
            let reading = Reading {
                dir: &node.dir,
                buffer: &mut self.buffer,
                now,
                around,
            };
            match reading.update(group, state) {
                Ok(()) => {}
                Err(error) if error.is_gone() => {
                    self.tree.mark_gone(index);
                    group.populated = false;
                    gone = true;
                }
                Err(_) => self.failures += 1,
            }
        }
        if self.tree.version() == Version::V1 {
            spread_populated(groups);
        }
        gone
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
            traits: None,
        }
    }
}

/// The next time after `now` at which something is due, in the same slice of the second.
fn next_due(due: Moment, now: Moment) -> Moment {
    let late = now.since(due).0 % FIGURES_EVERY.0;
    Moment(now.0 - late.min(now.0)) + FIGURES_EVERY
}

/// One cgroup's reading.
struct Reading<'a> {
    dir: &'a CgroupDir,
    buffer: &'a mut Buffer,
    now: Moment,
    around: Surroundings,
}

impl Reading<'_> {
    fn update(mut self, group: &mut GroupSample, state: &mut GroupState) -> Result<(), KernelError> {
        let current = self.number(GroupFile::Current)?;
        let changed = current.is_some_and(|current| current != group.current);
        if let Some(current) = current {
            group.current = current;
        }
        let is_node_wide = matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
        if changed || is_node_wide || self.now >= state.figures_due {
            state.figures_due = next_due(state.figures_due, self.now);
            self.update_figures(group)?;
        }
        if self.around.killed || self.now >= state.rare_due {
            state.rare_due = next_due(state.rare_due, self.now);
            self.update_rare(group)?;
        }
        Ok(())
    }

    fn update_figures(&mut self, group: &mut GroupSample) -> Result<(), KernelError> {
        let version = self.dir.version();
        if let Some(content) = self.dir.read(GroupFile::Stat, self.buffer)? {
            let stat = match version {
                Version::V1 => MemoryStat::parse_v1(content),
                Version::V2 => MemoryStat::parse_v2(content),
            };
            // An empty file is a read that went wrong, not a cgroup without memory.
            if !content.is_empty() {
                note_stat(group, &stat);
            }
        }
        if version == Version::V2 && self.around.swap {
            group.swap_current = self.number(GroupFile::SwapCurrent)?.unwrap_or_default();
        }
        match self.dir.read(GroupFile::Pressure, self.buffer) {
            Ok(content) => group.stall = content.map(Pressure::parse).as_ref().and_then(stall_of),
            // psi=0, or cgroup.pressure switched off for this cgroup.
            Err(KernelError::Unsupported { .. }) => group.stall = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn update_rare(&mut self, group: &mut GroupSample) -> Result<(), KernelError> {
        if let Some(limit) = self.limit(GroupFile::Max)? {
            group.limit = limit;
        }
        if let Some(content) = self.dir.read(GroupFile::Events, self.buffer)? {
            group.oom_kills = MemoryEvents::parse(content).oom_kill;
        }
        if let Some(limit) = self.limit(GroupFile::SwapMax)? {
            group.swap_limit = match (self.dir.version(), limit, group.limit) {
                (Version::V2, limit, _) => limit,
                // v1 limits memory and swap together.
                (Version::V1, DecideLimit::Bytes(both), DecideLimit::Bytes(memory)) => {
                    DecideLimit::Bytes(both - memory)
                }
                (Version::V1, _, _) => DecideLimit::Max,
            };
        }
        let populated = self.dir.read(GroupFile::Populated, self.buffer)?.map(|content| {
            entries(content)
                .find(|entry| entry.key == b"populated")
                .is_some_and(|entry| entry.number() != 0)
        });
        group.populated = match populated {
            Some(populated) => populated,
            None => self.has_processes(),
        };
        Ok(())
    }

    /// A process is in the cgroup itself. Where that cannot be read there may be one.
    fn has_processes(&mut self) -> bool {
        match self.dir.read(GroupFile::Procs, self.buffer) {
            Ok(content) => content.is_none_or(|content| !content.is_empty()),
            Err(_) => true,
        }
    }

    /// A file of one number; `None` where it is absent, or empty, or no number.
    fn number(&mut self, file: GroupFile) -> Result<Option<Bytes>, KernelError> {
        Ok(self.dir.read(file, self.buffer)?.and_then(unsigned).map(Bytes))
    }

    fn limit(&mut self, file: GroupFile) -> Result<Option<DecideLimit>, KernelError> {
        let limit = self.dir.read(file, self.buffer)?.and_then(Limit::parse);
        Ok(limit.map(|limit| match limit {
            Limit::Bytes(bytes) => DecideLimit::Bytes(Bytes(bytes)),
            Limit::Max => DecideLimit::Max,
        }))
    }
}

fn note_stat(group: &mut GroupSample, stat: &MemoryStat) {
    group.anon = Bytes(stat.anon);
    group.shmem = Bytes(stat.shmem);
    group.active_file = Bytes(stat.active_file);
    group.inactive_file = Bytes(stat.inactive_file);
    group.dirty = Bytes(stat.file_dirty);
    group.writeback = Bytes(stat.file_writeback);
    group.unevictable = Bytes(stat.unevictable);
    group.slab_reclaimable = Bytes(stat.slab_reclaimable);
    group.refault_file_pages = stat.refault_file_pages;
    if let Some(swap) = stat.swap {
        group.swap_current = Bytes(swap);
    }
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

fn blank(id: GroupId) -> GroupSample {
    GroupSample {
        id,
        parent: None,
        kind: GroupKind::Host,
        leaf: true,
        populated: true,
        protection: None::<Protection>,
        limit: DecideLimit::Max,
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
