//! What is known of the machine when its processes are looked at.

use forestall_decide::{Bytes, GroupId, GroupSample, Moment};
use forestall_kernel::cgroup::{Tree, Vantage};
use forestall_kernel::proc::ProcRoot;

use crate::essentials::{Essentials, is_at_or_below};

/// What looking at a process needs beside the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) proc: &'a ProcRoot,
    pub(crate) tree: Option<&'a Tree>,
    pub(crate) vantage: &'a Vantage,
    pub(crate) groups: &'a [GroupSample],
    pub(crate) essentials: &'a Essentials,
    pub(crate) total: Bytes,
    /// Every wall is far away.
    pub(crate) may_rest: bool,
    pub(crate) now: Moment,
}

impl View<'_> {
    /// The deepest followed cgroup that `path`, from the root of the hierarchy, is in; `None` for the root.
    pub(super) fn home_of(&self, path: &[u8]) -> Option<GroupId> {
        self.tree?
            .nodes()
            .iter()
            .filter(|node| is_at_or_below(path, &node.path))
            .max_by_key(|node| node.path.len())
            .map(|node| GroupId(node.dir.inode()))
    }
}
