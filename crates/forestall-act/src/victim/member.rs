//! Whether a process still lives where it did when it was chosen. Somebody may move it at any moment (a login session, a
//! service that sorts its children, the start of a container), and then what was decided of its old cgroup does not concern it.

use std::sync::Arc;

use forestall_decide::ProcessId;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::file;
use crate::group;
use crate::order::CgroupPlace;
use crate::process::{self, ProcessDir};

/// The processes of one cgroup, asked for one by one. `/proc/PID/cgroup` answers in most cases. Where it cannot be read, or
/// cannot be related to the directory that is held (a part of the hierarchy mounted elsewhere), the kernel's own list of the
/// cgroup's processes does, which is read once.
#[derive(Debug)]
pub(super) struct Members<'a> {
    place: &'a CgroupPlace,
    pids: &'a mut Vec<u32>,
    is_listed: bool,
}

impl<'a> Members<'a> {
    /// `pids` is room for the list.
    pub(super) fn of(place: &'a CgroupPlace, pids: &'a mut Vec<u32>) -> Self {
        Self {
            place,
            pids,
            is_listed: false,
        }
    }

    /// Whether the process lives in the cgroup or below it. An error where neither way can tell.
    pub(super) fn hold(&mut self, directory: &ProcessDir, pid: u32) -> Result<bool> {
        let mut buffer = [0; file::BUFFER_BYTES];
        if directory
            .cgroup(&mut buffer)
            .is_ok_and(|text| process::names(text, self.place))
        {
            return Ok(true);
        }
        if !self.is_listed {
            match group::list_processes(self.place, self.pids) {
                Ok(_) => {}
                // A cgroup that was removed holds nobody.
                Err(Errno::NOENT | Errno::NODEV) => self.pids.clear(),
                Err(error) => return Err(error),
            }
            self.is_listed = true;
        }
        Ok(self.pids.contains(&pid))
    }
}

/// The process's own cgroup, where that is proven to lie below `home`: only some levels are followed, and somebody may have
/// marked one further down.
pub(super) fn cgroup_of(directory: &ProcessDir, home: &CgroupPlace) -> Option<CgroupPlace> {
    let mut buffer = [0; file::BUFFER_BYTES];
    let text = directory.cgroup(&mut buffer).ok()?;
    let below = process::path_below(text, home)?.strip_prefix(b"/")?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = rustix::fs::openat(&*home.dir, below, flags, Mode::empty()).ok()?;
    Some(CgroupPlace {
        dir: Arc::new(dir),
        ..home.clone()
    })
}

/// Where a process is found that was chosen as one of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// Where it was, or where that is unknown outside the pods.
    AtHome,
    /// In another cgroup, or in a pod's.
    Moved,
    /// Outside of our cgroup namespace, and its home is unknown: nobody can say whose it is.
    OutOfSight,
}

/// Whether a process of the host still lives at `home`, or, where that is unknown, anywhere outside the pods. `ESRCH`: it is
/// gone, or exits and has left its cgroup already.
pub(super) fn find_process(
    directory: &ProcessDir,
    id: ProcessId,
    home: Option<&CgroupPlace>,
    pids: &mut Vec<u32>,
) -> Result<Whereabouts> {
    let mut buffer = [0; file::BUFFER_BYTES];
    let read = directory.cgroup(&mut buffer);
    let found = match (read, home) {
        (Ok(text), _) if process::names_a_pod(text) => Whereabouts::Moved,
        (_, Some(home)) => {
            if Members::of(home, pids).hold(directory, id.pid)? {
                Whereabouts::AtHome
            } else {
                Whereabouts::Moved
            }
        }
        (Ok(text), None) if process::is_out_of_sight(text) => Whereabouts::OutOfSight,
        // A kernel without cgroups has no such file; of a process that is gone there is none either, as is seen below.
        (Ok(_) | Err(Errno::NOENT), None) => Whereabouts::AtHome,
        (Err(error), None) => return Err(process::gone(error)),
    };
    let now = directory.facts().map_err(process::gone)?;
    if now.id != id || (found != Whereabouts::AtHome && now.exiting) {
        return Err(Errno::SRCH);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;

    /// Where a process with this `/proc/PID/cgroup` is found whose home is unknown.
    fn found(cgroup: &str) -> Result<Whereabouts> {
        let proc_root = tempfile::tempdir().expect("a directory");
        let dir = proc_root.path().join("77");
        fs::create_dir(&dir).expect("a directory");
        let stat = "77 (leak) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 9 1\n";
        fs::write(dir.join("stat"), stat).expect("a file");
        fs::write(dir.join("cgroup"), cgroup).expect("a file");
        let proc_root = fs::File::open(proc_root.path()).expect("a directory");
        let directory = ProcessDir::open(proc_root.as_fd(), 77).expect("a directory");
        let id = ProcessId {
            pid: 77,
            start_ticks: 5,
        };
        find_process(&directory, id, None, &mut Vec::new())
    }

    #[test]
    fn a_mark_below_the_home_is_found_from_where_the_process_lives() {
        let (root, proc_root) = (
            tempfile::tempdir().expect("a directory"),
            tempfile::tempdir().expect("a directory"),
        );
        let home = root.path().join("app.slice");
        for name in ["a.scope/inner", "b.scope"] {
            fs::create_dir_all(home.join(name)).expect("directories");
        }
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(home.join("a.scope"), "user.forestall", b"never", flags).expect("attributes");
        let place = CgroupPlace {
            dir: Arc::new(fs::File::open(&home).expect("a directory").into()),
            id: forestall_decide::GroupId(1),
            kind: forestall_decide::GroupKind::Host,
            path: home.into(),
            version: crate::order::CgroupVersion::V2,
        };
        let marked = |cgroup: &str| {
            let dir = proc_root.path().join("77");
            fs::create_dir_all(&dir).expect("a directory");
            fs::write(dir.join("cgroup"), cgroup).expect("a file");
            let proc_root = fs::File::open(proc_root.path()).expect("a directory");
            let directory = ProcessDir::open(proc_root.as_fd(), 77).expect("a directory");
            let own = cgroup_of(&directory, &place);
            group::mark_of(own.as_ref().unwrap_or(&place))
        };
        let opted_out = Ok(Some(forestall_decide::Protection::OptedOut));
        assert_eq!(marked("0::/user.slice/app.slice/a.scope/inner\n"), Ok(None));
        assert_eq!(marked("0::/app.slice/a.scope/inner\n"), opted_out);
        assert_eq!(marked("0::/../../app.slice/a.scope\n"), opted_out);
        for spared_by_nobody in [
            "0::/app.slice\n",
            "0::/app.slice/b.scope\n",
            "0::/app.slice/gone\n",
        ] {
            assert_eq!(marked(spared_by_nobody), Ok(None), "{spared_by_nobody}");
        }
    }

    #[test]
    fn without_a_home_only_who_is_in_sight_and_in_no_pod_is_the_hosts() {
        assert_eq!(found("0::/system.slice/a.service\n"), Ok(Whereabouts::AtHome));
        assert_eq!(found("0::/\n"), Ok(Whereabouts::AtHome));
        assert_eq!(found("0::/kubepods/burstable/pod2/c2\n"), Ok(Whereabouts::Moved));
        // The same pod as another pod's agent is shown it.
        assert_eq!(found("0::/../../pod2/c2\n"), Ok(Whereabouts::OutOfSight));
    }
}
