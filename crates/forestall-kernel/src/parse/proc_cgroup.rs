//! `/proc/PID/cgroup` (`proc_cgroup_show` in `kernel/cgroup/cgroup.c`): where a process lives in each hierarchy.

use super::keyed::{lines, split_at_byte};
use super::number::unsigned_32;

/// One line: one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Number of the hierarchy; 0 is cgroup v2.
    pub hierarchy: u32,
    /// Its controllers, or `name=…`; empty for v2.
    pub controllers: &'a [u8],
    /// The cgroup, from the root of the reader's cgroup namespace; begins with `/..` where it lies outside of that.
    pub path: &'a [u8],
    /// The cgroup has been removed; what is left in it is a zombie (v2 only).
    pub deleted: bool,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (hierarchy, rest) = split_at_byte(line, |byte| byte == b':');
        // A controller's name holds no colon, a path may.
        let (controllers, path) = split_at_byte(rest, |byte| byte == b':');
        let hierarchy = unsigned_32(hierarchy)?;
        if !path.starts_with(b"/") {
            return None;
        }
        let alive = if hierarchy == 0 {
            path.strip_suffix(b" (deleted)")
        } else {
            None
        };
        Some(Self {
            hierarchy,
            controllers,
            path: alive.unwrap_or(path),
            deleted: alive.is_some(),
        })
    }

    /// Whether this is the v1 hierarchy of `controller`.
    pub fn has_controller(&self, controller: &[u8]) -> bool {
        self.controllers
            .split(|byte| *byte == b',')
            .any(|name| name == controller)
    }
}

/// The lines of `content`; those that make no sense are left out. The names of cgroups hold no newline, the kernel refuses
/// to make such (`cgroup_mkdir`).
pub fn memberships(content: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    lines(content).filter_map(Membership::parse)
}

/// The process's cgroup on v2.
pub fn unified_path(content: &[u8]) -> Option<&[u8]> {
    memberships(content)
        .find(|line| line.hierarchy == 0)
        .map(|line| line.path)
}

/// The cgroup that the process's memory is charged to: the v1 memory hierarchy where there is one, else v2.
pub fn memory_path(content: &[u8]) -> Option<&[u8]> {
    memberships(content)
        .find(|line| line.has_controller(b"memory"))
        .map(|line| line.path)
        .or_else(|| unified_path(content))
}
