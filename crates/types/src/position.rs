//! Coordinates in a log. A client's offset, a Raft index and a place in a file
//! are different things and never mix: each is a type of its own.

use std::fmt;

macro_rules! coordinate {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The first coordinate.
            pub const ZERO: Self = Self(0);

            /// The coordinate right after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

coordinate!(
    /// The place of a record within its partition, as clients count: dense, from 0.
    Offset,
    i64
);
coordinate!(
    /// The place of an entry within a Raft group's log. The first entry has index 0.
    RaftIndex,
    u64
);
coordinate!(
    /// A Raft term. In a batch it is the partition leader epoch.
    Term,
    u64
);
coordinate!(
    /// A byte position within one file, from 0.
    FilePosition,
    u64
);
coordinate!(
    /// The leader epoch as a batch's header carries it: the Raft term in 32 bits.
    LeaderEpoch,
    i32
);

impl Offset {
    /// The offset `count` records after this one.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl From<Term> for LeaderEpoch {
    /// A term beyond 31 bits would take decades of elections every millisecond;
    /// it is a broken invariant, not an input.
    fn from(term: Term) -> Self {
        Self(i32::try_from(term.0).expect("a Raft term fits the 32-bit leader epoch"))
    }
}
