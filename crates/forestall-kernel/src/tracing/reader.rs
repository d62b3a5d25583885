//! An instance held open: its pages, read processor by processor into one buffer.
//!
//! The descriptor to poll is that of the instance's `trace_pipe`, which is never read: it wakes for a record of any processor, of one too
//! that comes online later, while a single processor's file answers with an error for as long as that has no buffer. What was overwritten
//! before it was read is told by the kernel in the next page, and counted.
//!
//! It refuses to wait, and to write.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::format::EventFormat;
use super::format::PageFormat;
use super::page::Page;
use super::record::{Comm, Known, MoveFields, SignalFields, Told, TraceEvent, VictimFields};
use crate::Error;
use crate::file::{Buffer, HeldFile};
use crate::parse::{lines, signed};

/// So many pages of a processor are read at once; what is left wakes the poll again.
const PAGES_MAX: usize = 64;

/// Longer ones are none of the kernel's, bytes.
const FORMAT_BYTES_MAX: usize = 64 * 1024;

/// A reader of one instance.
#[derive(Debug)]
pub struct TraceReader {
    pipe: OwnedFd,
    processors: Vec<HeldFile>,
    page: PageFormat,
    known: Known,
    buffer: Box<[u8]>,
    path: Arc<Path>,
    lost: u64,
    malformed: u64,
}

impl TraceReader {
    /// Opens the instance in the directory `path`, `TRACEFS/instances/NAME`.
    ///
    /// [`Error::Gone`]: it is not there. [`Error::Denied`]: its files belong to another user (they are root's), or the kernel is
    /// locked down (`lockdown=confidentiality`). [`Error::Malformed`]: a file says nothing that can be understood, or neither event is
    /// there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut buffer = Buffer::with_capacity(4096);
        let mut read = |name: &str| {
            let file = HeldFile::open(&path.join(name))?;
            file.read_enlarging(&mut buffer, FORMAT_BYTES_MAX)
                .map(<[u8]>::to_vec)
        };
        let header = read("events/header_page").or_else(|_| read("../../events/header_page"))?;
        let page = PageFormat::parse(&header).ok_or_else(|| Error::Malformed {
            path: Arc::from(path.join("events/header_page")),
            what: "does not say how a page of the ring buffer begins",
        })?;
        let victim = read("events/oom/mark_victim/format");
        let signal = read("events/signal/signal_generate/format");
        let kind = [&victim, &signal]
            .into_iter()
            .flatten()
            .find_map(|content| EventFormat::of(content).field(b"common_type"));
        let Some(kind) = kind else {
            return Err(victim.err().unwrap_or_else(|| Error::Malformed {
                path: Arc::from(path.join("events/oom/mark_victim/format")),
                what: "names no fields",
            }));
        };
        let known = Known {
            kind,
            victim: victim.ok().and_then(|content| VictimFields::parse(&content)),
            signal: signal.ok().and_then(|content| SignalFields::parse(&content)),
            moved: read("events/cgroup/cgroup_attach_task/format")
                .ok()
                .and_then(|content| MoveFields::parse(&content)),
        };
        let pipe_path: Arc<Path> = Arc::from(path.join("trace_pipe"));
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = rustix::fs::open(&*pipe_path, flags, Mode::empty())
            .map_err(|errno| Error::from_errno(&pipe_path, errno))?;
        Ok(Self {
            pipe,
            processors: open_processors(path)?,
            page,
            known,
            buffer: vec![1; page.page_bytes()].into_boxed_slice(),
            path: Arc::from(path),
            lost: 0,
            malformed: 0,
        })
    }

    /// Hands over what is there, in the order of time for each processor, and says how many events that was. Allocates nothing.
    /// At most 64 pages of each processor: whatever is left makes the descriptor readable.
    pub fn read(&mut self, hear: impl FnMut(TraceEvent)) -> Result<usize, Error> {
        self.read_all(hear, |_, _| {})
    }

    /// The same, and to `moved` who was put into which cgroup of version 2 (`cgroup:cgroup_attach_task`), by its path from the root of the
    /// hierarchy: the first process of a container, and nobody who was born where it lives.
    pub fn read_all(
        &mut self,
        mut hear: impl FnMut(TraceEvent),
        mut moved: impl FnMut(i32, &[u8]),
    ) -> Result<usize, Error> {
        let mut heard = 0;
        for processor in &self.processors {
            for _ in 0..PAGES_MAX {
                let length = match rustix::io::read(processor, &mut self.buffer[..]) {
                    // A processor that was never online has no buffer.
                    Ok(0) | Err(Errno::AGAIN | Errno::NODEV) => break,
                    Ok(length) => length,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(Error::from_errno(processor.shared_path(), errno)),
                };
                let bytes = self.buffer.get(..length).unwrap_or_default();
                let Some(mut page) = Page::parse(&self.page, bytes) else {
                    self.malformed = self.malformed.saturating_add(1);
                    continue;
                };
                self.lost = self.lost.saturating_add(page.lost());
                for item in &mut page {
                    match self.known.read(item.at_nanos, item.record) {
                        Told::Event(event) => {
                            heard += 1;
                            hear(event);
                        }
                        Told::Moved { pid, path } => {
                            heard += 1;
                            moved(pid, path);
                        }
                        Told::Other => {}
                        Told::Malformed => self.malformed = self.malformed.saturating_add(1),
                    }
                }
                self.malformed = self.malformed.saturating_add(u64::from(page.is_torn()));
            }
        }
        Ok(heard)
    }

    /// Records that were overwritten before they were read, at least: with a page that had no room to say how many, one.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Records and pages that made no sense.
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The kernel has `oom:mark_victim` (4.9 and later), without which a signal of the kernel's cannot be told from another one.
    pub const fn sees_victims(&self) -> bool {
        self.known.victim.is_some()
    }

    /// The kernel has `signal:signal_generate`, which says who sent SIGKILL.
    pub const fn sees_signals(&self) -> bool {
        self.known.signal.is_some()
    }

    /// The instance's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the thread `pid`, which sent something: from `proc` while it lives, and afterwards from what tracing has
    /// noted of it (`saved_cmdlines`, some hundred names). Names are chosen by who bears them, and a note that is not the only one of
    /// its number is none. Opens, reads and closes.
    pub fn name_of(&self, pid: i32, proc: &Path) -> Option<Comm> {
        let mut buffer = Buffer::with_capacity(64);
        let living = HeldFile::open(&proc.join(pid.to_string()).join("comm"));
        if let Ok(name) = living.and_then(|file| file.read_into(&mut buffer).map(Comm::of_line)) {
            return Some(name);
        }
        let notes = self.path.join("../../saved_cmdlines");
        let notes = HeldFile::open(&notes).ok()?;
        find_note(notes.read_enlarging(&mut buffer, FORMAT_BYTES_MAX).ok()?, pid)
    }
}

