//! The machine's `/proc`, wherever it is mounted: in a container that looks at its node it may be `/host/proc`.
//!
//! It hands out held files and processes and keeps none of them.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, RawDir};

use crate::Error;
use crate::file::{HeldFile, Pieces};
use crate::parse::unsigned;
use crate::process::Process;

/// What tasks can be waiting for (`Documentation/accounting/psi.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A processor.
    Cpu,
    /// Memory: reclaim, refaults, swap-ins, compaction.
    Memory,
    /// A disk.
    Io,
}

impl Resource {
    /// Its file below `/proc`.
    pub const fn proc_name(self) -> &'static str {
        match self {
            Self::Cpu => "pressure/cpu",
            Self::Memory => "pressure/memory",
            Self::Io => "pressure/io",
        }
    }
}

/// An open `/proc`.
#[derive(Debug)]
pub struct ProcRoot {
    dir: OwnedFd,
    path: Arc<Path>,
}

impl ProcRoot {
    /// Opens the directory. That it is a proc file system is not asked for: a tree of files does for tests.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let shown: Arc<Path> = Arc::from(path);
        match rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(dir) => Ok(Self { dir, path: shown }),
            Err(errno) => Err(Error::from_errno(&shown, errno)),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `meminfo`, for [`Meminfo`](crate::parse::Meminfo).
    pub fn meminfo(&self) -> Result<HeldFile, Error> {
        Ok(self.held("meminfo")?.in_pieces(Pieces::One))
    }

    /// `vmstat`, for [`Vmstat`](crate::parse::Vmstat).
    pub fn vmstat(&self) -> Result<HeldFile, Error> {
        self.held("vmstat")
    }

    /// `zoneinfo`, for [`Zoneinfo`](crate::parse::Zoneinfo). It has a paragraph for each zone and processor: tens of
    /// kilobytes on a large machine.
    pub fn zoneinfo(&self) -> Result<HeldFile, Error> {
        self.held("zoneinfo")
    }

    /// `swaps`, for [`Swaps`](crate::parse::Swaps).
    pub fn swaps(&self) -> Result<HeldFile, Error> {
        self.held("swaps")
    }

    /// `pressure/…`, for [`Pressure`](crate::parse::Pressure). [`Error::Gone`] where PSI is compiled out or was switched off
    /// at boot.
    pub fn pressure(&self, resource: Resource) -> Result<HeldFile, Error> {
        Ok(self.held(resource.proc_name())?.in_pieces(Pieces::One))
    }

    /// `self/mountinfo`, for [`mounts`](crate::parse::mounts): the mounts that this process sees.
    pub fn mountinfo(&self) -> Result<HeldFile, Error> {
        self.held("self/mountinfo")
    }

    /// The process `pid`, if it exists.
    pub fn process(&self, pid: u32) -> Result<Process, Error> {
        Process::open(&self.dir, &self.path, pid)
    }

    /// Replaces the content of `pids` by the processes there are, in the kernel's order. It is no snapshot: processes come
    /// and go while the directory is read, and with `hidepid` only the reader's own are shown.
    pub fn list_pids(&self, pids: &mut Vec<u32>) -> Result<(), Error> {
        pids.clear();
        let failed = |errno| Error::from_errno(&self.path, errno);
        // A handle of its own for each listing, because the position in a directory belongs to the handle.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, ".", flags, Mode::empty()).map_err(failed)?;
        let mut space = [MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = RawDir::new(&dir, &mut space);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            // Every other name in /proc has a letter in it.
            if let Some(pid) = unsigned(entry.file_name().to_bytes()).and_then(|pid| u32::try_from(pid).ok())
            {
                pids.push(pid);
            }
        }
        Ok(())
    }

    fn held(&self, name: &str) -> Result<HeldFile, Error> {
        HeldFile::open_at(&self.dir, Path::new(name), &self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Buffer;
    use crate::parse::{Meminfo, Pressure};

    fn fixture() -> (tempfile::TempDir, ProcRoot) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("pressure")).expect("made");
        for pid in ["1", "204", "4194304"] {
            std::fs::create_dir(dir.path().join(pid)).expect("made");
        }
        std::fs::write(dir.path().join("meminfo"), "MemTotal:  512 kB\n").expect("written");
        std::fs::write(
            dir.path().join("pressure/memory"),
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
        )
        .expect("written");
        let root = ProcRoot::open(dir.path()).expect("open");
        (dir, root)
    }

    #[test]
    fn files_are_found_below_the_root_that_was_given() {
        let (_dir, root) = fixture();
        let mut buffer = Buffer::with_capacity(4096);
        let meminfo = root.meminfo().expect("there");
        assert_eq!(
            Meminfo::parse(meminfo.read_into(&mut buffer).expect("readable")).total,
            512 * 1024
        );
        let pressure = root.pressure(Resource::Memory).expect("there");
        let some = Pressure::parse(pressure.read_into(&mut buffer).expect("readable")).some;
        assert_eq!(some.map(|line| line.total_micros), Some(7));
    }

    #[test]
    fn a_file_the_kernel_lacks_is_gone_and_named() {
        let (dir, root) = fixture();
        let error = root.pressure(Resource::Io).expect_err("not there");
        assert!(error.is_gone());
        assert_eq!(error.path(), dir.path().join("pressure/io"));
    }

    #[test]
    fn only_numbers_are_processes_and_a_second_listing_starts_over() {
        let (dir, root) = fixture();
        let mut pids = vec![9, 9];
        root.list_pids(&mut pids).expect("listed");
        pids.sort_unstable();
        assert_eq!(pids, [1, 204, 4_194_304]);
        std::fs::remove_dir(dir.path().join("204")).expect("removed");
        root.list_pids(&mut pids).expect("listed");
        pids.sort_unstable();
        assert_eq!(pids, [1, 4_194_304]);
    }

    #[test]
    fn more_processes_than_one_call_returns_are_all_listed() {
        // 1,000 entries of 24 to 32 bytes take four calls of 8 KiB.
        let dir = tempfile::tempdir().expect("a temporary directory");
        for pid in 1..=1000 {
            std::fs::write(dir.path().join(pid.to_string()), "").expect("written");
        }
        let mut pids = Vec::new();
        ProcRoot::open(dir.path())
            .expect("open")
            .list_pids(&mut pids)
            .expect("listed");
        pids.sort_unstable();
        assert_eq!(pids, (1..=1000).collect::<Vec<_>>());
    }
}
