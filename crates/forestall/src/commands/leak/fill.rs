//! What is written into memory. Constant content can be merged (KSM) or compressed away (zswap, zram), and then a leak is
//! none; so content is chosen, and repeatable by its seed.

use clap::ValueEnum;

/// Kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fill {
    /// Zeros: every page equal, compresses to nothing
    Zero,
    /// A number of its own in each page: nothing to merge, compresses well
    Pattern,
    /// Pseudo-random: neither merges nor compresses
    Random,
}

impl Fill {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Pattern => "pattern",
            Self::Random => "random",
        }
    }
}

/// An endless supply of content.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    fill: Fill,
    state: u64,
}

impl Content {
    /// The content that `seed` stands for.
    pub(crate) const fn new(fill: Fill, seed: u64) -> Self {
        Self { fill, state: seed }
    }

    /// Overwrites `chunk` with what follows.
    pub(crate) fn write(&mut self, chunk: &mut [u8]) {
        match self.fill {
            Fill::Zero => chunk.fill(0),
            Fill::Pattern => {
                // The smallest page there is; a larger one holds several numbers.
                for page in chunk.chunks_mut(4096) {
                    page.fill(0x5a);
                    let number = self.next().to_le_bytes();
                    for (byte, value) in page.iter_mut().zip(number) {
                        *byte = value;
                    }
                }
            }
            Fill::Random => {
                for word in chunk.chunks_mut(8) {
                    let number = self.next().to_le_bytes();
                    for (byte, value) in word.iter_mut().zip(number) {
                        *byte = value;
                    }
                }
            }
        }
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014): small, fast, and fixed for ever, so that a seed means the same in every
    /// version.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: Fill, seed: u64, length: usize) -> Vec<u8> {
        let mut chunk = vec![1; length];
        Content::new(fill, seed).write(&mut chunk);
        chunk
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The published first outputs for the seed 1234567.
        let mut content = Content::new(Fill::Random, 1_234_567);
        assert_eq!(content.next(), 6_457_827_717_110_365_317);
        assert_eq!(content.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn pages_differ_unless_zeros_were_asked_for() {
        let pattern = written(Fill::Pattern, 1, 8192);
        assert_ne!(pattern[..4096], pattern[4096..]);
        let zeros = written(Fill::Zero, 1, 8192);
        assert!(zeros.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        assert_eq!(written(Fill::Random, 7, 1001), written(Fill::Random, 7, 1001));
        assert_ne!(written(Fill::Random, 7, 64), written(Fill::Random, 8, 64));
    }
}
