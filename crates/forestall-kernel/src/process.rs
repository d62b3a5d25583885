//! One process, through a handle on its directory in `/proc`.
//!
//! The handle belongs to this process alone: once it has ended, reads fail with [`Error::Gone`], also when another process
//! has been given its PID. Only the files of [`ProcessFile`] can be read. `cmdline`, `environ`, `maps` and `smaps` are
//! left out on purpose: their readers wait for the process's `mmap_lock`, which a process that waits for memory may hold
//! for as long as the machine is in trouble.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::path::DecInt;

use crate::Error;
use crate::file::{Buffer, HeldFile, Pieces, read_record};
use crate::parse::{self, ProcStat, ProcStatus};

/// The files that can be read without waiting for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessFile {
    /// `status`, for [`ProcStatus`].
    Status,
    /// `stat`, for [`ProcStat`].
    Stat,
    /// `oom_score_adj`: −1000 (never) to 1000.
    OomScoreAdj,
    /// `cgroup`, for [`memberships`](parse::memberships).
    Cgroup,
}

impl ProcessFile {
    const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Stat => "stat",
            Self::OomScoreAdj => "oom_score_adj",
            Self::Cgroup => "cgroup",
        }
    }
}

/// Threads tried at the most when one that lives is looked for: one that has ended is gone at once, unless it was the first.
const THREADS_TRIED_MAX: usize = 16;

/// A handle on a process, or on one thread of it.
#[derive(Debug)]
pub struct Process {
    dir: OwnedFd,
    root: Arc<Path>,
    pid: u32,
}

