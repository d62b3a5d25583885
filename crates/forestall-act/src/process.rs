//! One process as `/proc/PID` shows it, and how it is held so that its number cannot come to mean somebody else.
//!
//! The directory `/proc/PID` is opened first and everything is read through it: once the process is gone these reads
//! fail, even when a new one has its number. A pidfd that is opened in between and confirmed by one more read through
//! the directory is therefore the same process.

mod home;

pub(crate) use home::{is_out_of_sight, names, names_a_pod, path_below};

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use forestall_decide::ProcessId;
use rustix::fs::RawDir;
use rustix::io::{Errno, Result};
use rustix::path::DecInt;
use rustix::process::{Pid, PidfdFlags};

use crate::file;
use crate::order::ProcessName;

/// `PF_KTHREAD` of `include/linux/sched.h`: the task never runs user code.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// `PF_EXITING` of the same file: on its way out, and on cgroup v1 at home nowhere any more.
const EXITING: u64 = 0x4;

/// Threads that are asked for a process's memory where its first one has ended; they end in no order.
const THREADS_ASKED_MAX: usize = 64;

/// What the last check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: ProcessId,
    pub(crate) parent: u32,
    pub(crate) kernel_thread: bool,
    /// Its first thread has begun to exit.
    pub(crate) exiting: bool,
    /// Dead and waiting for its parent; it holds no memory.
    pub(crate) zombie: bool,
    pub(crate) resident_pages: u64,
    /// Chosen by the process itself.
    pub(crate) name: ProcessName,
}

/// Reads `/proc/PID/stat` (`proc(5)`). The name may hold spaces and parentheses, so it ends at the *last* one.
pub(crate) fn parse_stat(text: &[u8]) -> Option<Facts> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let pid = u32::try_from(file::parse_number(text.get(..open)?)?).ok()?;
    let name = text.get(open + 1..close)?;
    let rest = text.get(close + 1..)?.trim_ascii();
    let field = |number: usize| rest.split(|byte| *byte == b' ').nth(number - 3);
    let flags = file::parse_number(field(9)?)?;
    Some(Facts {
        id: ProcessId {
            pid,
            start_ticks: file::parse_number(field(22)?)?,
        },
        parent: u32::try_from(file::parse_number(field(4)?)?).ok()?,
        kernel_thread: flags & KERNEL_THREAD != 0,
        exiting: flags & EXITING != 0,
        // A leader that has ended shows as a zombie while its other threads live on, and then it can be signalled.
        zombie: matches!(field(3)?, b"Z" | b"X")
            && file::parse_number(field(20)?).is_none_or(|threads| threads <= 1),
        resident_pages: file::parse_number(field(24)?).unwrap_or(0),
        name: ProcessName::new(name),
    })
}

/// An open `/proc/PID`.
#[derive(Debug)]
pub(crate) struct ProcessDir(OwnedFd);

impl ProcessDir {
    /// Opens `/proc/PID`; `ENOENT` when there is no such process.
    pub(crate) fn open(proc_root: BorrowedFd<'_>, pid: u32) -> Result<Self> {
        file::open_dir(proc_root, DecInt::new(pid).as_c_str()).map(Self)
    }

    /// Reads `stat`; `ESRCH` once the process is gone.
    pub(crate) fn facts(&self) -> Result<Facts> {
        let mut buffer = [0; 1024];
        parse_stat(file::read_into(&self.0, c"stat", &mut buffer)?).ok_or(Errno::INVAL)
    }

    /// Reads `oom_score_adj`, −1000 to 1000.
    pub(crate) fn oom_score_adj(&self) -> Result<i32> {
        let mut buffer = [0; 32];
        let text = file::read_into(&self.0, c"oom_score_adj", &mut buffer)?;
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or(Errno::INVAL)
    }

