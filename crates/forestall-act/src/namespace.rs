//! Whether the processes that are to be acted upon have numbers here at all.
//!
//! A container has a PID namespace of its own unless it is asked otherwise (hostPID). There a proc file system of its own shows
//! nobody else, and a pidfd can be had of this container's processes alone. That a namespace is not the machine's first one says
//! nothing by itself: a node may be a container (kind), and an agent that shares the node's namespace sees everybody who matters.
//!
//! cgroup v2 lists whoever lives outside as 0 (`cgroup_procs_show` in `kernel/cgroup/cgroup.c`): one is proof. v1 leaves them out
//! (`pidlist_array_load` in `kernel/cgroup/cgroup-v1.c`), and an empty list may be an empty cgroup. There the proof is asked the other way
//! round: who sees a container's process in that container's own namespace stands above containers, and is none beside them.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};

use crate::group;
use crate::order::CgroupVersion;
use crate::process::ProcessDir;

/// What the first PID namespace is called: its inode is fixed (`PROC_PID_INIT_INO`, 0xEFFFFFFC, in `include/linux/proc_ns.h`).
const FIRST: &[u8] = b"pid:[4026531836]";
/// And the first user namespace (`PROC_USER_INIT_INO`, 0xEFFFFFFD).
const FIRST_OF_USERS: &[u8] = b"user:[4026531837]";

