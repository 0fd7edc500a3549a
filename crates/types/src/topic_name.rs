//! The name of a topic: a short string that is also safe as part of a file name.
//!
//! The rules are Kafka's: 1 to [`TOPIC_NAME_BYTES_MAX`] bytes of `[a-zA-Z0-9._-]`,
//! and neither `.` nor `..`. Whether a name is *free* is not known here: the
//! cluster's metadata decides that, with [`TopicName::collision_key`].

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::TOPIC_NAME_BYTES_MAX;

/// How the names of the cluster's own topics start.
const INTERNAL_PREFIX: &str = "__";

/// The topic of the cluster's own whose partitions are the shards of its consumer groups.
pub const GROUPS_TOPIC: &str = "__groups";

/// A topic name that obeys the rules. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// Why a text is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// The name is empty.
    #[error("a topic name must not be empty")]
    Empty,
    /// The name means a directory to every file system.
    #[error("a topic cannot be named '{name}'")]
    DotName {
        /// The name as given: `.` or `..`.
        name: String,
    },
    /// The name is too long to fit a file name with suffixes.
    #[error("a topic name has at most {max} bytes; this one has {length}")]
    TooLong {
        /// Bytes in the name as given.
        length: usize,
        /// Most bytes a name may have, inclusive.
        max: usize,
    },
    /// The name holds a character that is not allowed.
    #[error(
        "{character:?} at byte {position} cannot be part of a topic name: \
         only ASCII letters, digits, '.', '_' and '-' can"
    )]
    BadCharacter {
        /// The first such character.
        character: char,
        /// Its position in the name, in bytes from 0.
        position: usize,
    },
}

impl TopicName {
    /// Checks a name against the rules.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name.len() > TOPIC_NAME_BYTES_MAX {
            return Err(TopicNameError::TooLong { length: name.len(), max: TOPIC_NAME_BYTES_MAX });
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::DotName { name: name.to_owned() });
        }
        match name.char_indices().find(|(_, character)| !is_allowed(*character)) {
            Some((position, character)) => Err(TopicNameError::BadCharacter { character, position }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is one of the cluster's own topics: clients may not create those.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(INTERNAL_PREFIX)
    }

    /// What two names share when a cluster can hold only one of them. Metric systems
    /// turn `.` into `_`, so names that differ in nothing else would become one there.
    pub fn collision_key(&self) -> Cow<'_, str> {
        collision_key(&self.0)
    }
}

/// As [`TopicName::collision_key`], for a text that is perhaps not a valid name.
pub fn collision_key(name: &str) -> Cow<'_, str> {
    if name.contains('.') { Cow::Owned(name.replace('.', "_")) } else { Cow::Borrowed(name) }
}

/// Whether a character may stand in a topic name.
fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for TopicName {
    type Error = TopicNameError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_takes_are_taken() {
        let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
        for name in ["a", "...", "orders.v1", "A-Z_0-9", "-", "__consumer_offsets", &longest] {
            assert_eq!(TopicName::new(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        let too_long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::DotName { name: "..".into() }));
        assert_eq!(
            TopicName::new(&too_long),
            Err(TopicNameError::TooLong { length: 250, max: TOPIC_NAME_BYTES_MAX })
        );
        for (name, character, position) in
            [("a b", ' ', 1), ("a/b", '/', 1), ("ab\0", '\0', 2), ("zoë", 'ë', 2)]
        {
            assert_eq!(TopicName::new(name), Err(TopicNameError::BadCharacter { character, position }));
        }
    }

    #[test]
    fn dots_and_underscores_collide_and_dashes_do_not() {
        let key = |name: &str| TopicName::new(name).expect(name).collision_key().into_owned();
        assert_eq!(key("a.b_c"), key("a_b.c"));
        assert_ne!(key("a.b"), key("a-b"));
    }

    #[test]
    fn two_underscores_in_front_mark_an_internal_topic() {
        assert!(TopicName::new("__groups").expect("valid").is_internal());
        assert!(!TopicName::new("_groups").expect("valid").is_internal());
    }
}
