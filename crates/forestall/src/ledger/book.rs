//! The ledger's files: two at most, of which the older one goes when the newer one is full.
//!
//! What is written is appended and on disk before anybody is told of it. A tail that was being written when the machine failed is cut off;
//! what cannot be read for any other reason is set aside, and never thrown away. What a full disk does not take waits in memory, so much of it
//! and no more, and is written once there is room; so does all of it where the directory cannot be had, until it can. One program at a time
//! has the ledger.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
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

/// What is begun as the next newer file, until it is whole.
const NEXT: &str = "kills.next.ledger";

/// So much waits for a disk that takes nothing: several hundred kills. Those that come after them are counted and not kept.
const BACKLOG_BYTES_MAX: usize = 128 << 10;

/// A file of more than this becomes the older one.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// An open ledger. It remembers no more than is needed to keep nothing twice.
#[derive(Debug)]
pub(crate) struct Book {
    directory: PathBuf,
    /// Nothing where the directory cannot be had or written to.
    shelf: Option<Shelf>,
    /// What is sound of the newer file, and what it had in all when it was read; nothing where that could not be.
    size: u64,
    found_bytes: Option<u64>,
    /// Frames that are not in the file yet.
    backlog: Vec<u8>,
    /// Where the CRC of the frame behind them begins.
    chain: u32,
    /// Reports for which there was no room in it.
    left_out: u64,
    /// A part of it may stand behind what is sound in the file.
    is_torn: bool,
    /// Behind what is sound stands something else, which is set aside before it is cut off.
    is_damaged: bool,
    /// What lies there now is not what was read: whoever has this begins again.
    is_stale: bool,
    recent: Recent,
    /// Who was killed, counted.
    totals: Totals,
    /// The last of each boot, in the order in which the boots came.
    pub(crate) tallies: Vec<Tally>,
    /// What was found to be damaged, in words.
    pub(crate) notes: Vec<String>,
    /// Nothing can be written.
    #[cfg(test)]
    pub(crate) is_full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// The file that is written to, and the lock on all of them, for as long as this lives.
#[derive(Debug)]
struct Shelf {
    file: File,
    lock: File,
}

/// The lock is the open file's, and closing it releases it only where nobody has a copy: a child has one from fork(2) to execve(2).
impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Shelf {
    /// Takes the ledger in a directory, which is made, and not what it would lie in. `WouldBlock` where somebody else has it.
    fn take(directory: &Path) -> io::Result<Self> {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // On a disk that is only read it may be there all the same.
            Err(_) if directory.is_dir() => {}
            made => made?,
        }
        let lock = open(&directory.join(LOCK))?;
        take(&lock).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => io::Error::new(
                error.kind(),
                "somebody else has this ledger open; try again, or name another directory",
            ),
            _ => error,
        })?;
        let file = open(&directory.join(NEWER))?;
        Ok(Self { file, lock })
    }

    /// Whether what is written to is still what others find there: a directory can be removed, or another one mounted over it.
    fn is_found_in(&self, directory: &Path) -> bool {
        let own = self.file.metadata();
        let found = std::fs::metadata(directory.join(NEWER));
        // A device in its place, as tests of a full disk put there, is what it is.
        own.ok().zip(found.ok()).is_some_and(|(own, found)| {
            !own.is_file() || (own.dev(), own.ino()) == (found.dev(), found.ino())
        })
    }
}

