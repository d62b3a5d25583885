//! Whether a process still lives where it did when it was chosen. Somebody may move it at any moment (a login session, a
//! service that sorts its children, the start of a container), and then what was decided of its old cgroup does not concern it.

use forestall_decide::ProcessId;
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

/// Whether a process of the host still lives at `home`, or, where that is unknown, anywhere outside the pods. `ESRCH`: it is
/// gone, or exits and has left its cgroup already.
pub(super) fn is_at_home(
    directory: &ProcessDir,
    id: ProcessId,
    home: Option<&CgroupPlace>,
    pids: &mut Vec<u32>,
) -> Result<bool> {
    let mut buffer = [0; file::BUFFER_BYTES];
    let read = directory.cgroup(&mut buffer);
    let is_there = match (read, home) {
        (Ok(text), _) if process::names_a_pod(text) => false,
        (_, Some(home)) => Members::of(home, pids).hold(directory, id.pid)?,
        // A kernel without cgroups has no such file; of a process that is gone there is none either, as is seen below.
        (Ok(_) | Err(Errno::NOENT), None) => true,
        (Err(error), None) => return Err(process::gone(error)),
    };
    let now = directory.facts().map_err(process::gone)?;
    if now.id != id || (!is_there && now.exiting) {
        return Err(Errno::SRCH);
    }
    Ok(is_there)
}
