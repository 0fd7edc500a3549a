//! Who is who in a group, and the numbers that tell old from new. All are plain values;
//! texts from outside are checked once, here.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use highwater_types::Random;
use highwater_types::limits::{GROUP_NAME_BYTES_MAX, MEMBER_ID_BYTES_MAX};

use crate::error::GroupsError;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text from outside.
            ///
            /// # Errors
            /// [`GroupsError::Name`]: it is empty or too long.
            pub fn new(text: &str) -> Result<Self, GroupsError> {
                match text.len() {
                    1..=$max => Ok(Self(text.into())),
                    bytes => Err(GroupsError::Name { what: $what, bytes, max: $max }),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a group, Kafka's `group.id`. Clones share the text.
    GroupName,
    "a group's name",
    GROUP_NAME_BYTES_MAX
);
name!(
    /// One member. Whoever joins draws it, so that a join whose answer was lost can be repeated; no two
    /// processes ever use the same, nor does one that has left, or was told that it is unknown, use it again. Clones share the text.
    MemberId,
    "a member's id",
    MEMBER_ID_BYTES_MAX
);
name!(
    /// A static member's place in its group, Kafka's `group.instance.id`: it outlives the process
    /// that fills it. Clones share the text.
    InstanceId,
    "an instance's id",
    MEMBER_ID_BYTES_MAX
);

impl MemberId {
    /// An id that nobody else has: a version-4 UUID from the randomness that is passed in.
    pub fn draw(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into())
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u32);

        impl $name {
            /// What comes next.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// A state of the group that an assignment is computed for (KIP-848). The *group epoch* is the newest, the
    /// *assignment epoch* the one that targets were computed for, a *member epoch* the one that a member has
    /// reached; `member ≤ group` and `assignment ≤ group`, and none of them ever goes back.
    Epoch
);
counter!(
    /// Counts what one member was told to own. A member repeats the newest that it has heard of with each
    /// heartbeat: what it says of its partitions counts only when it has heard the latest, so that a heartbeat
    /// which comes late, or twice, gives up nothing.
    Revision
);
