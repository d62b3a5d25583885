//! Which page replacement runs: `/sys/kernel/mm/lru_gen/enabled`.

use super::number::hexadecimal;

/// Whether the multi-gen LRU is on; `None` where the content is no number. The file shows a bit mask such as `0x0007`,
/// of which bit 0 is the main switch and the others are refinements (`Documentation/admin-guide/mm/multigen_lru.rst`).
pub fn lru_gen_enabled(content: &[u8]) -> Option<bool> {
    hexadecimal(content).map(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_switch_is_bit_zero() {
        assert_eq!(lru_gen_enabled(b"0x0007\n"), Some(true));
        assert_eq!(lru_gen_enabled(b"0x0001\n"), Some(true));
        assert_eq!(lru_gen_enabled(b"0x0000\n"), Some(false));
        // The refinements may stay set while the main switch is off.
        assert_eq!(lru_gen_enabled(b"0x0006\n"), Some(false));
        assert_eq!(lru_gen_enabled(b"y\n"), None);
    }
}
