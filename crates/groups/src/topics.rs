//! What groups know of topics: the little that the cluster's metadata must be able to say.

use std::fmt::Debug;

use highwater_types::{TopicId, TopicName};

/// One life of a topic, and how many partitions it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicPartitions {
    /// The topic's id: another one when it was deleted and created again.
    pub topic: TopicId,
    /// Its partitions are `0..count`.
    pub count: u32,
}

/// The live topics, as the coordinator's node knows them at one time. A catalog that is behind costs members the
/// partitions that it does not know yet, until it does; it never costs offsets.
pub trait TopicCatalog: Debug {
    /// The live topic of that name.
    fn by_name(&self, name: &TopicName) -> Option<TopicPartitions>;

    /// The live topic of that id.
    fn by_id(&self, topic: TopicId) -> Option<TopicPartitions>;
}

/// What changed in the cluster's topics, for the groups that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicsChange {
    /// Names whose topic was created, deleted or given partitions.
    pub names: Vec<TopicName>,
    /// Topics that were deleted: only such as a *committed* tombstone names. That a catalog does not know a topic
    /// proves nothing, since it may be behind.
    pub deleted: Vec<TopicId>,
}
