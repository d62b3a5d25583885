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

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"12:name=systemd:/kubepods/x\n4:memory:/kubepods/burstable/pod1/c1\n\
        2:cpu,cpuacct:/kubepods\n0::/system.slice/a:b.service\n";

    #[test]
    fn memory_is_charged_on_v1_where_v1_has_the_controller() {
        assert_eq!(memory_path(HYBRID), Some(&b"/kubepods/burstable/pod1/c1"[..]));
        assert_eq!(unified_path(HYBRID), Some(&b"/system.slice/a:b.service"[..]));
    }

    #[test]
    fn pure_v2_has_one_path() {
        assert_eq!(memory_path(b"0::/\n"), Some(&b"/"[..]));
        assert_eq!(memory_path(b"5:pids:/x\n"), None);
    }

    #[test]
    fn several_controllers_share_a_line() {
        let line = memberships(HYBRID).nth(2).expect("three lines");
        assert!(line.has_controller(b"cpu") && line.has_controller(b"cpuacct"));
        assert!(!line.has_controller(b"cpuset") && !line.has_controller(b"acct"));
    }

    #[test]
    fn a_removed_cgroup_is_told_from_a_name() {
        let only = |content: &'static [u8]| memberships(content).next().expect("one line");
        let removed = only(b"0::/kubepods/pod1 (deleted)\n");
        assert_eq!((removed.path, removed.deleted), (&b"/kubepods/pod1"[..], true));
        // v1 adds nothing, so there it is a name.
        let named = only(b"4:memory:/x (deleted)\n");
        assert_eq!((named.path, named.deleted), (&b"/x (deleted)"[..], false));
    }

    #[test]
    fn nonsense_is_left_out() {
        assert_eq!(memberships(b"\nx::/\n0:/\n0::relative\n").count(), 0);
    }
}
