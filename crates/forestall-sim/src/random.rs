//! Random numbers that stay the same for ever: a seed in a bug report must give the same run in ten years.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), written out here because a
//! library may change its stream with its version. It refuses to be used for anything but simulations.

/// A stream of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for part `index` of something, so that the order in which parts are visited changes nothing.
    pub fn split(seed: u64, index: u64) -> Self {
        let mut mixed = Self(seed);
        let salt = mixed.draw();
        let mut own = Self(salt ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        own.draw();
        own
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0. By multiplication, so that no bound is much more likely to be biased than
    /// another.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = (u128::from(self.draw()) * u128::from(bound)) >> 64;
        u64::try_from(wide).unwrap_or(0)
    }

    /// `value` give or take `permille` of it, evenly.
    pub fn around(&mut self, value: u64, permille: u64) -> u64 {
        let spread = forestall_decide::Bytes(value).permille(permille.min(1000)).0;
        let drawn = self.below(spread.saturating_mul(2).saturating_add(1));
        value.saturating_sub(spread).saturating_add(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // The first outputs for seed 1234567, as in the reference implementation's own test vectors.
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.draw(), random.draw(), random.draw()],
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_both_ends() {
        let mut random = Random::new(7);
        let drawn: Vec<u64> = (0..1000).map(|_| random.below(10)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&0), Some(&9)));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn around_keeps_to_its_share() {
        let mut random = Random::new(3);
        for _ in 0..1000 {
            assert!((900..=1100).contains(&random.around(1000, 100)));
        }
        assert_eq!(random.around(500, 0), 500);
    }

    #[test]
    fn parts_have_streams_of_their_own() {
        assert_ne!(Random::split(1, 0).draw(), Random::split(1, 1).draw());
        assert_eq!(Random::split(1, 5), Random::split(1, 5));
    }
}
