//! Bytes that neither compress nor repeat, so that no page is like another and none is all zeroes.

/// A stream of them (xorshift64*).
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()) << 32)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A block of `bytes` (rounded down to whole words) with half of each 64 bytes filled: like a program's data, it
    /// compresses to about a half, and it is cheap enough for an emulated processor.
    pub(super) fn block(&mut self, bytes: u32) -> Vec<u64> {
        let mut words = vec![0_u64; bytes as usize / 8];
        for line in words.chunks_mut(8) {
            for word in line.iter_mut().take(4) {
                *word = self.next();
            }
        }
        words
    }
}
