//! What a shard asks of the cluster's metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use highwater_groups::{GroupsState, TopicCatalog, TopicPartitions, TopicsChange};
use highwater_types::{TopicId, TopicName};
use tokio::sync::watch;

use crate::error::CoordinatorError;

/// The topics, as this node knows them at one time.
pub type Catalog = Arc<dyn TopicCatalog + Send + Sync>;

/// The cluster's topics as this node learns of them.
#[async_trait]
pub trait Topics: Send + Sync + 'static {
    /// The topics now.
    fn catalog(&self) -> Catalog;

    /// Changes when the topics may have. Its value means nothing.
    fn changes(&self) -> watch::Receiver<u64>;

    /// On return what this node knows is as new as the cluster's metadata were at the call. Cancel-safe.
    ///
    /// # Errors
    /// [`CoordinatorError::OutcomeUnknown`]: nobody says how new they are; trying again is right.
    async fn refresh(&self) -> Result<(), CoordinatorError>;
}

/// A catalog that may be older than the groups, with what the groups' last coordinator knew of their topics. So a new coordinator whose node
/// is behind takes nothing from members that they had.
#[derive(Debug)]
pub(crate) struct NoOlder {
    known: BTreeMap<TopicName, TopicPartitions>,
    catalog: Catalog,
}

impl NoOlder {
    /// Than the groups.
    pub(crate) fn than(state: &GroupsState, catalog: Catalog) -> Self {
        let known = state.groups().flat_map(|(_, group)| group.head().topics.iter().cloned()).collect();
        Self { known, catalog }
    }
}

impl TopicCatalog for NoOlder {
    fn by_name(&self, name: &TopicName) -> Option<TopicPartitions> {
        let (known, found) = (self.known.get(name).copied(), self.catalog.by_name(name));
        let has_grown = |known: &TopicPartitions| {
            found.is_some_and(|found| found.topic == known.topic && found.count >= known.count)
        };
        known.filter(|known| !has_grown(known)).or(found)
    }

    fn by_id(&self, topic: TopicId) -> Option<TopicPartitions> {
        let known = self.known.values().find(|known| known.topic == topic).copied();
        let found = self.catalog.by_id(topic);
        [known, found].into_iter().flatten().max_by_key(|partitions| partitions.count)
    }
}

/// What is new in a catalog for the groups. A topic with offsets that it does not know is deleted: it was known when they
/// were committed, and a node's catalog never goes back. That holds once the catalog is as new as the groups.
pub(crate) fn change(state: &GroupsState, catalog: &dyn TopicCatalog) -> TopicsChange {
    let mut names: BTreeSet<TopicName> = BTreeSet::new();
    let mut deleted: BTreeSet<TopicId> = BTreeSet::new();
    for (_, group) in state.groups() {
        let named: BTreeSet<&TopicName> =
            group.members().flat_map(|member| member.description.subscription.names()).collect();
        let assigned = |name: &TopicName| {
            group.head().topics.iter().find(|(known, _)| known == name).map(|(_, partitions)| *partitions)
        };
        names.extend(named.into_iter().filter(|name| catalog.by_name(name) != assigned(name)).cloned());
        let topics: BTreeSet<TopicId> = group.offsets().map(|(partition, _)| partition.topic).collect();
        deleted.extend(topics.into_iter().filter(|topic| catalog.by_id(*topic).is_none()));
    }
    TopicsChange { names: names.into_iter().collect(), deleted: deleted.into_iter().collect() }
}
