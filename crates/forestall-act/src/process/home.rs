//! Where a process lives, as `/proc/PID/cgroup` shows it (`cgroups(7)`): one line for each hierarchy,
//! `number:controllers:path`.
//!
//! The path begins at the root of the *reader's* cgroup namespace, and what lies outside of that begins with `/..`
//! (`cgroup_namespaces(7)`); the directory of a cgroup begins where somebody mounted its hierarchy, perhaps not at the root of
//! it. So the two are compared from their ends: a path may begin with any tail of the directory's own. That is proof enough
//! that a process lives where it is said to live, and a difference proves nothing: then the kernel's list of the cgroup's
//! processes has to be asked.

use std::os::unix::ffi::OsStrExt;

use crate::order::{CgroupPlace, CgroupVersion};

/// Whether this `/proc/PID/cgroup` names the cgroup or one below it.
pub(crate) fn names(text: &[u8], place: &CgroupPlace) -> bool {
    path_below(text, place).is_some()
}

/// The path below the cgroup that this `/proc/PID/cgroup` names, empty for the cgroup itself; `None` where it is not proven to
/// be in it.
pub(crate) fn path_below<'a>(text: &'a [u8], place: &CgroupPlace) -> Option<&'a [u8]> {
    let path = match place.version {
        CgroupVersion::V1 => path_with(text, |controllers| {
            controllers
                .split(|byte| *byte == b',')
                .any(|one| one == b"memory")
        }),
        CgroupVersion::V2 => path_with(text, <[u8]>::is_empty),
    };
    path.and_then(|path| after_a_tail_of(path, place.path.as_os_str().as_bytes()))
}

/// Whether it names a pod's cgroup, or anything else below `kubepods`, in any hierarchy. `kubepods` is part of the name of its
/// root in every spelling (kubelet, `pkg/kubelet/cm/cgroup_manager_linux.go`).
pub(crate) fn names_a_pod(text: &[u8]) -> bool {
    whole_lines(text).any(|line| line.windows(8).any(|name| name == b"kubepods"))
}

/// Whether it lies outside of our cgroup namespace, so that what stands there does not say whose it is: the hierarchy that
/// Whether in any hierarchy it lies outside of our cgroup namespace: then what stands there does not say whose it is.
pub(crate) fn is_out_of_sight(text: &[u8]) -> bool {
    whole_lines(text).any(|line| {
        let path = line.splitn(3, |byte| *byte == b':').nth(2);
        path.is_some_and(|path| is_at_or_below(path, b"/.."))
    })
}

/// The path in the hierarchy whose controllers are meant.
fn path_with(text: &[u8], is_meant: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    whole_lines(text).find_map(|line| {
        // The path may hold colons itself.
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        is_meant(controllers).then_some(path)
    })
}

/// The lines that have their end: one that the buffer has cut off names another cgroup.
fn whole_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    text.get(..end).unwrap_or_default().split(|byte| *byte == b'\n')
}

/// What follows in `path`, without the steps up at its beginning, after the longest tail of `place` that it begins with. Of
/// nothing but the root nothing can be said.
fn after_a_tail_of<'a>(path: &'a [u8], place: &[u8]) -> Option<&'a [u8]> {
    let mut path = path;
    while is_at_or_below(path, b"/..") {
        path = path.get(3..).unwrap_or_default();
    }
    let slashes = place.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes
        .filter_map(|(at, _)| place.get(at..))
        .find(|tail| tail.len() > 1 && is_at_or_below(path, tail))
        .and_then(|tail| path.strip_prefix(tail))
}

