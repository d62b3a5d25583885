//! From where this process sees the hierarchy: what a path in `/proc/PID/cgroup` means below the mounted root.
//!
//! Both that path and the mount's root in `mountinfo` are told from the root of the *reader's* cgroup namespace, with `/..` for
//! every level above it (`cgroup_namespaces(7)`; `cgroup_path_ns` and `cgroup_show_path` in `kernel/cgroup/cgroup.c`). Container
//! runtimes give each container of cgroup v2 a namespace of its own. From within, with the machine's hierarchy mounted, the
//! root of that mount is `/../../../..`, the own cgroup `/`, and a neighbour's `/../../pod2/c2`: its class and `kubepods` are
//! not told, because they lie on the own path, too.
//!
//! It refuses to guess: what cannot be placed is [`Home::Unknown`].

use super::dir::GroupFile;
use super::tree::Tree;
use crate::file::Buffer;
use crate::parse::{lines, unsigned};

/// Where a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home<'a> {
    /// In the mounted hierarchy, at this path from its root.
    Inside(&'a [u8]),
    /// Not in the part of the hierarchy that is mounted; this is its path from the root of the reader's namespace, which is
    /// the machine's.
    Elsewhere(&'a [u8]),
    /// Somewhere outside of the reader's namespace.
    Unknown,
}

/// The relation between the root of the reader's cgroup namespace and the root of the mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vantage {
    /// Levels from the root of the namespace up to where the mount's root branches off.
    ups: usize,
    /// The mount's root from there; empty where it lies on our own path.
    branch: Box<[u8]>,
    /// The root of the namespace from the mount's root, once it is known.
    standpoint: Option<Box<[u8]>>,
    /// The machine's first process lives outside of what can be placed, so that nobody can be.
    is_blind: bool,
}

impl Vantage {
    /// `mount_root`: the mount's root as `mountinfo` shows it, unescaped.
    pub fn new(mount_root: &[u8]) -> Self {
        let (ups, branch) = climb(mount_root);
        Self {
            ups,
            branch: branch.into(),
            standpoint: None,
            is_blind: false,
        }
    }

    /// The reader has a cgroup namespace of its own, and where that lies in the mounted hierarchy is not known yet.
    pub fn lacks_standpoint(&self) -> bool {
        self.ups > 0 && self.branch.is_empty() && self.standpoint.is_none()
    }

    /// Finds the root of the namespace by looking for this process among the followed cgroups. `shown`: the own path in
    /// `/proc/self/cgroup`.
    pub fn find_standpoint(&mut self, tree: &Tree, shown: &[u8], buffer: &mut Buffer) {
        // The kernel lists members by their number in the reader's PID namespace (`cgroup_procs_show`).
        let own = u64::from(std::process::id());
        let lists_us = |content: &[u8]| lines(content).any(|line| unsigned(line) == Some(own));
        let home = tree.nodes().iter().find(|node| {
            let read = node.dir.read(GroupFile::Procs, buffer);
            read.is_ok_and(|content| content.is_some_and(lists_us))
        });
        if let Some(home) = home {
            self.stand_at(&home.path, shown);
        }
    }

    /// The own cgroup is `inside` the mounted hierarchy and is shown as `shown`.
    pub fn stand_at(&mut self, inside: &[u8], shown: &[u8]) {
        let (ups, below) = climb(shown);
        let root = inside.strip_suffix(below).filter(|_| ups == 0);
        let levels = |path: &[u8]| path.split(|byte| *byte == b'/').skip(1).count();
        // As deep as the mount says, or it is somebody else's.
        self.standpoint = root.filter(|root| levels(root) == self.ups).map(Into::into);
    }

    /// Tells where the machine's first process lives. Returns whether that can be placed; if not, nobody is.
    pub fn check_first(&mut self, shown: &[u8]) -> bool {
        let (ups, _) = climb(shown);
        self.is_blind = ups > self.ups;
        !self.is_blind && matches!(self.find_home(shown, &mut Vec::new()), Home::Inside(_))
    }

    /// Where a process lives whose `/proc/PID/cgroup` has this path. `room` takes a path that has to be put together.
    pub fn find_home<'a>(&self, shown: &'a [u8], room: &'a mut Vec<u8>) -> Home<'a> {
        if self.is_blind {
            return Home::Unknown;
        }
        let (ups, below) = climb(shown);
        if ups == self.ups {
            return match below.strip_prefix(&*self.branch) {
                Some([]) => Home::Inside(b"/"),
                Some(inside) if inside.starts_with(b"/") => Home::Inside(inside),
                _ if ups == 0 => Home::Elsewhere(shown),
                _ => Home::Unknown,
            };
        }
        let shared = self.ups.checked_sub(ups).filter(|_| self.branch.is_empty());
        match (shared, &self.standpoint) {
            (Some(shared), Some(standpoint)) => {
                room.clear();
                room.extend_from_slice(first_levels(standpoint, shared));
                room.extend_from_slice(below);
                Home::Inside(room)
            }
            _ => Home::Unknown,
        }
    }
}

