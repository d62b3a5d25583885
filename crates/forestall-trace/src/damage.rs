//! Where reading goes on behind damage.
//!
//! A key does not say whose recording it is: that stands in the head of its segment. So a key is trusted only where no head can have
//! been lost before it. That shows where a single bit of a frame is put right, or where a frame of the kinds that stand between a head
//! and the next key has lost nothing but its content or its CRC: its length leads to a mark, or to a frame that is chained to it.
//! Anywhere else reading goes on at a head.

use crate::error::Error;
use crate::frame::{self, MARK, kind};
use crate::header::{Head, MAGIC, Version};

/// A kind and the longest length take so many bytes.
const FIRST: usize = 5;

/// The next key or head behind `offset`, where a frame should begin and nothing stands that can be used; `None` where there is none,
/// and where it would take checking more than `left` in vain.
pub(crate) fn find_sound(bytes: &[u8], offset: usize, chain: u32, left: &mut u64) -> Option<usize> {
    let broken = bytes.get(offset..)?;
    *left = left.checked_sub(cost(broken))?;
    let rest = follow(broken, chain, left);
    if rest.len() < broken.len() && frame::is_key(rest) {
        return Some(bytes.len() - rest.len());
    }
    let behind = usize::from(rest.len() == broken.len());
    find_head(rest.get(behind..)?, left).map(|head| bytes.len() - head.len())
}

/// Passes over frames to a mark behind the first or to a head, as far as each one shows that it holds no head.
fn follow<'a>(broken: &'a [u8], mut chain: u32, left: &mut u64) -> &'a [u8] {
    let mut rest = broken;
    while !rest.starts_with(&MAGIC) && (rest.len() == broken.len() || !frame::is_key(rest)) {
        let marked = behind_mark(rest);
        let (bytes, before) = marked.map_or((rest, chain), |key| (key, 0));
        let behind = match frame::read(bytes, before) {
            Some(sound) => bytes.get(sound.size..).map(|behind| (behind, sound.chain)),
            None => {
                put_right(bytes, before, left).or_else(|| pass_broken(bytes, before, marked.is_some(), left))
            }
        };
        let Some(behind) = behind else { break };
        (rest, chain) = behind;
    }
    rest
}

/// What stands behind a mark, of which a bit may be flipped: the frame before it was whole, and no head has room in its place.
fn behind_mark(bytes: &[u8]) -> Option<&[u8]> {
    let (first, behind) = bytes.split_first_chunk()?;
    let flipped = u64::from_le_bytes(*first) ^ u64::from_le_bytes(MARK);
    (flipped.count_ones() <= 1).then_some(behind)
}

/// What stands behind a frame of which a bit among the first ones is flipped, its kind's and its length's among them, and where the
/// next CRC begins: with that bit put right its CRC is the one that was written.
fn put_right<'a>(bytes: &'a [u8], chain: u32, left: &mut u64) -> Option<(&'a [u8], u32)> {
    let (first, more) = bytes.split_first_chunk::<FIRST>()?;
    for bit in 0..FIRST * 8 {
        let mut first = *first;
        if let Some(byte) = first.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        let Some(checked) = frame::checked(&first) else {
            continue;
        };
        let Some((kept, behind)) = bytes.get(checked..).and_then(|kept| kept.split_first_chunk()) else {
            continue;
        };
        let own = first.get(..checked).unwrap_or(&first);
        let content = more.get(..checked.saturating_sub(FIRST))?;
        *left = left.checked_sub(content.len() as u64)?;
        let crc = frame::checksum(frame::checksum(chain, own), content);
        if *kept == crc.to_le_bytes() {
            return Some((behind, crc));
        }
    }
    None
}

/// What stands behind a frame that does not hold what was written, and where the next CRC begins; `None` unless it shows.
fn pass_broken<'a>(bytes: &'a [u8], chain: u32, marked: bool, left: &mut u64) -> Option<(&'a [u8], u32)> {
    let claim = frame::claim(bytes)?;
    let between = matches!(
        claim.kind,
        kind::SAMPLE..=kind::KUBELET | kind::LOST | kind::NAMES
    );
    let fits = if marked { claim.kind == kind::KEY } else { between };
    let (held, kept) = bytes.split_at_checked(claim.checked)?;
    let behind = kept.get(4..)?;
    *left = left.checked_sub(cost(bytes) + cost(behind))?;
    // One whose length is changed may reach over a head.
    if !fits || held.windows(MAGIC.len()).any(|part| part == MAGIC) {
        return None;
    }
    if frame::is_key(behind) {
        return Some((behind, 0));
    }
    // Its content is changed, or its CRC.
    [claim.kept, frame::checksum(chain, held)]
        .into_iter()
        .find(|chain| frame::read(behind, *chain).is_some())
        .map(|chain| (behind, chain))
}

/// From the next head on that is whole, or that says that only a newer program reads what follows.
fn find_head<'a>(mut bytes: &'a [u8], left: &mut u64) -> Option<&'a [u8]> {
    loop {
        let from = bytes.windows(MAGIC.len()).position(|part| part == MAGIC)?;
        bytes = bytes.get(from..)?;
        if Head::read(bytes).is_ok() || newer(bytes).is_some() {
            return Some(bytes);
        }
        *left = left.checked_sub(cost(bytes))?;
        bytes = bytes.get(1..)?;
    }
}

/// The version of the segment at the beginning of `bytes` that only a newer program reads.
pub(crate) fn newer(bytes: &[u8]) -> Option<Version> {
    match Head::read(bytes) {
        Err(Error::Newer { major, minor }) => Some(Version { major, minor }),
        _ => None,
    }
}

/// What it costs to find out that no sound frame stands at the beginning of `bytes`: as much as it claims to have.
fn cost(bytes: &[u8]) -> u64 {
    let head = bytes.strip_prefix(&MAGIC).and_then(|rest| rest.get(2..));
    let frame = head.or_else(|| bytes.strip_prefix(&MARK)).unwrap_or(bytes);
    frame::claim(frame).map_or(0, |claim| claim.checked as u64)
}