/// `EXDEV` where processes live below `group` that this process's PID namespace does not know, and on v1 where they might.
pub(crate) fn check_everybody_has_a_number(
    proc_root: BorrowedFd<'_>,
    group: Option<(BorrowedFd<'_>, CgroupVersion)>,
) -> Result<()> {
    let everybody = match group {
        _ if is_first(proc_root) => true,
        // A process that is just ending may show as 0 once.
        Some((group, CgroupVersion::V2)) => !has_strangers(group) || !has_strangers(group),
        Some((group, CgroupVersion::V1)) => has_nested(proc_root, group),
        None => true,
    };
    if everybody { Ok(()) } else { Err(Errno::XDEV) }
}

/// Whether capabilities here are the machine's: in a user namespace of a container's own they count for nothing that is everybody's.
pub(crate) fn has_machines_users(proc_root: BorrowedFd<'_>) -> bool {
    is_called(proc_root, c"self/ns/user", FIRST_OF_USERS)
}

fn is_first(proc_root: BorrowedFd<'_>) -> bool {
    is_called(proc_root, c"self/ns/pid", FIRST)
}

fn is_called(proc_root: BorrowedFd<'_>, link: &CStr, name: &[u8]) -> bool {
    let mut buffer = [0_u8; 32];
    let read = rustix::fs::readlinkat_raw(proc_root, link, &mut buffer[..]);
    read.is_ok_and(|length| buffer.get(..length) == Some(name))
}

fn has_strangers(group: BorrowedFd<'_>) -> bool {
    let mut pids = Vec::new();
    // What was read before an error counts: one stranger is enough.
    let _ = group::list_below(group, &mut pids);
    pids.contains(&0)
}

fn has_nested(proc_root: BorrowedFd<'_>, group: BorrowedFd<'_>) -> bool {
    let mut pids = Vec::new();
    // As above: one is enough.
    let _ = group::list_below(group, &mut pids);
    let is_nested = |pid| ProcessDir::open(proc_root, pid).and_then(|process| process.is_nested());
    pids.into_iter().any(|pid| is_nested(pid).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn capabilities_are_the_machines_in_its_first_user_namespace_alone() {
        let proc_root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(proc_root.path().join("self/ns")).expect("directories");
        let proc_root_dir = File::open(proc_root.path()).expect("a directory");
        for (name, machines) in [("user:[4026531837]", true), ("user:[4026532101]", false)] {
            let link = proc_root.path().join("self/ns/user");
            let _ = fs::remove_file(&link);
            symlink(name, &link).expect("a link");
            assert_eq!(has_machines_users(proc_root_dir.as_fd()), machines, "{name}");
        }
    }

    #[test]
    fn a_process_without_a_number_is_one_of_another_namespace() {
        let (root, proc_root) = (tempfile::tempdir(), tempfile::tempdir());
        let (root, proc_root) = (root.expect("a directory"), proc_root.expect("a directory"));
        fs::create_dir_all(root.path().join("pod/c")).expect("directories");
        fs::create_dir_all(proc_root.path().join("self/ns")).expect("directories");
        let open = |path| File::open(path).expect("a directory");
        let (group, proc_root_dir) = (open(root.path()), open(proc_root.path()));
        let check = || {
            let group = (group.as_fd(), CgroupVersion::V2);
            check_everybody_has_a_number(proc_root_dir.as_fd(), Some(group))
        };
        let link = proc_root.path().join("self/ns/pid");
        // The first namespace, and a container's.
        for (namespace, listed, expected) in [
            ("pid:[4026531836]", "0\n", Ok(())),
            ("pid:[4026532281]", "0\n", Err(Errno::XDEV)),
            ("pid:[4026532281]", "71\n0\n", Err(Errno::XDEV)),
            ("pid:[4026532281]", "71\n10\n", Ok(())),
            ("pid:[4026532281]", "", Ok(())),
        ] {
            let _ = fs::remove_file(&link);
            symlink(namespace, &link).expect("a link");
            for dir in ["", "pod", "pod/c"] {
                let content = if dir == "pod/c" { listed } else { "" };
                fs::write(root.path().join(dir).join("cgroup.procs"), content).expect("a file");
            }
            assert_eq!(check(), expected, "{namespace} {listed:?}");
        }
        assert_eq!(check_everybody_has_a_number(proc_root_dir.as_fd(), None), Ok(()));
    }

    #[test]
    fn where_v1_lists_nobody_from_outside_it_takes_a_containers_own_namespace_to_prove_that_all_are_seen() {
        let (root, proc_root) = (tempfile::tempdir(), tempfile::tempdir());
        let (root, proc_root) = (root.expect("a directory"), proc_root.expect("a directory"));
        fs::create_dir_all(root.path().join("pod/c")).expect("directories");
        fs::create_dir_all(proc_root.path().join("self/ns")).expect("directories");
        fs::write(root.path().join("cgroup.procs"), "").expect("a file");
        fs::write(root.path().join("pod/cgroup.procs"), "").expect("a file");
        // One of this namespace, and one of another below it, whose first process it is (proc_pid_status(5)).
        for (pid, numbers) in [("71", "71"), ("80", "80\t1")] {
            fs::create_dir_all(proc_root.path().join(pid)).expect("a directory");
            let status = format!("Name:\ta\nPid:\t{pid}\nNSpid:\t{numbers}\nThreads:\t1\n");
            fs::write(proc_root.path().join(pid).join("status"), status).expect("a file");
        }
        let open = |path| File::open(path).expect("a directory");
        let (group, proc_root_dir) = (open(root.path()), open(proc_root.path()));
        let link = proc_root.path().join("self/ns/pid");
        // The machine's own namespace, a pod's, whose own process is listed or none, and that of a node which is a container.
        for (namespace, listed, expected) in [
            ("pid:[4026531836]", "", Ok(())),
            ("pid:[4026532281]", "", Err(Errno::XDEV)),
            ("pid:[4026532281]", "71\n", Err(Errno::XDEV)),
            ("pid:[4026532281]", "71\n99\n", Err(Errno::XDEV)),
            ("pid:[4026532281]", "71\n80\n", Ok(())),
        ] {
            let _ = fs::remove_file(&link);
            symlink(namespace, &link).expect("a link");
            fs::write(root.path().join("pod/c/cgroup.procs"), listed).expect("a file");
            let group = (group.as_fd(), CgroupVersion::V1);
            let checked = check_everybody_has_a_number(proc_root_dir.as_fd(), Some(group));
            assert_eq!(checked, expected, "{namespace} {listed:?}");
        }
    }
}
