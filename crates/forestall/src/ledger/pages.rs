//! What the ledger's files hold, read frame by frame: whoever only reads needs no lock, writes nothing and cuts nothing.
//!
//! It refuses to hold a file in memory: what is read is handed on, and whoever wants to keep it does.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail};
use forestall_trace::frame;

use super::entry::{Entry, Signal, Tally};
use super::intake::Intake;
use super::recent::{Known, Recent};
use super::totals::Totals;

/// How each file begins; what follows are frames.
pub(super) const MAGIC: [u8; 8] = *b"\xc7FLEDG\r\n";

/// The version of what is written, the content of the first frame. A newer one is left alone.
pub(super) const VERSION: u8 = 1;

pub(super) const NEWER: &str = "kills.ledger";
pub(super) const OLDER: &str = "kills.1.ledger";

/// What is read at a time.
const BLOCK_BYTES: usize = 32 << 10;

/// No frame of a ledger is larger: a report of as many victims as one has.
const FRAME_BYTES_MAX: usize = 4 << 20;

pub(super) mod kind {
    pub(crate) const HEAD: u8 = 0x01;
    pub(crate) const ENTRY: u8 = 0x20;
    pub(crate) const TALLY: u8 = 0x21;
    pub(crate) const TOTALS: u8 = 0x22;
    pub(crate) const SIGNAL: u8 = 0x23;
}

/// What a frame says.
#[derive(Debug)]
pub(super) enum Word {
    /// A kill.
    Entry(Box<Entry>),
    /// What was heard of a boot by now.
    Tally(Tally),
    /// All kills that were kept before this file was begun.
    Totals(Totals),
    /// Somebody was sent SIGKILL by somebody.
    Signal(Box<Signal>),
}

/// Where reading ended, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// So many bytes are sound.
    pub(super) at: u64,
    /// Where the CRC of the next frame begins.
    pub(super) chain: u32,
    /// So many follow that are not.
    pub(super) rest: u64,
    /// Those were being written when something failed, or are being written now.
    pub(super) is_torn: bool,
}

/// Everything that a ledger holds.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    recent: Recent,
    /// The oldest first.
    pub(crate) entries: Vec<Entry>,
    /// The last of each boot, in the order in which the boots came.
    pub(crate) tallies: Vec<Tally>,
    /// What was found to be damaged, in words.
    pub(crate) notes: Vec<String>,
}

impl Pages {
    /// Reads a ledger that may be written to meanwhile. What is just being written is left out.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut pages = Self::default();
        for name in [OLDER, NEWER] {
            let Pages {
                entries,
                tallies,
                recent,
                ..
            } = &mut pages;
            let end = read_file(&directory.join(name), End::default(), &mut |word| match word {
                Word::Entry(entry) => {
                    recent.remember(&entry);
                    entries.push(*entry);
                }
                Word::Tally(tally) => {
                    recent.forget(&tally);
                    keep(tallies, tally);
                }
                Word::Totals(_) | Word::Signal(_) => {}
            })?;
            if end.rest > 0 && !end.is_torn {
                pages
                    .notes
                    .push(format!("{} bytes of {name} cannot be read", end.rest));
            }
        }
        Ok(pages)
    }

    /// Whoever hears what is new of a boot.
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

    /// Adds what has just been heard.
    pub(super) fn add(&mut self, entries: Vec<Entry>, tally: Tally) {
        self.entries.extend(entries);
        keep(&mut self.tallies, tally);
    }
}

/// What was heard of a boot so far.
pub(super) fn tally_of(tallies: &[Tally], boot: &[u8]) -> Tally {
    let known = tallies.iter().find(|tally| *tally.boot == *boot);
    known.cloned().unwrap_or_else(|| Tally {
        boot: boot.into(),
        ..Tally::default()
    })
}

/// Whether there is a ledger.
pub(crate) fn is_there(directory: &Path) -> bool {
    directory.join(NEWER).is_file()
}

/// The last word of a boot takes the place of the one before.
pub(super) fn keep(tallies: &mut Vec<Tally>, tally: Tally) {
    match tallies.iter_mut().find(|known| known.boot == tally.boot) {
        Some(known) => *known = tally,
        None => tallies.push(tally),
    }
}

/// Reads a file, from where reading ended before, as far as it holds what was written; one that is not there is empty.
pub(super) fn read_file(path: &Path, from: End, hear: &mut dyn FnMut(Word)) -> anyhow::Result<End> {
    let shown = || path.display().to_string();
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(End::default()),
        file => file.with_context(|| format!("{}: cannot be read", shown()))?,
    };
    file.seek(SeekFrom::Start(from.at))?;
    read(file, from, hear).with_context(shown)
}

fn read(mut file: impl Read, from: End, hear: &mut dyn FnMut(Word)) -> anyhow::Result<End> {
    let mut end = from;
    let mut held = Vec::new();
    let mut used = 0;
    let mut is_over = false;
    loop {
        let rest = held.get(used..).unwrap_or_default();
        if end.at == 0 && rest.starts_with(&MAGIC) {
            (used, end.at) = (MAGIC.len(), MAGIC.len() as u64);
            continue;
        }
        if end.at == 0 && !MAGIC.starts_with(rest.get(..MAGIC.len()).unwrap_or(rest)) {
            bail!("is no ledger; name another directory");
        }
        if let Some(found) = frame::read(rest, end.chain).filter(|_| end.at > 0) {
            hear_frame(found.kind, found.content, hear)?;
            used += found.size;
            end.at += found.size as u64;
            end.chain = found.chain;
            continue;
        }
        let may_go_on = !is_over && frame::is_cut(rest) && rest.len() < FRAME_BYTES_MAX;
        if !may_go_on {
            break;
        }
        held.drain(..used);
        used = 0;
        let before = held.len();
        held.resize(before + BLOCK_BYTES, 0);
        let count = file.read(held.get_mut(before..).unwrap_or_default())?;
        held.truncate(before + count);
        is_over = count == 0;
    }
    let rest = held.get(used..).unwrap_or_default();
    // Zeros are what a file system leaves of a write that it had made room for.
    end.is_torn = is_over && (frame::is_cut(rest) || rest.iter().all(|byte| *byte == 0));
    end.rest = rest.len() as u64;
    if !is_over {
        let mut is_zero = rest.iter().all(|byte| *byte == 0);
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let count = file.read(&mut block)?;
            if count == 0 {
                break;
            }
            is_zero &= block.iter().take(count).all(|byte| *byte == 0);
            end.rest += count as u64;
        }
        end.is_torn = is_zero;
    }
    Ok(end)
}

fn hear_frame(kind: u8, content: &[u8], hear: &mut dyn FnMut(Word)) -> anyhow::Result<()> {
    match kind {
        kind::HEAD if content.first().is_some_and(|version| *version > VERSION) => {
            bail!("was written by a newer forestall; use that one");
        }
        kind::ENTRY => {
            if let Some(entry) = Entry::decode(content) {
                hear(Word::Entry(Box::new(entry)));
            }
        }
        kind::TALLY => {
            if let Some(tally) = Tally::decode(content) {
                hear(Word::Tally(tally));
            }
        }
        kind::TOTALS => {
            if let Some(totals) = Totals::decode(content) {
                hear(Word::Totals(totals));
            }
        }
        kind::SIGNAL => {
            if let Some(signal) = Signal::decode(content) {
                hear(Word::Signal(Box::new(signal)));
            }
        }
        // What a newer program added.
        _ => {}
    }
    Ok(())
}
