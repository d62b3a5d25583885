//! One open cgroup: a directory handle, and its two hottest files held open.
//!
//! Everything is reached through the handle, so a cgroup that is removed and made again under the same name is never
//! mistaken for the old one. Only `memory.current` and `memory.stat` stay open: a file of cgroupfs that has been read
//! once keeps a page of unreclaimable kernel memory until it is closed (`seq_read_iter` in `fs/seq_file.c`; 4 KiB each,
//! measured on 6.18), which nine files of a thousand cgroups would turn into 36 MiB charged to ourselves. The others are
//! opened, read and closed.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::hierarchy::Version;
use crate::Error;
use crate::file::{Buffer, read_record, read_whole};

/// A file of a cgroup by its meaning; the name depends on the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFile {
    /// `memory.current`; v1 `memory.usage_in_bytes`.
    Current,
    /// `memory.stat`.
    Stat,
    /// `memory.max`; v1 `memory.limit_in_bytes`.
    Max,
    /// `memory.min`; none on v1.
    Min,
    /// `memory.events`; v1 `memory.oom_control`.
    Events,
    /// `memory.events.local`, 5.3 and later: the same without those below; v1 `memory.failcnt`.
    LimitHits,
    /// v1 `memory.memsw.failcnt`, of the limit of memory and swap together; none on v2.
    SwapLimitHits,
    /// `memory.pressure`; none on v1.
    Pressure,
    /// `memory.swap.current`; v1 `memory.memsw.usage_in_bytes`, which counts memory in.
    SwapCurrent,
    /// `memory.swap.max`; v1 `memory.memsw.limit_in_bytes`, which counts memory in.
    SwapMax,
    /// `cgroup.events`; none on v1.
    Populated,
    /// `cgroup.procs`.
    Procs,
}

impl GroupFile {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Current,
        Self::Stat,
        Self::Max,
        Self::Min,
        Self::Events,
        Self::LimitHits,
        Self::SwapLimitHits,
        Self::Pressure,
        Self::SwapCurrent,
        Self::SwapMax,
        Self::Populated,
        Self::Procs,
    ];

    /// Its name on `version`, or `None` where there is no counterpart.
    pub const fn name(self, version: Version) -> Option<&'static CStr> {
        Some(match (version, self) {
            (Version::V2, Self::Current) => c"memory.current",
            (Version::V1, Self::Current) => c"memory.usage_in_bytes",
            (_, Self::Stat) => c"memory.stat",
            (Version::V2, Self::Max) => c"memory.max",
            (Version::V1, Self::Max) => c"memory.limit_in_bytes",
            (Version::V2, Self::Min) => c"memory.min",
            (Version::V2, Self::Events) => c"memory.events",
            (Version::V1, Self::Events) => c"memory.oom_control",
            (Version::V2, Self::LimitHits) => c"memory.events.local",
            (Version::V1, Self::LimitHits) => c"memory.failcnt",
            (Version::V1, Self::SwapLimitHits) => c"memory.memsw.failcnt",
            (Version::V2, Self::Pressure) => c"memory.pressure",
            (Version::V2, Self::SwapCurrent) => c"memory.swap.current",
            (Version::V1, Self::SwapCurrent) => c"memory.memsw.usage_in_bytes",
            (Version::V2, Self::SwapMax) => c"memory.swap.max",
            (Version::V1, Self::SwapMax) => c"memory.memsw.limit_in_bytes",
            (Version::V2, Self::Populated) => c"cgroup.events",
            (_, Self::Procs) => c"cgroup.procs",
            (Version::V1, Self::Min | Self::Pressure | Self::Populated)
            | (Version::V2, Self::SwapLimitHits) => return None,
        })
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// An open cgroup.
#[derive(Debug)]
pub struct CgroupDir {
    dir: Arc<OwnedFd>,
    shown: Arc<Path>,
    inode: u64,
    version: Version,
    present: u16,
    current: Option<OwnedFd>,
    stat: Option<OwnedFd>,
}

