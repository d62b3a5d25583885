//! What the kernel tells of cgroups without being asked (inotify): one was made, or a limit was written.
//!
//! Making a cgroup and writing to one of its files pass through the VFS on v1 and v2 alike, whoever does it and by whichever
//! mount and cgroup namespace: all of them share the inodes that are watched. It refuses to say what was made or written:
//! whoever hears of it looks.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::dir::{CgroupDir, GroupFile};
use super::hierarchy::Version;
use crate::Error;

/// So many new cgroups are looked up one by one; where there were more, everything is listed.
const TOLD_MAX: usize = 256;

/// The number of a watched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch(i32);

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A cgroup was made in this directory.
    Made(Watch),
    /// A limit was written.
    Limit,
    /// More than was kept: anything.
    Anything,
}

/// Watched directories of cgroups.
#[derive(Debug)]
pub(super) struct Ear(OwnedFd);

impl Ear {
    pub(super) fn open() -> Result<Self, Errno> {
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map(Self)
    }

    /// Watches one more. The kernel forgets it when it is removed.
    pub(super) fn watch(&self, dir: &CgroupDir) -> Result<Watch, Error> {
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&self.0, &**dir.shown(), flags)
            .map(Watch)
            .map_err(|errno| Error::from_errno(dir.shown(), errno))
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
        let mut reader = Reader::new(&self.0, scratch);
        let mut made = 0;
        // Until nothing is left, or the read fails, which tells nothing either.
        while let Ok(event) = reader.next() {
            let events = event.events();
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                hear(Heard::Anything);
            } else if events.contains(ReadFlags::CREATE | ReadFlags::ISDIR) {
                made += 1;
                match made {
                    1..=TOLD_MAX => hear(Heard::Made(Watch(event.wd()))),
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
        self.0.as_fd()
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
    fn new_cgroups_and_limits_are_told_and_nothing_else() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str| fs::write(root.path().join(name), "max\n").expect("written");
        let names = [
            "memory.current",
            "memory.max",
            "memory.swap.max",
            "memory.limit_in_bytes",
        ];
        names.into_iter().for_each(write);
        let ear = Ear::open().expect("inotify");
        let watch = ear.watch(&dir(root.path())).expect("watched");
        assert_eq!(heard(&ear, Version::V2), []);
        // Opening anew cuts the file off and then writes it: two events, one after the other, are one.
        write("memory.current");
        write("cgroup.procs");
        assert_eq!(heard(&ear, Version::V2), []);
        fs::create_dir(root.path().join("one")).expect("made");
        assert_eq!(heard(&ear, Version::V2), [Heard::Made(watch)]);
        assert_eq!(heard(&ear, Version::V2), [], "once");
        write("memory.max");
        assert_eq!(heard(&ear, Version::V2), [Heard::Limit]);
        write("memory.max");
        assert_eq!(heard(&ear, Version::V1), [], "no file of v1");
        write("memory.limit_in_bytes");
        assert_eq!(heard(&ear, Version::V1), [Heard::Limit]);
        fs::remove_dir(root.path().join("one")).expect("removed");
        assert_eq!(heard(&ear, Version::V2), []);
    }

    #[test]
    fn more_than_is_kept_is_anything() {
        let root = tempfile::tempdir().expect("a directory");
        let ear = Ear::open().expect("inotify");
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