    /// Reads `cgroup`: where it lives in each hierarchy.
    pub(crate) fn cgroup<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        file::read_into(&self.0, c"cgroup", buffer)
    }

    /// Reads the real user it runs as (`status`), as this process' user namespace knows it; `None` where the file does not say.
    pub(crate) fn uid(&self) -> Result<Option<u32>> {
        let mut buffer = [0; file::BUFFER_BYTES];
        let text = file::read_into(&self.0, c"status", &mut buffer)?;
        let mut lines = text.split(|byte| *byte == b'\n');
        Ok(lines.find_map(|line| {
            let users = line.strip_prefix(b"Uid:")?.trim_ascii_start();
            let real = users.split(u8::is_ascii_whitespace).next()?;
            u32::try_from(file::parse_number(real)?).ok()
        }))
    }

    /// Whether it lives in a PID namespace below that of this proc file system (`NSpid` in `status`, Linux 4.1).
    pub(crate) fn is_nested(&self) -> Result<bool> {
        let mut buffer = [0; file::BUFFER_BYTES];
        file::read_into(&self.0, c"status", &mut buffer).map(names_several)
    }

    /// Bytes that end with the process: anonymous memory, page tables and swap (`/proc/PID/status`). Shared memory is
    /// left out, it may outlive it. A first thread that has ended shows none of it while the others live on: one of those does.
    pub(crate) fn own_bytes(&self) -> Result<u64> {
        let mut buffer = [0; file::BUFFER_BYTES];
        let shown = parse_own_bytes(file::read_into(&self.0, c"status", &mut buffer)?);
        match shown {
            Some(bytes) => Ok(bytes),
            None => Ok(self.own_bytes_by_thread()?.unwrap_or(0)),
        }
    }

    fn own_bytes_by_thread(&self) -> Result<Option<u64>> {
        let mut names = [MaybeUninit::uninit(); 2048];
        let threads = file::open_dir(&self.0, c"task")?;
        let mut entries = RawDir::new(file::open_dir(&threads, c".")?, &mut names);
        let mut buffer = [0; file::BUFFER_BYTES];
        for _ in 0..THREADS_ASKED_MAX {
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            if !entry.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let status = file::open_dir(&threads, entry.file_name())
                .and_then(|thread| Ok(parse_own_bytes(file::read_into(&thread, c"status", &mut buffer)?)));
            // One that ends meanwhile says nothing of the others.
            if let Ok(Some(bytes)) = status {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// The part of a `status` that ends with the process, bytes; `None` where the task has no memory (any more).
fn parse_own_bytes(text: &[u8]) -> Option<u64> {
    let kibi = |name: &[u8]| {
        let line = text
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(name))?;
        file::parse_number(line.trim_ascii().strip_suffix(b"kB")?)
    };
    let names: [&[u8]; 3] = [b"RssAnon:", b"VmPTE:", b"VmSwap:"];
    let kibis = names.iter().filter_map(|name| kibi(name));
    let total = kibis.reduce(u64::saturating_add)?;
    Some(total.saturating_mul(1024))
}

/// The number under which this proc file system knows this process (`self`, `proc_pid_self(5)`): in its own PID namespace,
/// which need not be ours. `ENOENT` where it does not know us at all.
pub(crate) fn shown_pid(proc_root: BorrowedFd<'_>) -> Result<u32> {
    let mut buffer = [0_u8; 16];
    let length = rustix::fs::readlinkat_raw(proc_root, c"self", &mut buffer[..])?;
    file::parse_number(buffer.get(..length).unwrap_or_default())
        .and_then(|pid| u32::try_from(pid).ok())
        .ok_or(Errno::INVAL)
}

/// Our PID, proven to mean the same to this proc file system and to the system calls that take a number: `EXDEV` where
/// proc belongs to another PID namespace, so that the same number may be two processes.
pub(crate) fn own_pid(proc_root: BorrowedFd<'_>) -> Result<u32> {
    let shown = shown_pid(proc_root)?;
    // Two namespaces may count alike by chance.
    let is_nested = ProcessDir::open(proc_root, shown)?.is_nested()?;
    if shown == std::process::id() && !is_nested {
        Ok(shown)
    } else {
        Err(Errno::XDEV)
    }
}

/// Whether a `status` tells of several numbers: it has one for each namespace from proc's down to the process's own.
fn names_several(status: &[u8]) -> bool {
    status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))
        .is_some_and(|pids| file::parse_number(pids).is_none())
}

