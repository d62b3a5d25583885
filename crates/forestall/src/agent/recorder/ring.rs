//! The files of the recorder: segments with ascending numbers, the oldest removed as new ones come.
//!
//! A segment has its name only once its head is on disk, so every file with the right name can be read. What it refuses to
//! do: touch a file that is not named like a segment of its own, or fill a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use forestall_decide::{Moment, Span};
use rustix::fs::{FlockOperation, flock};

/// A ring is made of so many segments: what is removed at once is so much of it.
const SEGMENTS: u64 = 16;
const PREFIX: &str = "trace-";
const SUFFIX: &str = ".ftr";
/// A segment that is just being begun.
const UNFINISHED: &str = "segment.new";
/// Held by whoever records here.
const LOCK: &str = "lock";
/// So many segments' worth must be free, so that we are never the one who fills the disk.
const SPARE_SEGMENTS: u64 = 4;
const SYNCER_STACK_BYTES: usize = 64 << 10;

/// The directory.
#[derive(Debug)]
pub(super) struct Ring {
    directory: PathBuf,
    keep: Span,
    size_bytes_max: u64,
    next: u64,
    /// The lock goes with its descriptor.
    _lock: File,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    size: u64,
    begun: Moment,
}

/// Syncs files in a thread of its own: it may take seconds, and meanwhile inputs come.
#[derive(Debug)]
pub(super) struct Syncer {
    files: SyncSender<File>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (files, due) = sync_channel::<File>(1);
        let failed: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let told = Arc::clone(&failed);
        thread::Builder::new()
            .name("sync".to_owned())
            .stack_size(SYNCER_STACK_BYTES)
            .spawn(move || {
                for file in due {
                    if let Err(error) = file.sync_data() {
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                }
            })?;
        Ok(Self { files, failed })
    }

    /// Sees to it that what is written reaches the disk, without waiting for it; false where others still wait for that. The
    /// error is that of a time before.
    pub(super) fn sync(&self, segment: &Segment) -> io::Result<bool> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(self.files.try_send(segment.file.try_clone()?).is_ok())
    }
}

impl Ring {
    /// Makes the directory and locks it. Fails where somebody else records there.
    pub(super) fn open(directory: &Path, keep: Span, size_bytes_max: u64) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let next = segments(directory)?.last().map_or(0, |(number, _)| number + 1);
        Ok(Self {
            directory: directory.to_path_buf(),
            keep,
            size_bytes_max,
            next,
            _lock: lock,
        })
    }

    /// The segment has had its share of the ring, by bytes or by time.
    pub(super) fn is_full(&self, segment: &Segment, now: Moment) -> bool {
        segment.size >= self.segment_bytes() || now.since(segment.begun).0 >= self.keep.0 / SEGMENTS
    }

    fn segment_bytes(&self) -> u64 {
        self.size_bytes_max / SEGMENTS
    }

    /// Begins a segment with its head, and removes what is too old or too much.
    pub(super) fn begin(&mut self, now: Moment, head: &[u8]) -> io::Result<Segment> {
        self.prune(SystemTime::now())?;
        self.check_space()?;
        let unfinished = self.directory.join(UNFINISHED);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)?;
        file.write_all(head)?;
        file.sync_data()?;
        let name = format!("{PREFIX}{:010}{SUFFIX}", self.next);
        std::fs::rename(&unfinished, self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()?;
        self.next += 1;
        Ok(Segment {
            file,
            size: head.len() as u64,
            begun: now,
        })
    }

    /// Leaves room for the segment that is about to begin.
    fn prune(&self, now: SystemTime) -> io::Result<()> {
        let mut kept = 0;
        let mut is_over = false;
        for (_, path) in segments(&self.directory)?.iter().rev() {
            let about = std::fs::metadata(path)?;
            kept += about.len();
            let age = about
                .modified()
                .ok()
                .and_then(|modified| now.duration_since(modified).ok())
                .unwrap_or_default();
            // Once one is too old or too much, so is everything before it.
            is_over |=
                kept + self.segment_bytes() > self.size_bytes_max || age > Duration::from_micros(self.keep.0);
            if is_over {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn check_space(&self) -> io::Result<()> {
        let about = rustix::fs::statvfs(&self.directory)?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        if free < self.segment_bytes() * SPARE_SEGMENTS {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        Ok(())
    }
}

impl Segment {
    /// Appends whole frames. Without buffering: what the agent's own end would lose is nothing.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all(frames)?;
        self.size += frames.len() as u64;
        Ok(())
    }

    /// Waits until it has reached the disk.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Our segments with their numbers, the oldest first.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}
