//! The ledger's files: two at most, of which the older one goes when the newer one is full.
//!
//! What is written is appended and on disk before anybody is told of it. A tail that was being written when the machine failed is cut off;
//! what cannot be read for any other reason is set aside, and never thrown away. One program at a time has the ledger.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use forestall_trace::frame;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::entry::{Entry, Tally};
use super::intake::Intake;
use super::pages::{End, MAGIC, NEWER, OLDER, VERSION, Word, keep, kind, read_file, tally_of};
use super::recent::{Known, Recent};
use super::totals::Totals;

const DAMAGED: &str = "kills.damaged";
const LOCK: &str = "lock";

/// A file of more than this becomes the older one.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// An open ledger. It remembers no more than is needed to keep nothing twice.
#[derive(Debug)]
pub(crate) struct Book {
    directory: PathBuf,
    file: File,
    size: u64,
    chain: u32,
    recent: Recent,
    /// Who was killed, counted.
    totals: Totals,
    /// The last of each boot, in the order in which the boots came.
    pub(crate) tallies: Vec<Tally>,
    /// What was found to be damaged, in words.
    pub(crate) notes: Vec<String>,
    /// The lock goes with its descriptor.
    _lock: File,
}

impl Book {
    /// Opens the ledger in a directory, which is made.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let shown = directory.display();
        std::fs::create_dir_all(directory)
            .with_context(|| format!("{shown}: the ledger's directory cannot be made"))?;
        let lock = open(&directory.join(LOCK)).with_context(|| format!("{shown}: cannot be written to"))?;
        if let Err(error) = take(&lock) {
            if error.kind() == ErrorKind::WouldBlock {
                bail!("{shown}: somebody else has this ledger open; try again, or name another directory");
            }
            return Err(error).with_context(|| format!("{shown}: the ledger cannot be locked"));
        }
        let mut notes = Vec::new();
        let (mut tallies, mut recent, mut totals) = (Vec::new(), Recent::default(), Totals::default());
        let mut hear = |word| match word {
            Word::Entry(entry) => {
                entry.count(&mut totals);
                recent.remember(&entry);
            }
            Word::Tally(tally) => {
                recent.forget(&tally);
                keep(&mut tallies, tally);
            }
            Word::Totals(before) => totals = before,
            Word::Signal(_) => {}
        };
        let older = read_file(&directory.join(OLDER), End::default(), &mut hear)?;
        if older.rest > 0 {
            notes.push(format!("{} bytes of {OLDER} cannot be read", older.rest));
        }
        let path = directory.join(NEWER);
        let end = read_file(&path, End::default(), &mut hear)?;
        let mut file = open(&path).with_context(|| path.display().to_string())?;
        if end.rest > 0 {
            if !end.is_torn {
                std::fs::copy(&path, directory.join(DAMAGED))?;
            }
            let what = if end.is_torn {
                "were being written when the machine failed, and are cut off".to_owned()
            } else {
                format!("cannot be read; the file as it was is kept as {DAMAGED}")
            };
            notes.push(format!("{} bytes of {NEWER} {what}", end.rest));
            file.set_len(end.at)?;
        }
        file.seek(SeekFrom::Start(end.at))?;
        let mut book = Self {
            directory: directory.to_owned(),
            file,
            size: end.at,
            chain: end.chain,
            recent,
            totals,
            tallies,
            notes,
            _lock: lock,
        };
        if book.size == 0 {
            book.begin()?;
        }
        Ok(book)
    }

    /// Who was killed, counted.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Whoever hears what is new of a boot; `zero_micros` is what the wall clock read when the log's clock read 0.
    pub(crate) fn intake(&self, boot: &[u8], zero_micros: i64) -> Intake {
        Intake::new(self.known_of(boot), zero_micros)
    }

    /// What was kept of a boot so far.
    pub(super) fn known_of(&self, boot: &[u8]) -> Known {
        Known {
            tally: tally_of(&self.tallies, boot),
            recent: self.recent.of(boot),
        }
    }

    /// Appends entries and what has been heard by now, and sees to it that they are on disk.
    pub(crate) fn append(&mut self, entries: &[Entry], tally: Tally) -> io::Result<()> {
        if self.size > FILE_BYTES_MAX {
            self.turn()?;
        }
        let mut out = Vec::new();
        let mut chain = self.chain;
        for entry in entries {
            chain = frame::write(kind::ENTRY, &entry.encode(), chain, &mut out);
        }
        // Behind its entries: what is cut off with them is heard again.
        chain = frame::write(kind::TALLY, &tally.encode(), chain, &mut out);
        self.put(&out, chain)?;
        for entry in entries {
            entry.count(&mut self.totals);
        }
        self.recent.forget(&tally);
        keep(&mut self.tallies, tally);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], chain: u32) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.size += bytes.len() as u64;
        self.chain = chain;
        Ok(())
    }

    /// Begins a file; the tallies and the counts go with it, so that the older one can be left out.
    fn begin(&mut self) -> io::Result<()> {
        let mut out = MAGIC.to_vec();
        let mut chain = frame::write(kind::HEAD, &[VERSION], 0, &mut out);
        chain = frame::write(kind::TOTALS, &self.totals.encode(), chain, &mut out);
        for tally in &self.tallies {
            chain = frame::write(kind::TALLY, &tally.encode(), chain, &mut out);
        }
        self.put(&out, chain)?;
        File::open(&self.directory)?.sync_all()
    }

    /// The newer file becomes the older one.
    fn turn(&mut self) -> io::Result<()> {
        let path = self.directory.join(NEWER);
        std::fs::rename(&path, self.directory.join(OLDER))?;
        self.file = open(&path)?;
        self.size = 0;
        // Boots of which no entry is left any more need no tally either.
        let recent = self.tallies.len().saturating_sub(TALLIES_MAX);
        self.tallies.drain(..recent);
        self.begin()
    }
}

/// Takes the lock. Whoever just looks has it for a moment, and so has a child of its holder's between fork and exec.
fn take(lock: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            taken => return Ok(taken?),
        }
    }
    Ok(flock(lock, FlockOperation::NonBlockingLockExclusive)?)
}

/// So often, and so far apart, a lock that somebody has is tried.
const LOCK_TRIES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// So many boots are remembered in a new file.
const TALLIES_MAX: usize = 64;

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

#[cfg(test)]
mod tests;
