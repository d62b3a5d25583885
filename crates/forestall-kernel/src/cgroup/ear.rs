//! What the kernel tells of cgroups without being asked (inotify): one was made, removed or renamed, or a limit was written.
//!
//! All of that passes through the VFS on v1 and v2 alike, whoever does it and by whichever
//! mount and cgroup namespace: all of them share the inodes that are watched. It refuses to say what was made or written:
//! whoever hears of it looks.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::dir::{CgroupDir, GroupFile};
use super::hierarchy::Version;
use crate::Error;

/// So many changes are looked up one by one; where there were more, everything is listed.
const TOLD_MAX: usize = 256;

/// The number of a watched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watch(i32);

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A cgroup was made or removed in this directory, or got another name.
    Changed(Watch),
    /// A limit was written.
    Limit,
    /// More than was kept: anything.
    Anything,
}

/// Watched directories of cgroups.
#[derive(Debug)]
pub(super) struct Ear {
    fd: OwnedFd,
    watches: BTreeSet<Watch>,
}

impl Ear {
    pub(super) fn open() -> Result<Self, Errno> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            fd,
            watches: BTreeSet::new(),
        })
    }

    /// Watches one more, until [`Ear::keep`] is not told of it: a removed cgroup's inode keeps its link, so that the kernel would
    /// hold it and its watch for as long as the ear is open (`kernfs_iop_rmdir` in `fs/kernfs/dir.c`; seen on 6.18).
    pub(super) fn watch(&mut self, dir: &CgroupDir) -> Result<Watch, Error> {
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let flags = names | WatchFlags::MODIFY | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let number = inotify::add_watch(&self.fd, &**dir.shown(), flags)
            .map_err(|errno| Error::from_errno(dir.shown(), errno))?;
        self.watches.insert(Watch(number));
        Ok(Watch(number))
    }

    /// Watches these alone from now on. A renamed cgroup keeps the number it had, which is why nobody gives up a single one.
    pub(super) fn keep(&mut self, followed: &BTreeSet<Watch>) {
        let fd = &self.fd;
        self.watches.retain(|watch| {
            let is_followed = followed.contains(watch);
            if !is_followed {
                // Where the directory's inode is gone the kernel has removed the watch by itself.
                let _ = inotify::remove_watch(fd, watch.0);
            }
            is_followed
        });
    }

    /// Takes all that was told. Allocates nothing.
    pub(super) fn listen(
        &self,
        version: Version,
        scratch: &mut [MaybeUninit<u8>],
        mut hear: impl FnMut(Heard),
    ) {
        let limits = [GroupFile::Max, GroupFile::SwapMax].map(|file| file.name(version));
        let is_limit = |name: &CStr| limits.contains(&Some(name));
        let mut reader = Reader::new(&self.fd, scratch);
        let renamed = ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        let changes = ReadFlags::CREATE | ReadFlags::DELETE | renamed;
        let mut changed = 0;
        // Until nothing is left, or the read fails, which tells nothing either.
        while let Ok(event) = reader.next() {
            let events = event.events();
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                hear(Heard::Anything);
            } else if events.contains(ReadFlags::ISDIR) && events.intersects(changes) {
                changed += 1;
                match changed {
                    1..=TOLD_MAX => hear(Heard::Changed(Watch(event.wd()))),
                    _ => hear(Heard::Anything),
                }
            } else if events.contains(ReadFlags::MODIFY) && event.file_name().is_some_and(is_limit) {
                hear(Heard::Limit);
            }
        }
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn dir(path: &Path) -> CgroupDir {
        CgroupDir::open_at(rustix::fs::CWD, path, path, Version::V2).expect("a directory")
    }

    fn heard(ear: &Ear, version: Version) -> Vec<Heard> {
        let mut heard = Vec::new();
        ear.listen(version, &mut [MaybeUninit::uninit(); 4096], |told| {
            heard.push(told);
        });
        heard
    }

    #[test]
    fn changed_cgroups_and_limits_are_told_and_nothing_else() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str| fs::write(root.path().join(name), "max\n").expect("written");
        let names = [
            "memory.current",
            "memory.max",
            "memory.swap.max",
            "memory.limit_in_bytes",
        ];
        names.into_iter().for_each(write);
        let mut ear = Ear::open().expect("inotify");
        let watch = ear.watch(&dir(root.path())).expect("watched");
        assert_eq!(heard(&ear, Version::V2), []);
        // Opening anew cuts the file off and then writes it: two events, one after the other, are one.
        write("memory.current");
        write("cgroup.procs");
        assert_eq!(heard(&ear, Version::V2), []);
        fs::create_dir(root.path().join("one")).expect("made");
        assert_eq!(heard(&ear, Version::V2), [Heard::Changed(watch)]);
        assert_eq!(heard(&ear, Version::V2), [], "once");
        write("memory.max");
        assert_eq!(heard(&ear, Version::V2), [Heard::Limit]);
        write("memory.max");
        assert_eq!(heard(&ear, Version::V1), [], "no file of v1");
        write("memory.limit_in_bytes");
        assert_eq!(heard(&ear, Version::V1), [Heard::Limit]);
        fs::rename(root.path().join("one"), root.path().join("two")).expect("renamed");
        assert_eq!(heard(&ear, Version::V2), [Heard::Changed(watch); 2]);
        fs::remove_dir(root.path().join("two")).expect("removed");
        assert_eq!(heard(&ear, Version::V2), [Heard::Changed(watch)]);
        fs::remove_file(root.path().join("memory.current")).expect("removed");
        assert_eq!(heard(&ear, Version::V2), []);
        // That nobody is watched any more is told by the kernel, and is nothing.
        ear.keep(&BTreeSet::new());
        assert_eq!(heard(&ear, Version::V2), []);
        fs::create_dir(root.path().join("three")).expect("made");
        assert_eq!(heard(&ear, Version::V2), []);
    }

    #[test]
    fn more_than_is_kept_is_anything() {
        let root = tempfile::tempdir().expect("a directory");
        let mut ear = Ear::open().expect("inotify");
        ear.watch(&dir(root.path())).expect("watched");
        for number in 0..=TOLD_MAX {
            fs::create_dir(root.path().join(number.to_string())).expect("made");
        }
        let crowd = heard(&ear, Version::V2);
        assert_eq!(
            (crowd.len(), crowd.last()),
            (TOLD_MAX + 1, Some(&Heard::Anything))
        );
        // The kernel keeps so many events, and as the last one that there were more. Two alike are one.
        let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a number");
        let kept: usize = kept.trim_ascii().parse().expect("a number");
        for number in 0..=kept {
            let name = ["memory.current", "memory.stat"][number % 2];
            fs::write(root.path().join(name), "0").expect("written");
        }
        assert_eq!(heard(&ear, Version::V2), [Heard::Anything]);
    }
}
