//! Frames: a kind, a length, the content, and a CRC-32 over all of it that begins where the one before ended. So a frame
//! that was changed, and one that is missing, both show.

use crate::varint::{Cursor, put};

/// Stands before every key frame, so that a reader can find the next one after damage.
pub(crate) const MARK: [u8; 8] = *b"\xc7FKEY\r\n\x00";

/// A frame has at most this much content.
pub(crate) const CONTENT_BYTES_MAX: usize = 16 << 20;

/// The kinds of frames. From 0x80 on a frame is no input, and a reader that does not know it may pass it over.
pub(crate) mod kind {
    pub(crate) const HEAD: u8 = 0x01;
    pub(crate) const KEY: u8 = 0x02;
    pub(crate) const SAMPLE: u8 = 0x10;
    pub(crate) const OUTCOME: u8 = 0x11;
    pub(crate) const POLICY: u8 = 0x12;
    pub(crate) const PODS: u8 = 0x13;
    pub(crate) const PODS_AGAIN: u8 = 0x14;
    pub(crate) const KUBELET: u8 = 0x15;
    pub(crate) const LOST: u8 = 0x1f;
    pub(crate) const NAMES: u8 = 0x80;
    pub(crate) const END: u8 = 0x81;
}

/// A frame as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Of what kind it is.
    pub kind: u8,
    /// What it holds.
    pub content: &'a [u8],
    /// Where the CRC of the next frame begins.
    pub chain: u32,
    /// Bytes it takes.
    pub size: usize,
}

/// Appends a frame; returns where the next one's CRC begins.
pub fn write(kind: u8, content: &[u8], chain: u32, out: &mut Vec<u8>) -> u32 {
    let from = out.len();
    out.push(kind);
    put(out, content.len() as u64);
    out.extend_from_slice(content);
    let crc = checksum(chain, out.get(from..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
    crc
}

/// Reads the frame at the beginning of `bytes`; `None` where there is none that holds what was written.
pub fn read(bytes: &[u8], chain: u32) -> Option<Frame<'_>> {
    let Claim { kind, checked, kept } = claim(bytes)?;
    let held = bytes.get(..checked)?;
    let chain = checksum(chain, held);
    let mut cursor = Cursor::new(held.get(1..)?);
    cursor.count()?;
    (kept == chain).then_some(Frame {
        kind,
        content: cursor.rest(),
        chain,
        size: checked + 4,
    })
}

/// Whether the frame at the beginning of `bytes` ends behind them, as one does whose writing was cut short.
pub fn is_cut(bytes: &[u8]) -> bool {
    claim(bytes).is_none()
}

/// What a frame says of itself, whether or not it holds what was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) kind: u8,
    /// Bytes before the CRC, all of which have to be looked at to see that they are not what was written.
    pub(crate) checked: usize,
    /// The CRC that stands behind them.
    pub(crate) kept: u32,
}

/// What the frame at the beginning of `bytes` says of itself; `None` where it ends behind them.
pub(crate) fn claim(bytes: &[u8]) -> Option<Claim> {
    let checked = checked(bytes)?;
    let kept = bytes.get(checked..)?.first_chunk()?;
    Some(Claim {
        kind: *bytes.first()?,
        checked,
        kept: u32::from_le_bytes(*kept),
    })
}

/// How many bytes stand before the CRC of a frame that begins so.
pub(crate) fn checked(start: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(start);
    cursor.byte()?;
    let content = cursor.count().filter(|count| *count <= CONTENT_BYTES_MAX)?;
    Some(start.len() - cursor.rest().len() + content)
}

/// The CRC-32 of `bytes`, of which it was `chain` before them.
pub(crate) fn checksum(chain: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    hasher.update(bytes);
    hasher.finalize()
}

/// A key frame stands here, whole.
pub(crate) fn is_key(bytes: &[u8]) -> bool {
    bytes
        .strip_prefix(&MARK)
        .and_then(|rest| read(rest, 0))
        .is_some_and(|frame| frame.kind == kind::KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_has() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(checksum(0, b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_missing_frame_shows_although_each_one_is_whole() {
        let mut out = Vec::new();
        let chain = write(kind::LOST, b"one", 0, &mut out);
        let second = out.len();
        let chain = write(kind::LOST, b"two", chain, &mut out);
        let third = out.len();
        write(kind::LOST, b"three", chain, &mut out);
        let first = read(&out, 0).expect("the first is whole");
        assert_eq!((first.content, first.size), (&b"one"[..], second));
        assert!(read(&out[second..], first.chain).is_some());
        assert!(read(&out[third..], first.chain).is_none());
    }
}