/// Whether `path` is `above` or lies below it.
fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use forestall_decide::{GroupId, GroupKind, Qos};
    use std::sync::Arc;

    fn place(path: &str, version: CgroupVersion) -> CgroupPlace {
        let dir = std::fs::File::open("/").expect("a directory");
        CgroupPlace {
            dir: Arc::new(dir.into()),
            id: GroupId(1),
            kind: GroupKind::Container(Qos::Burstable),
            path: std::path::Path::new(path).into(),
            version,
        }
    }

    fn is_in(text: &str, place: &CgroupPlace) -> bool {
        names(text.as_bytes(), place)
    }

    #[test]
    fn on_v2_the_unified_line_tells() {
        let unit = place("/sys/fs/cgroup/system.slice/a.service", CgroupVersion::V2);
        assert!(is_in("0::/system.slice/a.service\n", &unit));
        assert!(is_in("0::/system.slice/a.service/payload\n", &unit));
        // Beside v1 hierarchies too, wherever their lines say it is.
        assert!(is_in("4:memory:/elsewhere\n0::/system.slice/a.service\n", &unit));
        for elsewhere in [
            "0::/system.slice/b.service\n",
            "0::/system.slice/a.service2\n",
            "0::/system.slice\n",
            "0::/user.slice/a.service\n",
            "0::/\n",
            "4:memory:/system.slice/a.service\n0::/\n",
            "0::\n",
            "",
            // Cut off by a buffer's end.
            "0::/system.slice/a.service",
        ] {
            assert!(!is_in(elsewhere, &unit), "{elsewhere:?}");
        }
    }

    #[test]
    fn on_v1_the_memory_controllers_line_tells() {
        let pod = place("/sys/fs/cgroup/memory/kubepods/pod1/c1", CgroupVersion::V1);
        assert!(is_in("9:pids:/x\n4:cpu,memory:/kubepods/pod1/c1\n0::/\n", &pod));
        assert!(!is_in(
            "9:pids:/kubepods/pod1/c1\n4:memory:/kubepods/pod1\n",
            &pod
        ));
        // One that is exiting is shown at the root (kernel/cgroup/cgroup.c, proc_cgroup_show).
        assert!(!is_in("4:memory:/\n", &pod));
    }

    #[test]
    fn steps_up_out_of_a_namespace_are_passed_over() {
        let other = place("/sys/fs/cgroup/kubepods/burstable/pod2/c2", CgroupVersion::V2);
        assert!(is_in("0::/../../../burstable/pod2/c2\n", &other));
        assert!(is_in("0::/../../pod2/c2/inner\n", &other));
        assert!(!is_in("0::/../../pod2/c3\n", &other));
        assert!(!is_in("0::/../..\n", &other));
        assert!(!is_in("0::/..pod2/c2\n", &other));
    }

    #[test]
    fn a_name_may_hold_colons() {
        let odd = place("/sys/fs/cgroup/system.slice/a:b::c.service", CgroupVersion::V2);
        assert!(is_in("0::/system.slice/a:b::c.service\n", &odd));
    }

    #[test]
    fn what_lies_outside_of_the_namespace_is_out_of_sight() {
        // A pod's, in the layout of cgroupfs, as the agent of another pod is shown it; and one of the root itself.
        for away in ["0::/../../pod2/c2\n", "9:pids:/\n4:memory:/../..\n0::/\n"] {
            assert!(is_out_of_sight(away.as_bytes()), "{away:?}");
            assert!(!names_a_pod(away.as_bytes()), "{away:?}");
        }
        for here in [
            "0::/system.slice/a.service\n",
            "0::/..odd\n",
            "0::/a/../b\n",
            "0::/\n",
            "",
        ] {
            assert!(!is_out_of_sight(here.as_bytes()), "{here:?}");
        }
    }

    #[test]
    fn a_pod_is_known_by_the_name_of_its_root() {
        for pod in [
            "0::/kubepods/burstable/pod1/c1\n",
            "0::/../../kubelet-kubepods.slice/kubelet-kubepods-pod1.slice\n",
            "4:memory:/kubepods.slice/x\n0::/\n",
        ] {
            assert!(names_a_pod(pod.as_bytes()), "{pod:?}");
        }
        assert!(!names_a_pod(b"0::/system.slice/kubelet.service\n"));
        assert!(!names_a_pod(b""));
    }
}
