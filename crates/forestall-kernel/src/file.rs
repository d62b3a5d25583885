//! A file of the kernel that is opened once and read often, and the buffer it is read into.
//!
//! Opening costs as much as reading, and after a machine has run out of memory an open may wait for the disk; a held
//! descriptor does neither. A `pread` at offset 0 makes the kernel render the file anew (`fs/seq_file.c`, `seq_read_iter`).
//! Nothing here allocates except when a file is opened or a buffer enlarged, which the owner does outside the hot path.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// The content of one file at a time, in memory that is reused. Its capacity is fixed until [`Buffer::enlarge`].
#[derive(Debug)]
pub struct Buffer {
    storage: Box<[u8]>,
    length: usize,
}

impl Buffer {
    /// A buffer for files of up to `capacity` bytes. All of it is written once, so that its pages are present before
    /// memory runs short.
    pub fn with_capacity(capacity: usize) -> Self {
        // Zeroed memory from the allocator may be pages that do not exist yet; any other value has to be written. Nobody sees
        // it, because the length is 0.
        Self {
            storage: vec![1_u8; capacity].into_boxed_slice(),
            length: 0,
        }
    }

    /// What was read last.
    pub fn as_bytes(&self) -> &[u8] {
        self.storage.get(..self.length).unwrap_or_default()
    }

    /// The longest file that fits, bytes. A file of exactly this length counts as truncated, because its end was not
    /// seen.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Makes room for files of `capacity` bytes; what was read is forgotten. Allocates: not for the hot path.
    pub fn enlarge(&mut self, capacity: usize) {
        if capacity > self.storage.len() {
            *self = Self::with_capacity(capacity);
        }
    }

    /// Fills the buffer from `read` (which is handed the rest of the buffer and the offset) until the end of the file.
    fn fill(
        &mut self,
        pieces: Pieces,
        mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
    ) -> Result<Fill, Errno> {
        self.length = 0;
        loop {
            let rest = self.storage.get_mut(self.length..).unwrap_or_default();
            let room = rest.len();
            if room == 0 {
                return Ok(Fill::Truncated);
            }
            match read(rest, self.length as u64) {
                Ok(0) => return Ok(Fill::Whole),
                Ok(count) => {
                    self.length = self.length.saturating_add(count).min(self.storage.len());
                    if pieces == Pieces::One && count < room {
                        return Ok(Fill::Whole);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    // Half a file must not be mistaken for a whole one.
                    self.length = 0;
                    return Err(errno);
                }
            }
        }
    }
}

/// How the kernel hands a file out, which says how its end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// Rendered as one record (`single_open`, a cgroup file's `seq_show`): a read that leaves room in the buffer has seen the
    /// end. That saves the second system call, half the cost of a small file.
    One,
    /// Possibly record by record (`vmstat`, `zoneinfo`, `swaps`, `mountinfo`, `cgroup.procs`): a read may come short in the
    /// middle, where the next record did not fit the kernel's own buffer. Only an empty read is the end.
    Many,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    Whole,
    Truncated,
}

/// Reads the whole of `file` from its beginning; `path` is only told in errors. Right for every file, see [`Pieces`].
pub(crate) fn read_whole(
    file: impl AsFd,
    buffer: &mut Buffer,
    path: impl FnOnce() -> Arc<Path>,
) -> Result<&[u8], Error> {
    read_pieces(Pieces::Many, file, buffer, path)
}

/// As [`read_whole`], for a file that is known to come in one piece.
pub(crate) fn read_record(
    file: impl AsFd,
    buffer: &mut Buffer,
    path: impl FnOnce() -> Arc<Path>,
) -> Result<&[u8], Error> {
    read_pieces(Pieces::One, file, buffer, path)
}

fn read_pieces(
    pieces: Pieces,
    file: impl AsFd,
    buffer: &mut Buffer,
    path: impl FnOnce() -> Arc<Path>,
) -> Result<&[u8], Error> {
    match buffer.fill(pieces, |rest, offset| rustix::io::pread(&file, rest, offset)) {
        Ok(Fill::Whole) => Ok(buffer.as_bytes()),
        Ok(Fill::Truncated) => Err(Error::Truncated {
            path: path(),
            capacity: buffer.capacity(),
        }),
        Err(errno) => Err(Error::from_errno(&path(), errno)),
    }
}

/// One open file of the kernel.
#[derive(Debug)]
pub struct HeldFile {
    file: OwnedFd,
    path: Arc<Path>,
    pieces: Pieces,
}

impl HeldFile {
    /// Opens `path` for reading.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_at(rustix::fs::CWD, path, path)
    }

    /// Opens `name` below the directory `dir`, so that a renamed or replaced parent cannot lead astray. `shown` is the
    /// path that errors tell.
    pub fn open_at(dir: impl AsFd, name: &Path, shown: &Path) -> Result<Self, Error> {
        let path: Arc<Path> = Arc::from(shown);
        // O_NONBLOCK and O_NOCTTY: the path comes from configuration, and a FIFO or terminal there must not hang us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(file) => Ok(Self {
                file,
                path,
                pieces: Pieces::Many,
            }),
            Err(errno) => Err(Error::from_errno(&path, errno)),
        }
    }

    /// The same file, known to be handed out like this. [`Pieces::Many`] is assumed until somebody knows better.
    #[must_use]
    pub fn in_pieces(self, pieces: Pieces) -> Self {
        Self { pieces, ..self }
    }

    /// Reads the whole file as it is now and returns its bytes, which stay in `buffer`.
    ///
    /// [`Error::Gone`] means that the descriptor is to be dropped; [`Error::Truncated`] leaves the beginning of the file
    /// in the buffer, and its last line may be cut in the middle of a number.
    pub fn read_into<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], Error> {
        read_pieces(self.pieces, &self.file, buffer, || Arc::clone(&self.path))
    }

    /// As [`HeldFile::read_into`], but doubles the buffer up to `capacity_max` bytes as often as the file does not fit. It
    /// allocates: for the first read, which finds the size, and for the rare one after a truncation.
    pub fn read_enlarging<'b>(&self, buffer: &'b mut Buffer, capacity_max: usize) -> Result<&'b [u8], Error> {
        while let Err(error) = self.read_into(buffer) {
            let capacity = buffer.capacity();
            if capacity >= capacity_max || !matches!(error, Error::Truncated { .. }) {
                return Err(error);
            }
            buffer.enlarge(capacity.saturating_mul(2).max(4096).min(capacity_max));
        }
        Ok(buffer.as_bytes())
    }

    /// The path that errors tell.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path that errors tell, to be kept without copying it.
    pub fn shared_path(&self) -> &Arc<Path> {
        &self.path
    }
}

impl AsFd for HeldFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests;