impl CgroupDir {
    /// Opens the directory `name` below `parent`. `shown` is the path that errors tell. A symbolic link is refused: cgroupfs
    /// has none.
    pub fn open_at(parent: impl AsFd, name: &Path, shown: &Path, version: Version) -> Result<Self, Error> {
        let shown: Arc<Path> = Arc::from(shown);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|errno| Error::from_errno(&shown, errno))?;
        Self::from_dir(dir, shown, version)
    }

    /// Takes an open directory.
    pub fn from_dir(dir: OwnedFd, shown: Arc<Path>, version: Version) -> Result<Self, Error> {
        let status = rustix::fs::fstat(&dir).map_err(|errno| Error::from_errno(&shown, errno))?;
        let mut opened = Self {
            dir: Arc::new(dir),
            shown,
            inode: status.st_ino,
            version,
            present: 0,
            current: None,
            stat: None,
        };
        for file in GroupFile::ALL {
            if let Some(name) = file.name(version)
                && rustix::fs::statat(&*opened.dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
            {
                opened.present |= file.bit();
            }
        }
        opened.current = opened.open_file(GroupFile::Current).ok();
        opened.stat = opened.open_file(GroupFile::Stat).ok();
        Ok(opened)
    }

    /// Its inode, which is the cgroup's number for as long as it lives.
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// Which version its files have the names of.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The path that errors tell.
    pub fn shown(&self) -> &Arc<Path> {
        &self.shown
    }

    /// The cgroup had `file` when it was opened.
    pub const fn has(&self, file: GroupFile) -> bool {
        self.present & file.bit() != 0
    }

    /// Reads `file` whole. `None` where this cgroup has no such file; [`Error::Gone`] where the cgroup itself has been
    /// removed, which is normal at any time. Allocates only for an error.
    pub fn read<'b>(&self, file: GroupFile, buffer: &'b mut Buffer) -> Result<Option<&'b [u8]>, Error> {
        if !self.has(file) {
            return Ok(None);
        }
        let held = match file {
            GroupFile::Current => self.current.as_ref(),
            GroupFile::Stat => self.stat.as_ref(),
            _ => None,
        };
        let shown = || self.path_of(file);
        if let Some(held) = held {
            return read_record(held, buffer, shown).map(Some);
        }
        let opened = self
            .open_file(file)
            .map_err(|errno| Error::from_errno(&shown(), errno))?;
        // Every other file of a cgroup is one record; the list of processes has one for each.
        if file == GroupFile::Procs {
            read_whole(&opened, buffer, shown).map(Some)
        } else {
            read_record(&opened, buffer, shown).map(Some)
        }
    }

    /// The directory's link count: two, and one for each child (`kernfs_refresh_inode` in `fs/kernfs/inode.c`). Some
    /// file systems always say 1, which tells nothing.
    pub fn links(&self) -> Result<u64, Error> {
        match rustix::fs::fstat(&*self.dir) {
            // The width of the field differs between architectures.
            #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
            Ok(status) => Ok(u64::try_from(status.st_nlink).unwrap_or(0)),
            Err(errno) => Err(Error::from_errno(&self.shown, errno)),
        }
    }

    /// The directory's handle, to be shared with whoever acts on the cgroup. It stays open for as long as anybody holds
    /// it, also when the cgroup is gone.
    pub fn handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.dir)
    }

    /// Whether the extended attribute `name` begins with `value`; systemd marks delegated units so
    /// (`user.delegate=1`). An attribute that is absent or cannot be read is not set.
    pub fn has_attribute(&self, name: &CStr, value: &[u8]) -> bool {
        let mut found = [0_u8; 16];
        match rustix::fs::fgetxattr(&*self.dir, name, &mut found[..]) {
            Ok(length) => found.get(..length).is_some_and(|found| found.starts_with(value)),
            Err(_) => false,
        }
    }

    /// Calls `each` with the name and inode of every child directory, using `scratch` for the kernel's answers.
    pub(crate) fn list(
        &self,
        scratch: &mut [MaybeUninit<u8>],
        mut each: impl FnMut(&CStr, u64),
    ) -> Result<(), Error> {
        self.list_inner(scratch, &mut each)
            .map_err(|errno| Error::from_errno(&self.shown, errno))
    }

    fn list_inner(
        &self,
        scratch: &mut [MaybeUninit<u8>],
        each: &mut impl FnMut(&CStr, u64),
    ) -> Result<(), Errno> {
        rustix::fs::seek(&*self.dir, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&*self.dir, scratch);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let is_dir = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => rustix::fs::statat(&*self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory),
                _ => false,
            };
            if is_dir {
                each(name, entry.ino());
            }
        }
        Ok(())
    }

    fn open_file(&self, file: GroupFile) -> Result<OwnedFd, Errno> {
        let name = file
            .name(self.version)
            .filter(|_| self.has(file))
            .ok_or(Errno::NOENT)?;
        // O_NONBLOCK: whatever stands there, opening it must not wait.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        rustix::fs::openat(&*self.dir, name, flags, Mode::empty())
    }

    fn path_of(&self, file: GroupFile) -> Arc<Path> {
        let name = file
            .name(self.version)
            .and_then(|name| name.to_str().ok())
            .unwrap_or_default();
        Arc::from(self.shown.join(name))
    }
}

impl AsFd for CgroupDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> CgroupDir {
        CgroupDir::open_at(rustix::fs::CWD, path, path, Version::V2).expect("a directory")
    }

    #[test]
    fn a_file_the_kernel_lacks_is_none_and_no_error() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("memory.current"), "4096\n").expect("written");
        let cgroup = open(dir.path());
        let mut buffer = Buffer::with_capacity(64);
        assert_eq!(
            cgroup.read(GroupFile::Current, &mut buffer),
            Ok(Some(&b"4096\n"[..]))
        );
        assert_eq!(cgroup.read(GroupFile::Pressure, &mut buffer), Ok(None));
    }

    #[test]
    fn a_file_that_vanishes_says_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("memory.max");
        std::fs::write(&file, "max\n").expect("written");
        let cgroup = open(dir.path());
        std::fs::remove_file(&file).expect("removed");
        let mut buffer = Buffer::with_capacity(64);
        let error = cgroup.read(GroupFile::Max, &mut buffer).expect_err("gone");
        assert!(error.is_gone());
        assert_eq!(error.path(), file);
    }

    #[test]
    fn only_directories_are_children_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("child")).expect("made");
        std::fs::write(dir.path().join("memory.max"), "max\n").expect("written");
        std::os::unix::fs::symlink("/", dir.path().join("link")).expect("linked");
        let mut seen = Vec::new();
        let mut scratch = [MaybeUninit::uninit(); 1024];
        open(dir.path())
            .list(&mut scratch, |name, _| seen.push(name.to_owned()))
            .expect("listed");
        assert_eq!(seen, [c"child".to_owned()]);
        let link = dir.path().join("link");
        assert!(CgroupDir::open_at(rustix::fs::CWD, &link, &link, Version::V2).is_err());
    }

    #[test]
    fn the_two_versions_name_the_same_things() {
        assert_eq!(
            GroupFile::Current.name(Version::V1),
            Some(c"memory.usage_in_bytes")
        );
        assert_eq!(GroupFile::Current.name(Version::V2), Some(c"memory.current"));
        assert_eq!(GroupFile::Pressure.name(Version::V1), None);
    }
}