/// The steps up at the beginning of a path, and the rest; of a root the rest is empty.
fn climb(path: &[u8]) -> (usize, &[u8]) {
    let (mut ups, mut rest) = (0, path);
    while let Some(above) = rest.strip_prefix(b"/..")
        && (above.is_empty() || above.starts_with(b"/"))
    {
        (ups, rest) = (ups + 1, above);
    }
    (ups, if rest == b"/" { b"" } else { rest })
}

/// The first `count` names of a path, each with the slash before it.
fn first_levels(path: &[u8], count: usize) -> &[u8] {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let end = slashes.map(|(at, _)| at).nth(count).unwrap_or(path.len());
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `find_home` says, as a text.
    fn home(vantage: &Vantage, shown: &str) -> String {
        match vantage.find_home(shown.as_bytes(), &mut Vec::new()) {
            Home::Inside(path) => String::from_utf8_lossy(path).into_owned(),
            Home::Elsewhere(path) => format!("elsewhere {}", String::from_utf8_lossy(path)),
            Home::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn on_the_machine_itself_a_path_is_what_it_says() {
        let mut vantage = Vantage::new(b"/");
        assert!(!vantage.lacks_standpoint());
        assert!(vantage.check_first(b"/init.scope"));
        assert_eq!(home(&vantage, "/"), "/");
        assert_eq!(home(&vantage, "/kubepods/pod1/c1"), "/kubepods/pod1/c1");
        assert_eq!(home(&vantage, "/..odd/name"), "/..odd/name");
        assert_eq!(home(&vantage, "/../x"), "unknown");
    }

    /// Recorded under Linux 6.18 with `unshare -C` in /process_api/4b35: the mount's root was `/../..`, PID 1 in `/../..`, the
    /// own cgroup `/`. The names are those of cgroups.
    #[test]
    fn in_a_namespace_of_its_own_everybody_is_placed_by_the_own_path() {
        let mut vantage = Vantage::new(b"/../../../..");
        assert!(vantage.lacks_standpoint());
        // What lies beside the topmost of our own cgroups is told in full; the rest depends on where we are.
        assert!(vantage.check_first(b"/../../../../init.scope"));
        assert_eq!(home(&vantage, "/../../pod2/c2"), "unknown");
        vantage.stand_at(b"/kubepods/burstable/pod1/c1", b"/");
        assert!(!vantage.lacks_standpoint());
        for (shown, inside) in [
            ("/", "/kubepods/burstable/pod1/c1"),
            ("/inner", "/kubepods/burstable/pod1/c1/inner"),
            ("/../c9", "/kubepods/burstable/pod1/c9"),
            ("/..", "/kubepods/burstable/pod1"),
            ("/../../pod2/c2", "/kubepods/burstable/pod2/c2"),
            ("/../../../besteffort/pod3/c3", "/kubepods/besteffort/pod3/c3"),
            ("/../../../..", "/"),
            ("/../../../../system.slice/a.service", "/system.slice/a.service"),
            ("/../../../../../x", "unknown"),
        ] {
            assert_eq!(home(&vantage, shown), inside, "{shown}");
        }
    }

    #[test]
    fn a_standpoint_that_is_not_as_deep_as_the_mount_says_is_none() {
        let mut vantage = Vantage::new(b"/../../../..");
        vantage.stand_at(b"/system.slice/a.service", b"/");
        assert!(vantage.lacks_standpoint());
        // We live below the namespace's root.
        vantage.stand_at(b"/kubepods/burstable/pod1/c1/inner", b"/inner");
        assert_eq!(home(&vantage, "/../../pod2/c2"), "/kubepods/burstable/pod2/c2");
        vantage.stand_at(b"/kubepods/burstable/pod1/c1/inner", b"/other");
        assert!(vantage.lacks_standpoint());
    }

    #[test]
    fn where_only_the_own_cgroup_is_mounted_nobody_can_be_placed() {
        let mut vantage = Vantage::new(b"/");
        assert!(!vantage.check_first(b"/../../../../init.scope"));
        for shown in ["/", "/inner", "/../../pod2/c2", "/../../../../init.scope"] {
            assert_eq!(home(&vantage, shown), "unknown", "{shown}");
        }
    }

    #[test]
    fn a_part_of_the_hierarchy_holds_what_lies_in_it() {
        let mut vantage = Vantage::new(b"/lxc/one");
        assert!(vantage.check_first(b"/lxc/one"));
        assert_eq!(home(&vantage, "/lxc/one/a"), "/a");
        assert_eq!(home(&vantage, "/lxc/one2"), "elsewhere /lxc/one2");
        assert!(!vantage.check_first(b"/init.scope"));
        assert_eq!(home(&vantage, "/init.scope"), "elsewhere /init.scope");
        // One that lies beside the reader's namespace.
        let beside = Vantage::new(b"/../../pod2");
        assert_eq!(home(&beside, "/../../pod2/c2"), "/c2");
        for shown in ["/", "/../c9", "/../../pod3/c3", "/../../../system.slice"] {
            assert_eq!(home(&beside, shown), "unknown", "{shown}");
        }
    }
}
