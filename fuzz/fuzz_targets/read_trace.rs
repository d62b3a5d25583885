//! Any bytes as a trace: opening and reading them ends, and never panics. Behind the head of a sound trace, so that the
//! fuzzer need not find a checksum by chance, frames are also made of what it gives.

#![no_main]

use forestall_decide::{Moment, Policy};
use forestall_trace::{Encoder, Origin, Reader};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let Ok(mut reader) = Reader::open(bytes) else { return };
    let mut before = reader.offset();
    while reader.advance() {
        // Every step takes something, so that no trace keeps a reader busy for ever.
        assert!(reader.offset() > before);
        before = reader.offset();
        std::hint::black_box(reader.item());
    }
}

/// A frame with the checksum that belongs to it: kind, length, content, CRC-32 chained to the one before.
fn frame(kind: u8, content: &[u8], chain: u32, out: &mut Vec<u8>) -> u32 {
    let from = out.len();
    out.push(kind);
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    hasher.update(&out[from..]);
    let crc = hasher.finalize();
    out.extend_from_slice(&crc.to_le_bytes());
    crc
}

fuzz_target!(|content: &[u8]| {
    read(content);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(Origin::default(), Policy::default());
    encoder.open_segment(Moment(0), 0, &mut bytes);
    let chain = bytes.last_chunk().copied().map_or(0, u32::from_le_bytes);
    let mut chain = chain;
    let mut rest = content;
    while let Some((&[kind, length], after)) = rest.split_first_chunk() {
        let (part, after) = after.split_at(after.len().min(usize::from(length)));
        chain = frame(kind, part, chain, &mut bytes);
        rest = after;
    }
    read(&bytes);
});
