//! The ledger's files: two at most, of which the older one goes when the newer one is full.
//!
//! What is written is appended and on disk before anybody is told of it. A tail that was being written when the machine failed is cut off;
//! what cannot be read for any other reason is set aside, and never thrown away. One program at a time has the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use forestall_trace::frame;
use rustix::fs::{FlockOperation, flock};

use super::entry::{Entry, Tally};

/// How each file begins; what follows are frames.
const MAGIC: [u8; 8] = *b"\xc7FLEDG\r\n";

/// The version of what is written, the content of the first frame. A newer one is left alone.
const VERSION: u8 = 1;

const NEWER: &str = "kills.ledger";
const OLDER: &str = "kills.1.ledger";
const DAMAGED: &str = "kills.damaged";
const LOCK: &str = "lock";

/// A file of more than this becomes the older one.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// No file of ours is nearly as large.
const READ_BYTES_MAX: u64 = 64 << 20;

mod kind {
    pub(super) const HEAD: u8 = 0x01;
    pub(super) const ENTRY: u8 = 0x20;
    pub(super) const TALLY: u8 = 0x21;
}

/// An open ledger.
#[derive(Debug)]
pub(crate) struct Book {
    directory: PathBuf,
    file: File,
    size: u64,
    chain: u32,
    /// What it holds, the oldest first.
    pub(crate) entries: Vec<Entry>,
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
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            let error = io::Error::from(error);
            if error.kind() == ErrorKind::WouldBlock {
                bail!("{shown}: somebody else has this ledger open; try again, or name another directory");
            }
            return Err(error).with_context(|| format!("{shown}: the ledger cannot be locked"));
        }
        let mut notes = Vec::new();
        let mut pages = Pages::default();
        if let Some(bytes) = read(&directory.join(OLDER))? {
            let end = pages.read(&bytes).with_context(|| format!("{shown}/{OLDER}"))?;
            if end.at < bytes.len() {
                notes.push(format!(
                    "{} bytes of {OLDER} cannot be read",
                    bytes.len() - end.at
                ));
            }
        }
        let path = directory.join(NEWER);
        let bytes = read(&path)?.unwrap_or_default();
        let end = pages.read(&bytes).with_context(|| path.display().to_string())?;
        let tail = bytes.get(end.at..).unwrap_or_default();
        let mut file = open(&path).with_context(|| path.display().to_string())?;
        if !tail.is_empty() {
            // Zeros are what a file system leaves of a write that it had made room for.
            let is_torn = frame::is_cut(tail) || tail.iter().all(|byte| *byte == 0);
            if !is_torn {
                std::fs::write(directory.join(DAMAGED), &bytes)?;
            }
            let what = if is_torn {
                "were being written when the machine failed, and are cut off".to_owned()
            } else {
                format!("cannot be read; the file as it was is kept as {DAMAGED}")
            };
            notes.push(format!("{} bytes of {NEWER} {what}", tail.len()));
            file.set_len(end.at as u64)?;
        }
        file.seek(SeekFrom::Start(end.at as u64))?;
        let mut book = Self {
            directory: directory.to_owned(),
            file,
            size: end.at as u64,
            chain: end.chain,
            entries: pages.entries,
            tallies: pages.tallies,
            notes,
            _lock: lock,
        };
        if book.size == 0 {
            book.begin()?;
        }
        Ok(book)
    }

    /// What was heard of a boot so far.
    pub(super) fn tally(&self, boot: &[u8]) -> Tally {
        let known = self.tallies.iter().find(|tally| *tally.boot == *boot);
        known.cloned().unwrap_or_else(|| Tally {
            boot: boot.into(),
            ..Tally::default()
        })
    }

    /// The numbers of the lines of a boot that entries are about.
    pub(super) fn known(&self, boot: &[u8]) -> BTreeSet<u64> {
        let own = self.entries.iter().filter(|entry| *entry.boot == *boot);
        own.flat_map(Entry::sequences).collect()
    }

    /// When each process of a boot was killed last, by the log's clock.
    pub(super) fn killed(&self, boot: &[u8]) -> BTreeMap<u32, u64> {
        let own = self.entries.iter().filter(|entry| *entry.boot == *boot);
        own.flat_map(|entry| &entry.report.victims)
            .filter_map(|victim| Some((victim.pid, victim.when.micros?)))
            .collect()
    }

    /// Appends entries and what has been heard by now, and sees to it that they are on disk.
    pub(super) fn append(&mut self, entries: Vec<Entry>, tally: Tally) -> io::Result<()> {
        if self.size > FILE_BYTES_MAX {
            self.turn()?;
        }
        let mut out = Vec::new();
        let mut chain = self.chain;
        for entry in &entries {
            chain = frame::write(kind::ENTRY, &entry.encode(), chain, &mut out);
        }
        // Behind its entries: what is cut off with them is heard again.
        chain = frame::write(kind::TALLY, &tally.encode(), chain, &mut out);
        self.put(&out, chain)?;
        self.entries.extend(entries);
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

    /// Begins a file; the tallies go with it, so that the older one can be left out.
    fn begin(&mut self) -> io::Result<()> {
        let mut out = MAGIC.to_vec();
        let mut chain = frame::write(kind::HEAD, &[VERSION], 0, &mut out);
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

/// All of a file; `None` where there is none.
fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("{}: cannot be read", path.display()))?,
    };
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_BYTES_MAX {
        bail!(
            "{}: is larger than any ledger; name another directory",
            path.display()
        );
    }
    Ok(Some(bytes))
}

/// Where reading ended.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    at: usize,
    chain: u32,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    tallies: Vec<Tally>,
}

impl Pages {
    /// Reads a file as far as it holds what was written.
    fn read(&mut self, bytes: &[u8]) -> anyhow::Result<End> {
        let mut end = End::default();
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
            return Ok(end);
        }
        if !bytes.starts_with(&MAGIC) {
            bail!("is no ledger; name another directory");
        }
        let mut at = MAGIC.len();
        let mut chain = 0;
        while let Some(found) = bytes.get(at..).and_then(|rest| frame::read(rest, chain)) {
            match found.kind {
                kind::HEAD if found.content.first().is_some_and(|version| *version > VERSION) => {
                    bail!("was written by a newer forestall; use that one");
                }
                kind::ENTRY => self.entries.extend(Entry::decode(found.content)),
                kind::TALLY => {
                    if let Some(tally) = Tally::decode(found.content) {
                        keep(&mut self.tallies, tally);
                    }
                }
                // What a newer program added.
                _ => {}
            }
            at += found.size;
            chain = found.chain;
            end = End { at, chain };
        }
        Ok(end)
    }
}

/// The last word of a boot takes the place of the one before.
fn keep(tallies: &mut Vec<Tally>, tally: Tally) {
    match tallies.iter_mut().find(|known| known.boot == tally.boot) {
        Some(known) => *known = tally,
        None => tallies.push(tally),
    }
}

#[cfg(test)]
mod tests;