/// Opens a pidfd of exactly this process; `ESRCH` when it is gone or another one has its number.
pub(crate) fn open_pidfd(proc_root: BorrowedFd<'_>, id: ProcessId) -> Result<OwnedFd> {
    hold(proc_root, id).map(|(_, pidfd)| pidfd)
}

/// The same with its directory, to look at it once more before it is signalled.
pub(crate) fn hold(proc_root: BorrowedFd<'_>, id: ProcessId) -> Result<(ProcessDir, OwnedFd)> {
    let directory = ProcessDir::open(proc_root, id.pid).map_err(gone)?;
    let pid = i32::try_from(id.pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    if directory.facts().map_err(gone)?.id == id {
        Ok((directory, pidfd))
    } else {
        Err(Errno::SRCH)
    }
}

/// Whether the system calls know a process of this number, whatever proc says.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).is_ok())
}

/// A process that vanished shows as a missing directory or as `ESRCH`, depending on when it did.
pub(crate) fn gone(error: Errno) -> Errno {
    if error == Errno::NOENT { Errno::SRCH } else { error }
}

/// Whether the process of a pidfd has ended: the pidfd is readable then (`pidfd_open(2)`).
pub(crate) fn has_ended(pidfd: impl AsFd) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(poll(&mut polled, Some(&at_once))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields by hand after proc(5): state, ppid, …, flags (9), …, starttime (22), vsize, rss (24).
    const LINE: &[u8] =
        b"77 (a) b (c) S 12 77 77 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 4711 1000000 250 184467440737 1 1\n";

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let facts = parse_stat(LINE).expect("a well-formed line");
        assert_eq!(
            facts.id,
            ProcessId {
                pid: 77,
                start_ticks: 4711
            }
        );
        assert_eq!(facts.name.as_bytes(), b"a) b (c");
        assert_eq!((facts.parent, facts.resident_pages), (12, 250));
        assert!(!facts.kernel_thread && !facts.zombie);
    }

    #[test]
    fn kernel_threads_are_told_by_their_flag() {
        // kthreadd on a running system: flags 2129984 = 0x208040.
        let facts = parse_stat(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0 1 0\n");
        assert!(facts.expect("a well-formed line").kernel_thread);
    }

    #[test]
    fn torn_lines_are_refused() {
        for length in 0..LINE.len() - 25 {
            assert_eq!(parse_stat(&LINE[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn what_a_process_holds_is_told_by_a_thread_where_the_first_has_ended() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("77");
        for thread in ["77", "78", "79"] {
            std::fs::create_dir_all(dir.join("task").join(thread)).expect("directories");
        }
        // Of a task without memory of its own the kernel prints no such lines (`task_mem` in fs/proc/task_mmu.c).
        let ended = "Name:\tit\nState:\tZ (zombie)\nThreads:\t2\n";
        let alive = "Name:\tit\nRssAnon:\t    2048 kB\nVmPTE:\t      40 kB\nVmSwap:\t       8 kB\n";
        for (file, content) in [
            ("status", ended),
            ("task/77/status", ended),
            ("task/78/status", alive),
            ("task/79/status", alive),
        ] {
            std::fs::write(dir.join(file), content).expect("a file");
        }
        let proc_root = std::fs::File::open(root.path()).expect("a directory");
        let directory = ProcessDir::open(proc_root.as_fd(), 77).expect("a directory");
        assert_eq!(directory.own_bytes(), Ok(2096 * 1024));
        std::fs::remove_dir_all(dir.join("task/78")).expect("removed");
        std::fs::remove_dir_all(dir.join("task/79")).expect("removed");
        assert_eq!(directory.own_bytes(), Ok(0));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let proc_root = std::fs::File::open("/proc").expect("/proc");
        let pid = std::process::id();
        let own = ProcessDir::open(proc_root.as_fd(), pid)
            .and_then(|dir| dir.facts())
            .expect("own stat");
        let pidfd = open_pidfd(proc_root.as_fd(), own.id).expect("own pidfd");
        assert_eq!(has_ended(&pidfd), Ok(false));
        let other = ProcessId {
            start_ticks: own.id.start_ticks + 1,
            ..own.id
        };
        assert_eq!(open_pidfd(proc_root.as_fd(), other).err(), Some(Errno::SRCH));
    }
}
