//! Cgroups outside `kubepods` that grow while no followed process shows it: a file on a memory-backed directory, full
//! pipes, children that are too small to be followed. Their processes are followed however small they are, or nobody could
//! be named.
//!
//! Growth is counted since the present minute began, of the cgroup and of its followed processes alike. It refuses to say
//! who of them did it.

use core::cmp::Reverse;

use forestall_decide::{Bytes, GroupId, GroupKind, GroupSample, Moment, Span};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::GroupFile;
use forestall_kernel::parse::{lines, unsigned};

use super::{ProcessReader, View};
use crate::node::is_due;

/// Processes of suspect cgroups that are followed beside the large ones. The kernel lists those first that have been in a
/// cgroup for longest (`css_task_iter` in `kernel/cgroup/cgroup.c`), and the parent of the others is among them.
pub(super) const SUSPECTS_MAX: usize = 32;
/// Growth is counted anew after this. What was suspect in the one before stays so for another.
const COUNTED_OVER: Span = Span::secs(60);

/// A cgroup as it was when the present minute began.
#[derive(Clone, Copy, Debug)]
struct Mark {
    group: GroupId,
    held: Bytes,
    seen_at: Moment,
    /// By how much it has grown unexplained in the present minute, and in the one before.
    unexplained: Bytes,
    unexplained_before: Bytes,
}

/// The marks of all cgroups outside `kubepods` that have no followed one below them.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    marks: Vec<Mark>,
    due: Moment,
    /// What grew most stands first.
    homes: Vec<(Reverse<Bytes>, GroupId)>,
}

impl Suspects {
    /// A new minute begins: whoever follows processes notes what each of them holds.
    pub(super) fn begins_anew(&mut self, now: Moment) -> bool {
        let begins = is_due(&mut self.due, now, COUNTED_OVER);
        if begins {
            // Marks that were not met since the last time are of cgroups that are gone.
            self.marks.retain(|mark| now.since(mark.seen_at) < COUNTED_OVER);
            for mark in &mut self.marks {
                mark.unexplained_before = mark.unexplained;
                mark.unexplained = Bytes::ZERO;
                mark.held = Bytes(u64::MAX);
            }
        }
        begins
    }

    /// Finds the cgroups that have grown by at least `least`, more than half of it unexplained: `explained` says by how much
    /// the followed processes of one have grown.
    pub(super) fn find(
        &mut self,
        groups: &[GroupSample],
        now: Moment,
        least: Bytes,
        explained: impl Fn(GroupId) -> Bytes,
    ) {
        self.homes.clear();
        let candidates = groups
            .iter()
            .filter(|group| group.kind == GroupKind::Host && group.leaf && group.protection.is_none());
        for group in candidates {
            let held = group.unreclaimable();
            let Some(mark) = self.mark(group.id) else { continue };
            mark.seen_at = now;
            mark.held = mark.held.min(held);
            let grown = held - mark.held;
            if grown >= least && explained(group.id).0 < grown.0 / 2 {
                mark.unexplained = mark.unexplained.max(grown);
            }
            let unexplained = mark.unexplained.max(mark.unexplained_before);
            if unexplained > Bytes::ZERO && group.populated {
                self.homes.push((Reverse(unexplained), group.id));
            }
        }
        self.homes.sort_unstable();
    }

    /// Nobody is blamed: every wall is far away.
    pub(super) fn clear(&mut self) {
        self.homes.clear();
    }

    /// A suspect cgroup of the last look; what grew most comes first.
    pub(super) fn home(&self, place: usize) -> Option<GroupId> {
        self.homes.get(place).map(|(_, home)| *home)
    }

    fn mark(&mut self, group: GroupId) -> Option<&mut Mark> {
        let place = self.marks.binary_search_by_key(&group, |mark| mark.group);
        let place = place.unwrap_or_else(|place| {
            let new = Mark {
                group,
                held: Bytes(u64::MAX),
                seen_at: Moment(0),
                unexplained: Bytes::ZERO,
                unexplained_before: Bytes::ZERO,
            };
            self.marks.insert(place, new);
            place
        });
        self.marks.get_mut(place)
    }
}

impl ProcessReader {
    /// Follows the first processes of each cgroup whose growth the followed ones do not explain.
    pub(super) fn look_at_suspects(&mut self, view: View<'_>) {
        for tracked in &mut self.tracked {
            tracked.is_suspect = false;
        }
        if view.may_rest {
            return self.suspects.clear();
        }
        if self.suspects.begins_anew(view.now) {
            for tracked in &mut self.tracked {
                tracked.base = tracked.sample.unreclaimable;
            }
        }
        let least = self.bytes_min(view);
        let tracked = &self.tracked;
        self.suspects.find(view.groups, view.now, least, |home| {
            let at_home = tracked
                .iter()
                .filter(|tracked| tracked.sample.group == Some(home));
            at_home
                .map(|tracked| tracked.sample.unreclaimable - tracked.base)
                .sum()
        });
        let (mut left, mut place) = (SUSPECTS_MAX, 0);
        while let Some(home) = self.suspects.home(place)
            && left > 0
        {
            left -= self.look_at_home(home, left, view);
            place += 1;
        }
    }

    /// Follows the first `count_max` processes of one cgroup; returns how many it has of them.
    fn look_at_home(&mut self, home: GroupId, count_max: usize, view: View<'_>) -> usize {
        let node = view
            .tree
            .and_then(|tree| tree.nodes().get(tree.find(home.0)? as usize));
        let Some(node) = node else { return 0 };
        let content = match node.dir.read(GroupFile::Procs, &mut self.buffer) {
            Ok(content) => content.unwrap_or_default(),
            Err(KernelError::Truncated { .. }) => self.buffer.as_bytes(),
            Err(_) => return 0,
        };
        let mut pids = [0; SUSPECTS_MAX];
        let mut count = 0;
        let listed = lines(content).filter_map(|line| u32::try_from(unsigned(line)?).ok());
        for (slot, pid) in pids.iter_mut().zip(listed.take(count_max)) {
            *slot = pid;
            count += 1;
        }
        for pid in pids.into_iter().take(count) {
            self.follow_suspect(pid, view);
        }
        count
    }

    fn follow_suspect(&mut self, pid: u32, view: View<'_>) {
        let known = self
            .tracked
            .iter_mut()
            .find(|tracked| tracked.sample.id.pid == pid);
        if let Some(tracked) = known {
            tracked.is_suspect = true;
        } else if self.look_inner(pid, view, true).is_err() {
            self.forget(pid);
        }
    }
}
