//! Identity and sequence of an idempotent producer (KIP-98).

use std::fmt;

/// An idempotent producer, given out by the cluster. Negative means "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// What a batch of a producer without idempotence carries.
    pub const NONE: Self = Self(-1);

    /// Whether this names a producer.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a producer id; a higher epoch fences the lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerEpoch(pub i16);

impl fmt::Display for ProducerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a record within one producer epoch and partition. Counts from 0
/// to `i32::MAX` and starts over at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sequence(pub i32);

impl Sequence {
    /// What a batch of a producer without idempotence carries.
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records later, `0 ≤ count`.
    #[must_use]
    pub fn plus(self, count: i32) -> Self {
        const CYCLE: i64 = 1 << 31;
        let sum = (i64::from(self.0) + i64::from(count)) % CYCLE;
        Self(i32::try_from(sum).expect("a remainder of 2^31 fits 31 bits"))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_starts_over_after_the_largest() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(5).plus(0), Sequence(5));
    }
}
