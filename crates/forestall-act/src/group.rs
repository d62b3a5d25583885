//! A cgroup through its open directory: who it is, who lives in it, what it holds, and its kill file.

mod mark;

pub(crate) use mark::mark_of;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use forestall_decide::{Bytes, GroupId};
use rustix::fs::{FileType, RawDir};
use rustix::io::{Errno, Result};

use crate::file;
use crate::order::{CgroupPlace, CgroupVersion};

/// Deeper than any container nests cgroups; what lies below is not reached, and the kill is refused then.
const DEPTH_MAX: usize = 12;

/// More processes than one container can reasonably hold (the default `pid_max` of large machines is 4 Mi).
const PROCESSES_MAX: usize = 1 << 16;

/// Whether the open directory is the cgroup that was meant. A removed cgroup's directory can still be stat'ed, but
/// nothing can be opened in it any more.
pub(crate) fn is_the_ordered_one(place: &CgroupPlace) -> bool {
    rustix::fs::fstat(&*place.dir).is_ok_and(|stat| GroupId(stat.st_ino) == place.id)
        && file::open_read(&*place.dir, c"cgroup.procs").is_ok()
}

/// Everybody in the cgroup and below it, into `pids`, which is emptied first. Returns whether a cgroup lies below it.
/// PID 0 stands for a process of a PID namespace that cannot be seen from here.
pub(crate) fn list_processes(place: &CgroupPlace, pids: &mut Vec<u32>) -> Result<bool> {
    pids.clear();
    collect(place.dir.as_fd(), pids, DEPTH_MAX)
}

/// The same of a directory that nobody has ordered anything for.
pub(crate) fn list_below(dir: BorrowedFd<'_>, pids: &mut Vec<u32>) -> Result<bool> {
    collect(dir, pids, DEPTH_MAX)
}