impl Book {
    /// Opens the ledger in a directory, which is made.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let shelf = Shelf::take(directory);
        let shelf = shelf.with_context(|| format!("{}: the ledger cannot be opened", directory.display()));
        Self::open_on(directory, Some(shelf?))
    }

    /// The same; and where it cannot be written to, because the directory is missing, say, what is added waits in memory until it can.
    pub(crate) fn open_or_hold(directory: &Path) -> anyhow::Result<Self> {
        match Shelf::take(directory) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(error).with_context(|| format!("{}: the ledger cannot be opened", directory.display()))
            }
            taken => {
                Ok(Self::open_on(directory, taken.ok()).unwrap_or_else(|why| Self::unread(directory, &why)))
            }
        }
    }

    /// Where something stands in the ledger's place that cannot be read: nothing is known of before, and what is added waits in memory.
    fn unread(directory: &Path, why: &anyhow::Error) -> Self {
        let mut book = Self {
            directory: directory.to_owned(),
            shelf: None,
            size: 0,
            found_bytes: None,
            backlog: Vec::new(),
            chain: 0,
            left_out: 0,
            is_torn: true,
            is_damaged: false,
            is_stale: false,
            recent: Recent::default(),
            totals: Totals::default(),
            tallies: Vec::new(),
            notes: vec![format!(
                "{why:#}: what is heard waits in memory until that is mended"
            )],
            #[cfg(test)]
            is_full: std::sync::Arc::default(),
        };
        (book.backlog, book.chain) = book.beginning();
        book
    }

    fn open_on(directory: &Path, shelf: Option<Shelf>) -> anyhow::Result<Self> {
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
        let end = read_file(&directory.join(NEWER), End::default(), &mut hear)?;
        if end.rest > 0 {
            let what = if end.is_torn {
                "were being written when the machine failed, and are cut off".to_owned()
            } else {
                format!("cannot be read; the file as it was is kept as {DAMAGED}")
            };
            notes.push(format!("{} bytes of {NEWER} {what}", end.rest));
        }
        let mut book = Self {
            directory: directory.to_owned(),
            shelf,
            size: end.at,
            found_bytes: Some(end.at + end.rest),
            backlog: Vec::new(),
            chain: end.chain,
            left_out: 0,
            is_torn: true,
            is_damaged: end.rest > 0 && !end.is_torn,
            is_stale: false,
            recent,
            totals,
            tallies,
            notes,
            #[cfg(test)]
            is_full: std::sync::Arc::default(),
        };
        if book.size == 0 {
            (book.backlog, book.chain) = book.beginning();
        }
        // Where there is no room for it, it waits, and whoever appends something is told.
        let _ = book.write();
        Ok(book)
    }

    /// Somebody has put another ledger there, or written to it, before it could be taken: what was added cannot go behind that.
    pub(crate) const fn is_stale(&self) -> bool {
        self.is_stale
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
        self.add(entries, tally);
        self.write()
    }

    /// Takes entries and what has been heard by now, to be written.
    pub(crate) fn add(&mut self, entries: &[Entry], tally: Tally) {
        if self.size > FILE_BYTES_MAX && self.shelf.is_some() && self.backlog.is_empty() && self.left_out == 0
        {
            // Where there is no room for another file this one goes on.
            let _ = self.turn();
        }
        for entry in entries {
            entry.count(&mut self.totals);
            self.recent.remember(entry);
            if self.has_room() {
                self.push(kind::ENTRY, &entry.encode());
            } else {
                self.left_out += 1;
            }
        }
        // Behind its entries: what is cut off with them is heard again.
        if self.has_room() {
            self.push(kind::TALLY, &tally.encode());
        } else {
            self.left_out += u64::from(self.left_out == 0);
        }
        self.recent.forget(&tally);
        keep(&mut self.tallies, tally);
    }

    fn has_room(&self) -> bool {
        self.backlog.len() < BACKLOG_BYTES_MAX
    }

    fn push(&mut self, kind: u8, content: &[u8]) {
        self.chain = frame::write(kind, content, self.chain, &mut self.backlog);
    }

    /// Sees to it that all is on disk that was added. An error leaves it to be written the next time.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.backlog);
        let result = self.write_all(&out);
        if result.is_err() {
            self.backlog = out;
            // Whoever reads meanwhile need not see half a frame.
            self.is_torn = self.shelf.is_none() || self.cut().is_err();
        }
        result
    }

    /// Takes the shelf, if that could not be done yet. Once what lies there is not what was read none is taken any more: what waits is the
    /// middle of another file.
    fn take_shelf(&mut self) -> io::Result<&mut Shelf> {
        if self.is_stale {
            let why = "what lies in the ledger's place is not what was read; it begins again";
            return Err(io::Error::other(why));
        }
        let shelf = if let Some(shelf) = self.shelf.take() {
            if !shelf.is_found_in(&self.directory) {
                self.is_stale = true;
                return Err(io::Error::other(
                    "the ledger's files were removed or replaced; it begins again",
                ));
            }
            shelf
        } else if self.found_bytes.is_none() {
            let read = |name| read_file(&self.directory.join(name), End::default(), &mut |_| ());
            let read = [OLDER, NEWER]
                .into_iter()
                .try_for_each(|name| read(name).map(drop));
            read.map_err(|why| io::Error::other(format!("{why:#}")))?;
            self.is_stale = true;
            return Err(io::Error::other("the ledger can be read now; it begins again"));
        } else {
            let shelf = Shelf::take(&self.directory)?;
            self.is_stale = Some(shelf.file.metadata()?.len()) != self.found_bytes;
            if self.is_stale {
                return Err(io::Error::other("somebody has written to the ledger meanwhile"));
            }
            shelf
        };
        Ok(self.shelf.insert(shelf))
    }

    /// Cuts off what stands behind the last sound frame.
    fn cut(&mut self) -> io::Result<()> {
        let size = self.size;
        if self.is_damaged {
            self.take_shelf()?;
            std::fs::copy(self.directory.join(NEWER), self.directory.join(DAMAGED))?;
            self.is_damaged = false;
        }
        let shelf = self.take_shelf()?;
        shelf.file.set_len(size)?;
        shelf.file.seek(SeekFrom::Start(size)).map(drop)
    }

    fn write_all(&mut self, backlog: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.cut()?;
            self.is_torn = false;
        }
        let mut all = backlog;
        let mut chain = self.chain;
        let mut with_totals = Vec::new();
        if self.left_out > 0 {
            // Whom no entry tells of stands in the counts, and is not heard again.
            with_totals.extend_from_slice(backlog);
            chain = frame::write(kind::TOTALS, &self.totals.encode(), chain, &mut with_totals);
            for tally in &self.tallies {
                chain = frame::write(kind::TALLY, &tally.encode(), chain, &mut with_totals);
            }
            all = &with_totals;
        }
        if all.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        if self.is_full.load(std::sync::atomic::Ordering::Acquire) {
            return Err(Errno::NOSPC.into());
        }
        let shelf = self.take_shelf()?;
        shelf.file.write_all(all)?;
        shelf.file.sync_data()?;
        if self.size == 0 {
            // Its name, too.
            File::open(&self.directory)?.sync_all()?;
        }
        self.size += all.len() as u64;
        self.chain = chain;
        (self.left_out, self.is_torn) = (0, false);
        Ok(())
    }

    /// How a file begins; the tallies and the counts go with it, so that the older one can be left out.
    fn beginning(&self) -> (Vec<u8>, u32) {
        let mut out = MAGIC.to_vec();
        let mut chain = frame::write(kind::HEAD, &[VERSION], 0, &mut out);
        chain = frame::write(kind::TOTALS, &self.totals.encode(), chain, &mut out);
        for tally in &self.tallies {
            chain = frame::write(kind::TALLY, &tally.encode(), chain, &mut out);
        }
        (out, chain)
    }

    /// The newer file becomes the older one, once the next one is on disk.
    fn turn(&mut self) -> io::Result<()> {
        // Boots of which no entry is left any more need no tally either.
        let recent = self.tallies.len().saturating_sub(TALLIES_MAX);
        self.tallies.drain(..recent);
        let (out, chain) = self.beginning();
        let [next, newer] = [NEXT, NEWER].map(|name| self.directory.join(name));
        self.take_shelf()?;
        let mut file = open(&next)?;
        file.set_len(0)?;
        file.write_all(&out)?;
        file.sync_data()?;
        match std::fs::rename(&newer, self.directory.join(OLDER)) {
            // The step after this one failed the last time.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        std::fs::rename(&next, &newer)?;
        if let Some(shelf) = &mut self.shelf {
            shelf.file = file;
        }
        self.size = out.len() as u64;
        (self.chain, self.is_torn) = (chain, false);
        File::open(&self.directory)?.sync_all()
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
