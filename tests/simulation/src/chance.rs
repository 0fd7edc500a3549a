//! All that a seed decides: a generator for each purpose, so that one that is asked more often changes no other.

use highwater_types::Random;
use parking_lot::Mutex;
use std::ops::Range;

/// A seeded sequence of numbers (SplitMix64). Shared by reference.
pub(crate) struct Chance(Mutex<u64>);

impl Chance {
    /// The sequence for one purpose of a seed.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let state = purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix);
        Self(Mutex::new(state))
    }

    /// Less than `bound`, which is at least 1.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// In a range that is not empty.
    pub(crate) fn within(&self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or(0)]
    }
}

impl Random for Chance {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let mut state = self.0.lock();
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}
