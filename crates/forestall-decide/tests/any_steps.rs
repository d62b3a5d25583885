//! Stories of any bytes, as the fuzzer tells them: no answer of the engine breaks a rule.

mod steps;

/// So many stories of so many bytes.
const STORIES: u64 = 300;
const BYTES: usize = 1_500;

#[test]
fn stories_of_any_bytes_are_borne_and_nothing_is_done_for_what_is_ignored() {
    for story in 0..STORIES {
        // splitmix64, so that a seed means the same for ever.
        let mut state = story;
        let bytes: Vec<u8> = (0..BYTES)
            .map(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed >> 56) as u8
            })
            .collect();
        steps::tell(&bytes);
    }
}