impl Process {
    pub(crate) fn open(proc: impl AsFd, root: &Arc<Path>, pid: u32) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(proc, DecInt::new(pid), flags, Mode::empty()) {
            Ok(dir) => Ok(Self {
                dir,
                root: Arc::clone(root),
                pid,
            }),
            Err(errno) => Err(Error::from_errno(&Arc::from(root.join(pid.to_string())), errno)),
        }
    }

    /// A thread that lives on, other than the first. While a process's first thread is a zombie and others run, the process's
    /// own files show a zombie: no memory, and on cgroup v1 no cgroup. Such a thread's files show what all of them share.
    /// `None` where no other thread has memory. Allocates.
    pub fn live_thread(&self, buffer: &mut Buffer) -> Result<Option<Self>, Error> {
        let root: Arc<Path> = Arc::from(self.root.join(self.pid.to_string()).join("task"));
        let failed = |errno| Error::from_errno(&root, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, "task", flags, Mode::empty()).map_err(failed)?;
        let mut space = [MaybeUninit::<u8>::uninit(); 1024];
        let mut entries = RawDir::new(&dir, &mut space);
        let mut tried = 0;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            let tid = parse::unsigned(entry.file_name().to_bytes()).and_then(|tid| u32::try_from(tid).ok());
            let Some(tid) = tid.filter(|tid| *tid != self.pid) else {
                continue;
            };
            // That it ends meanwhile is normal.
            if let Ok(thread) = Self::open(&dir, &root, tid)
                && thread
                    .status(buffer)
                    .is_ok_and(|status| !status.is_zombie() && status.unreclaimable() > 0)
            {
                return Ok(Some(thread));
            }
            tried += 1;
            if tried == THREADS_TRIED_MAX {
                break;
            }
        }
        Ok(None)
    }

    /// Opens one of its files to be read again and again.
    pub fn hold(&self, file: ProcessFile) -> Result<HeldFile, Error> {
        let path = self.root.join(self.pid.to_string()).join(file.name());
        // All of them come in one piece (`ONE` and `REG` in `fs/proc/base.c`).
        Ok(HeldFile::open_at(&self.dir, Path::new(file.name()), &path)?.in_pieces(Pieces::One))
    }

    /// The PID it was opened by; of a thread, its TID.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads one of its files. Allocates only to name the file in an error.
    pub fn read<'b>(&self, file: ProcessFile, buffer: &'b mut Buffer) -> Result<&'b [u8], Error> {
        let path = || Arc::from(self.root.join(self.pid.to_string()).join(file.name()));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = rustix::fs::openat(&self.dir, file.name(), flags, Mode::empty())
            .map_err(|errno| Error::from_errno(&path(), errno))?;
        // All of them come in one piece (`ONE` and `REG` in `fs/proc/base.c`).
        read_record(&open, buffer, path)
    }

    /// Reads `status`.
    pub fn status<'b>(&self, buffer: &'b mut Buffer) -> Result<ProcStatus<'b>, Error> {
        self.read(ProcessFile::Status, buffer).map(ProcStatus::parse)
    }

    /// Reads `stat`.
    pub fn stat<'b>(&self, buffer: &'b mut Buffer) -> Result<ProcStat<'b>, Error> {
        let content = self.read(ProcessFile::Stat, buffer)?;
        ProcStat::parse(content)
            .ok_or_else(|| self.malformed(ProcessFile::Stat, "not a line of proc(5) stat"))
    }

    /// Reads `oom_score_adj`.
    pub fn oom_score_adj(&self, buffer: &mut Buffer) -> Result<i32, Error> {
        let content = self.read(ProcessFile::OomScoreAdj, buffer)?;
        parse::signed(content)
            .and_then(|value| i32::try_from(value).ok())
            .ok_or_else(|| self.malformed(ProcessFile::OomScoreAdj, "not a number"))
    }

    fn malformed(&self, file: ProcessFile, what: &'static str) -> Error {
        Error::Malformed {
            path: Arc::from(self.root.join(self.pid.to_string()).join(file.name())),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::ProcRoot;

    const STAT: &str = "204 (a) b) S 1 204 204 0 -1 4194560 99 0 0 0 5 3 0 0 20 0 1 0 350524 3133440 359 \
                        18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    fn fixture() -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let process = dir.path().join("204");
        std::fs::create_dir(&process).expect("made");
        std::fs::write(process.join("stat"), STAT).expect("written");
        std::fs::write(process.join("status"), "Name:\ta) b\nVmPTE:\t      44 kB\n").expect("written");
        std::fs::write(process.join("oom_score_adj"), "-997\n").expect("written");
        std::fs::write(process.join("cgroup"), "0::/system.slice\n").expect("written");
        let handle = ProcRoot::open(dir.path())
            .expect("open")
            .process(204)
            .expect("there");
        (dir, handle)
    }

    #[test]
    fn each_file_is_read_through_the_handle() {
        let (_dir, process) = fixture();
        let mut buffer = Buffer::with_capacity(4096);
        assert_eq!(
            process.stat(&mut buffer).map(|stat| (stat.pid, stat.start_ticks)),
            Ok((204, 350_524))
        );
        assert_eq!(
            process.status(&mut buffer).map(|status| status.page_tables),
            Ok(44 * 1024)
        );
        assert_eq!(process.oom_score_adj(&mut buffer), Ok(-997));
        let cgroup = process.read(ProcessFile::Cgroup, &mut buffer).expect("readable");
        assert_eq!(parse::unified_path(cgroup), Some(&b"/system.slice"[..]));
    }

    #[test]
    fn a_process_that_ended_is_gone_and_named() {
        let (dir, process) = fixture();
        std::fs::remove_dir_all(dir.path().join("204")).expect("removed");
        let error = process.stat(&mut Buffer::with_capacity(4096)).expect_err("gone");
        assert!(error.is_gone());
        assert_eq!(error.path(), dir.path().join("204/stat"));
        let root = ProcRoot::open(dir.path()).expect("open");
        assert!(root.process(204).expect_err("gone").is_gone());
    }

    #[test]
    fn a_thread_that_lives_on_speaks_for_a_first_one_that_ended() {
        let (dir, process) = fixture();
        let mut buffer = Buffer::with_capacity(4096);
        let thread = |tid: u32, status: &str| {
            let folder = dir.path().join("204/task").join(tid.to_string());
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("status"), status).expect("written");
        };
        thread(204, "State:\tZ (zombie)\n");
        thread(205, "State:\tX (dead)\n");
        assert!(process.live_thread(&mut buffer).expect("listed").is_none());
        thread(206, "State:\tS (sleeping)\nRssAnon:\t  12 kB\n");
        let alive = process
            .live_thread(&mut buffer)
            .expect("listed")
            .expect("a thread");
        assert_eq!(alive.pid(), 206);
        let held = alive.hold(ProcessFile::Status).expect("there");
        assert_eq!(held.path(), dir.path().join("204/task/206/status"));
        assert_eq!(
            ProcStatus::parse(held.read_into(&mut buffer).expect("readable")).unreclaimable(),
            12 * 1024
        );
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_taken_for_it() {
        let (dir, process) = fixture();
        std::fs::remove_dir_all(dir.path().join("204")).expect("removed");
        std::fs::create_dir(dir.path().join("204")).expect("made");
        std::fs::write(dir.path().join("204/oom_score_adj"), "0\n").expect("written");
        assert!(
            process
                .oom_score_adj(&mut Buffer::with_capacity(64))
                .expect_err("gone")
                .is_gone()
        );
    }

    #[test]
    fn nonsense_is_said_to_be_nonsense() {
        let (dir, process) = fixture();
        std::fs::write(dir.path().join("204/oom_score_adj"), "many\n").expect("written");
        let error = process
            .oom_score_adj(&mut Buffer::with_capacity(64))
            .expect_err("no number");
        assert_eq!(error.label(), "malformed");
    }
}
