//! `/dev/kmsg` held open: record by record into a buffer that is reused, with what was lost counted.
//!
//! The device hands out one record a read. A reader that is slower than the ring is told once by `EPIPE` and goes on with the oldest
//! record there is; a record that does not fit the buffer is `EINVAL` and skipped (`devkmsg_read` in `kernel/printk/printk.c`).
//! Neither ends the reading here. What was lost is counted from the numbers of the records, because `EPIPE` says not how much.
//!
//! What it refuses to do: it never waits (poll the descriptor), and never writes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::record::Record;
use crate::Error;

/// The longest record that any kernel hands out (`PRINTK_MESSAGE_MAX`, before 6.x `CONSOLE_EXT_LOG_MAX`), bytes.
pub const RECORD_BYTES_MAX: usize = 8192;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that the ring still holds.
    Oldest,
    /// With the first record that comes after the device was opened.
    Now,
}

/// A reader of the kernel's log.
#[derive(Debug)]
pub struct KmsgReader {
    file: OwnedFd,
    path: Arc<Path>,
    buffer: Box<[u8]>,
    tally: Tally,
}

/// What was read and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// The number that the next record has if nothing is lost; `None` before the first.
    expected: Option<u64>,
    lost: u64,
    oversize: u64,
    /// Skipped for their length since the last record that was read: they make a hole in the numbers, too.
    skipped: u64,
    malformed: u64,
}

impl Tally {
    fn hear(&mut self, sequence: u64) {
        let hole = self
            .expected
            .map_or(0, |expected| sequence.saturating_sub(expected));
        self.lost = self.lost.saturating_add(hole.saturating_sub(self.skipped));
        self.skipped = 0;
        self.expected = Some(sequence.saturating_add(1));
    }

    fn skip(&mut self) {
        self.oversize = self.oversize.saturating_add(1);
        // Before the first record there is no number to make a hole in.
        if self.expected.is_some() {
            self.skipped = self.skipped.saturating_add(1);
        }
    }
}

impl KmsgReader {
    /// Opens the device, usually `/dev/kmsg`. [`Error::Denied`]: with `kernel.dmesg_restrict` this takes `CAP_SYSLOG`, and in a
    /// container a device that its cgroup allows.
    pub fn open(path: &Path, start: Start) -> Result<Self, Error> {
        let shown: Arc<Path> = Arc::from(path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::from_errno(&shown, errno))?;
        if start == Start::Now {
            rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|errno| Error::from_errno(&shown, errno))?;
        }
        Ok(Self::over(file, path))
    }

    /// Reads what somebody else has opened, without blocking, where it stands; `path` is told in errors.
    pub fn over(file: OwnedFd, path: &Path) -> Self {
        Self {
            file,
            path: Arc::from(path),
            buffer: vec![0; RECORD_BYTES_MAX].into_boxed_slice(),
            tally: Tally::default(),
        }
    }

    /// The next record; `None` when there is none yet. Allocates nothing. An error means that the device is of no use any more.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        let file = &self.file;
        let read = |buffer: &mut [u8]| rustix::io::read(file, buffer);
        match advance(&mut self.buffer, &mut self.tally, read) {
            Ok(Some(length)) => Ok(self.buffer.get(..length).and_then(Record::parse)),
            Ok(None) => Ok(None),
            Err(errno) => Err(Error::from_errno(&self.path, errno)),
        }
    }

    /// Records that were overwritten before they were read, since the first one that was.
    pub fn lost(&self) -> u64 {
        self.tally.lost
    }

    /// Records that were skipped because they are longer than [`RECORD_BYTES_MAX`].
    pub fn oversize(&self) -> u64 {
        self.tally.oversize
    }

    /// What was read and is no record.
    pub fn malformed(&self) -> u64 {
        self.tally.malformed
    }
}

impl AsFd for KmsgReader {
    /// For poll(2): readable with a record, and with an error right after an overrun, which reading clears.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Reads until there is a record (its length in `buffer`), or nothing more to read.
fn advance(
    buffer: &mut [u8],
    tally: &mut Tally,
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<Option<usize>, Errno> {
    loop {
        match read(buffer) {
            // The device never ends; a file that stands in for it does.
            Ok(0) | Err(Errno::AGAIN) => return Ok(None),
            Ok(length) => match buffer.get(..length).and_then(Record::parse) {
                Some(record) => {
                    tally.hear(record.sequence);
                    return Ok(Some(length));
                }
                None => tally.malformed = tally.malformed.saturating_add(1),
            },
            // How much was overrun is told by the next record's number.
            Err(Errno::INTR | Errno::PIPE) => {}
            Err(Errno::INVAL) => tally.skip(),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests;