impl AsFd for TraceReader {
    /// For poll(2): readable while there is a record of any processor. How much of a buffer has to be full (`buffer_percent`, which
    /// 5.10 lets nobody write who may not override a file's mode) is asked of a single processor's file alone
    /// (`ring_buffer_poll_wait` in `kernel/trace/ring_buffer.c`).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Every processor that the machine may have, whether it is online or not.
fn open_processors(path: &Path) -> Result<Vec<HeldFile>, Error> {
    let shown: Arc<Path> = Arc::from(path.join("per_cpu"));
    let failed = |errno| Error::from_errno(&shown, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&*shown, flags, Mode::empty()).map_err(failed)?;
    let mut processors = Vec::new();
    for entry in rustix::fs::Dir::read_from(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_processor = entry.file_name().to_bytes().starts_with(b"cpu");
        if is_processor
            && matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            && let Ok(name) = entry.file_name().to_str()
        {
            processors.push(HeldFile::open(&shown.join(name).join("trace_pipe_raw"))?);
        }
    }
    Ok(processors)
}

/// The name beside `pid` in lines of `PID NAME`; `None` where two are. A name may hold a line's end and forge a line.
fn find_note(notes: &[u8], pid: i32) -> Option<Comm> {
    let mut found = lines(notes).filter_map(|line| {
        let blank = line.iter().position(|byte| *byte == b' ')?;
        let (number, name) = line.split_at(blank);
        (signed(number)? == i64::from(pid)).then(|| Comm::of(name.get(1..).unwrap_or_default()))
    });
    let name = found.next()?;
    found.next().is_none().then_some(name)
}