fn collect(dir: BorrowedFd<'_>, pids: &mut Vec<u32>, depth_left: usize) -> Result<bool> {
    match read_pids(dir, pids) {
        // A threaded cgroup answers EOPNOTSUPP; its processes are listed by the domain above it.
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    visit_children(dir, &mut |child| {
        let depth_left = depth_left.checked_sub(1).ok_or(Errno::TOOBIG)?;
        collect(child, pids, depth_left).map(drop)
    })
}

/// Whether somebody has opted out a cgroup below this one: whatever is done to all of this one is done to that, too.
pub(crate) fn has_opted_out_below(place: &CgroupPlace) -> Result<bool> {
    fn look(dir: BorrowedFd<'_>, found: &mut bool, depth_left: usize) -> Result<bool> {
        visit_children(dir, &mut |child| {
            let depth_left = depth_left.checked_sub(1).ok_or(Errno::TOOBIG)?;
            *found = *found || mark::is_opted_out(child)?;
            if *found {
                return Ok(());
            }
            look(child, found, depth_left).map(drop)
        })
    }
    let mut found = false;
    look(place.dir.as_fd(), &mut found, DEPTH_MAX)?;
    Ok(found)
}

/// Whether a cgroup lies below this one.
pub(crate) fn has_children(place: &CgroupPlace) -> Result<bool> {
    visit_children(place.dir.as_fd(), &mut |_| Ok(()))
}

/// Hands every cgroup right below to `visit`; one that is removed meanwhile is none. Returns whether there is any.
fn visit_children(dir: BorrowedFd<'_>, visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<()>) -> Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(file::open_dir(dir, c".")?, &mut buffer);
    let mut has_children = false;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        has_children = true;
        match file::open_dir(dir, name) {
            Ok(child) => match visit(child.as_fd()) {
                // Removed while it was being looked at: nobody was in it.
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(error) => return Err(error),
            },
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(has_children)
}

/// Reads `cgroup.procs` in pieces: numbers, one a line, in no order.
fn read_pids(dir: BorrowedFd<'_>, pids: &mut Vec<u32>) -> Result<()> {
    let procs = file::open_read(dir, c"cgroup.procs")?;
    let mut buffer = [0; 4096];
    let mut pid = None;
    loop {
        let read = match rustix::io::read(&procs, &mut buffer) {
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        for byte in buffer.get(..read).unwrap_or_default() {
            if byte.is_ascii_digit() {
                let digit = u32::from(byte - b'0');
                let next = pid
                    .unwrap_or(0_u32)
                    .checked_mul(10)
                    .and_then(|pid| pid.checked_add(digit));
                pid = Some(next.ok_or(Errno::INVAL)?);
            } else if let Some(pid) = pid.take() {
                pids.push(pid);
            }
        }
        if pids.len() > PROCESSES_MAX {
            return Err(Errno::TOOBIG);
        }
        if read == 0 {
            pids.extend(pid);
            return Ok(());
        }
    }
}

/// Whether anybody still lives in the cgroup or below it. A cgroup that was removed has nobody.
pub(crate) fn is_populated(place: &CgroupPlace, pids: &mut Vec<u32>) -> Result<bool> {
    if place.version == CgroupVersion::V2 {
        match file::read_keyed(place.dir.as_fd(), c"cgroup.events", b"populated") {
            Ok(Some(populated)) => return Ok(populated != 0),
            Ok(None) => {}
            Err(Errno::NOENT | Errno::NODEV) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    match list_processes(place, pids) {
        Ok(_) => Ok(!pids.is_empty()),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the cgroup holds now, bytes; `None` where nothing counts it, or it was removed.
pub(crate) fn current_bytes(place: &CgroupPlace) -> Option<u64> {
    let name = match place.version {
        CgroupVersion::V1 => c"memory.usage_in_bytes",
        CgroupVersion::V2 => c"memory.current",
    };
    file::read_number(place.dir.as_fd(), name).ok()
}

/// What of it `memory.min` or `memory.low` spare from reclaim, whichever is more; all there is where that cannot be told. A kernel that
/// does not know one of them spares nothing by it.
pub(crate) fn guaranteed_bytes(place: &CgroupPlace) -> u64 {
    let of = |name| match file::read_number(place.dir.as_fd(), name) {
        Ok(bytes) => bytes,
        Err(Errno::NOENT) => 0,
        // `max` among others.
        Err(_) => u64::MAX,
    };
    of(c"memory.min").max(of(c"memory.low"))
}

/// Whether any swap is on: `/proc/swaps` has a line below its heading.
pub(crate) fn is_swap_on(proc_root: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; file::BUFFER_BYTES];
    match file::read_into(proc_root, c"swaps", &mut buffer) {
        Ok(text) => text.trim_ascii().contains(&b'\n'),
        // A kernel without swap has no such file.
        Err(Errno::NOENT) => false,
        // Where it cannot be told, it is taken to be on: that only forbids.
        Err(_) => true,
    }
}

/// What it holds and no reclaim gives back, shared memory included; `None` as above.
pub(crate) fn unreclaimable_bytes(place: &CgroupPlace) -> Option<Bytes> {
    let key: &[u8] = match place.version {
        CgroupVersion::V1 => b"total_cache",
        CgroupVersion::V2 => b"file",
    };
    let current = Bytes(current_bytes(place)?);
    let files = file::read_keyed(place.dir.as_fd(), c"memory.stat", key).ok()??;
    Some(current - (Bytes(files) - Bytes(shmem_bytes(place))))
}

/// Shared memory in the cgroup, bytes. It belongs to a file and may outlive everybody in here.
pub(crate) fn shmem_bytes(place: &CgroupPlace) -> u64 {
    let key: &[u8] = match place.version {
        CgroupVersion::V1 => b"total_shmem",
        CgroupVersion::V2 => b"shmem",
    };
    file::read_keyed(place.dir.as_fd(), c"memory.stat", key)
        .ok()
        .flatten()
        .unwrap_or(0)
}

/// Kills everybody by one write (`cgroup.kill`, Linux 5.14). Forks cannot escape it.
/// `ENOENT`: this kernel or hierarchy has no such file.
pub(crate) fn kill_all(place: &CgroupPlace) -> Result<()> {
    file::write_once(file::open_write(&*place.dir, c"cgroup.kill")?, b"1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use forestall_decide::{GroupKind, Qos};

    fn place(dir: &std::path::Path, version: CgroupVersion) -> CgroupPlace {
        let file = fs::File::open(dir).expect("a directory");
        let id = GroupId(file.metadata().expect("its inode").ino());
        CgroupPlace {
            dir: Arc::new(file.into()),
            id,
            kind: GroupKind::Container(Qos::Burstable),
            path: dir.into(),
            version,
        }
    }

    #[test]
    fn processes_of_all_levels_are_listed() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b")).expect("directories");
        fs::write(root.path().join("cgroup.procs"), "7\n12345\n").expect("a file");
        fs::write(root.path().join("a/cgroup.procs"), "").expect("a file");
        // A process of another PID namespace shows as 0.
        fs::write(root.path().join("a/b/cgroup.procs"), "0\n4294967295\n").expect("a file");
        let mut pids = vec![99];
        assert_eq!(
            list_processes(&place(root.path(), CgroupVersion::V2), &mut pids),
            Ok(true)
        );
        pids.sort_unstable();
        assert_eq!(pids, [0, 7, 12345, u32::MAX]);
    }

    #[test]
    fn long_lists_are_not_torn_at_the_buffers_edge() {
        let root = tempfile::tempdir().expect("a directory");
        let text = (10_000..13_000)
            .map(|pid: u32| pid.to_string())
            .collect::<Vec<_>>()
            .join("\n");
        fs::write(root.path().join("cgroup.procs"), text).expect("a file");
        let mut pids = Vec::new();
        assert_eq!(
            list_processes(&place(root.path(), CgroupVersion::V1), &mut pids),
            Ok(false)
        );
        assert!(pids.iter().copied().eq(10_000..13_000));
    }

    #[test]
    fn populated_is_the_events_file_on_v2_and_the_processes_on_v1() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("cgroup.procs"), "7\n").expect("a file");
        fs::write(root.path().join("cgroup.events"), "populated 0\nfrozen 0\n").expect("a file");
        let mut pids = Vec::new();
        assert_eq!(
            is_populated(&place(root.path(), CgroupVersion::V2), &mut pids),
            Ok(false)
        );
        assert_eq!(
            is_populated(&place(root.path(), CgroupVersion::V1), &mut pids),
            Ok(true)
        );
    }

    #[test]
    fn another_inode_is_another_cgroup() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("cgroup.procs"), "").expect("a file");
        let mut place = place(root.path(), CgroupVersion::V2);
        assert!(is_the_ordered_one(&place));
        place.id = GroupId(place.id.0 + 1);
        assert!(!is_the_ordered_one(&place));
    }
}
