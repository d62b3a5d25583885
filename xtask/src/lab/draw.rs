//! The lab's dice: a run is drawn from its seed and its scenario's name, and the same seed draws the same run.

/// A small generator (splitmix64). Its numbers need to differ, not to be secret.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for a scenario: scenarios under one seed do not draw the same numbers.
    pub(crate) fn new(seed: u64, scenario: &str) -> Self {
        // FNV-1a, for its being short.
        let name = scenario.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low + u32::try_from(self.next() % span).unwrap_or(0)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// A container's id: 64 hex digits.
    pub(crate) fn container_id(&mut self) -> String {
        let quarters = [(); 4].map(|()| self.next());
        quarters.map(|quarter| format!("{quarter:016x}")).concat()
    }

    /// A pod's UID, in the form of a random UUID.
    pub(crate) fn pod_uid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_name_does_not() {
        let draw = |seed, name| {
            let mut dice = Dice::new(seed, name);
            [(); 8].map(|()| dice.next())
        };
        assert_eq!(draw(1, "leak"), draw(1, "leak"));
        assert_ne!(draw(1, "leak"), draw(2, "leak"));
        assert_ne!(draw(1, "leak"), draw(1, "burst"));
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut dice = Dice::new(7, "x");
        let drawn: Vec<u32> = (0..200).map(|_| dice.between(3, 5)).collect();
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
        assert!([3, 4, 5].iter().all(|number| drawn.contains(number)));
    }

    #[test]
    fn ids_have_the_shapes_that_a_node_has() {
        let mut dice = Dice::new(7, "x");
        assert_eq!(dice.container_id().len(), 64);
        let uid = dice.pod_uid();
        assert_eq!(uid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
