//! Randomness as a function of a seed, for planners: the same order for the same seed,
//! everywhere.

/// Puts items in an order that the seed gives (Fisher and Yates), so that among equals not
/// always the same one comes first.
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        let bound = last as u64 + 1;
        let chosen = usize::try_from(split_mix(&mut state) % bound).expect("less than a length");
        items.swap(last, chosen);
    }
}

/// The SplitMix64 generator: it turns any seed, small ones too, into well-mixed numbers.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
