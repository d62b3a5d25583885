//! One page of the ring buffer: records one after the other, each with the time since the one before it.
//!
//! Every record begins with a word of 5 bits of kind or length and 27 bits of time (`events/header_event`; `struct ring_buffer_event`
//! in `include/linux/ring_buffer.h`). A page that ends in the middle of one, or says that it is longer than it is, gives what came
//! before, and is counted as torn. It refuses to know what a record says.

use super::format::PageFormat;

/// Kinds of word that begin no record.
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;

/// Bits of the time in a record's first word.
const TIME_BITS: u32 = 27;

/// In a page's length: records were lost before it, and how many stands behind the last record (`RB_MISSED_EVENTS` and
/// `RB_MISSED_STORED` in `ring_buffer.c`).
const MISSED: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;
const LENGTH_MASK: u64 = (1 << TIME_BITS) - 1;

/// A record as it lies in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// When, nanoseconds of the instance's clock.
    pub(super) at_nanos: u64,
    /// What, in the layout of its event.
    pub(super) record: &'a [u8],
}

/// A page, as an iterator over its records.
#[derive(Clone, Debug)]
pub(super) struct Page<'a> {
    rest: &'a [u8],
    at_nanos: u64,
    lost: u64,
    is_torn: bool,
}

impl<'a> Page<'a> {
    /// Looks at a page's beginning; `None` where it is too short to have one.
    pub(super) fn parse(format: &PageFormat, bytes: &'a [u8]) -> Option<Self> {
        let at_nanos = format.timestamp.unsigned(bytes)?;
        let commit = format.commit.unsigned(bytes)?;
        let data = bytes.get(format.data.offset..)?;
        let length = usize::try_from(commit & LENGTH_MASK).ok()?;
        // As wide as `unsigned long`, which `commit` is made of.
        let stored = length.checked_add(format.commit.size);
        let told = stored
            .and_then(|end| data.get(length..end))
            .and_then(|bytes| match bytes.len() {
                4 => Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?))),
                _ => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
            });
        let lost = match (commit & MISSED != 0, commit & MISSED_STORED != 0) {
            (false, _) => 0,
            (true, true) => told.unwrap_or(1),
            // There was no room to say how many.
            (true, false) => 1,
        };
        Some(Self {
            rest: data.get(..length).unwrap_or(data),
            at_nanos,
            lost,
            is_torn: length > data.len(),
        })
    }

    /// Records that were overwritten before this page, at least.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// It held something that is no record. Known once it has been read to its end.
    pub(super) const fn is_torn(&self) -> bool {
        self.is_torn
    }

    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_ne_bytes(*word))
    }

    /// The next record, `None` at the end, or an `Err` where the page is torn.
    fn advance(&mut self) -> Result<Option<Item<'a>>, ()> {
        while !self.rest.is_empty() {
            let (kind, time) = split(self.word().ok_or(())?);
            match kind {
                // Nothing but padding follows.
                PADDING if time == 0 => return Ok(None),
                PADDING => {
                    let length = self.word().ok_or(())?;
                    // It counts itself.
                    self.take(length.checked_sub(4).ok_or(())?)?;
                    self.pass(time);
                }
                TIME_EXTEND => {
                    let high = u64::from(self.word().ok_or(())?);
                    self.pass((high << TIME_BITS) | time);
                }
                TIME_STAMP => {
                    let high = u64::from(self.word().ok_or(())?);
                    // A time of its own has 59 bits; the rest is that of the time before.
                    let low = (high << TIME_BITS) | time;
                    self.at_nanos = (self.at_nanos & !((1 << 59) - 1)) | low;
                }
                0 => {
                    let length = self.word().ok_or(())?;
                    let record = self.take(length.checked_sub(4).ok_or(())?)?;
                    return Ok(Some(self.item(time, record)));
                }
                words => {
                    let record = self.take(words * 4)?;
                    return Ok(Some(self.item(time, record)));
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], ()> {
        let length = usize::try_from(length).map_err(|_| ())?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(())?;
        self.rest = rest;
        Ok(taken)
    }

    fn pass(&mut self, nanos: u64) {
        self.at_nanos = self.at_nanos.wrapping_add(nanos);
    }

    fn item(&mut self, time: u64, record: &'a [u8]) -> Item<'a> {
        self.pass(time);
        Item {
            at_nanos: self.at_nanos,
            record,
        }
    }
}

/// Kind and time of a first word. They are bit fields, which lie the other way round where the processor does.
fn split(word: u32) -> (u32, u64) {
    if cfg!(target_endian = "big") {
        (word >> TIME_BITS, u64::from(word & ((1 << TIME_BITS) - 1)))
    } else {
        (word & 0x1f, u64::from(word >> 5))
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.advance().unwrap_or_else(|()| {
            self.is_torn = true;
            self.rest = &[];
            None
        })
    }
}
