//! What a member wants to read: topics by name. (A pattern would enter here, as a second form whose names are
//! resolved against the catalog when the group's topics are: nothing else looks at how names were chosen.)

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_types::TopicName;
use highwater_types::limits::GROUP_SUBSCRIPTION_TOPICS_MAX;

use crate::error::GroupsError;

/// The topics that a member subscribes to, whether they exist or not. Clones share the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription(Arc<BTreeSet<TopicName>>);

impl Subscription {
    /// A subscription to these topics.
    ///
    /// # Errors
    /// [`GroupsError::SubscriptionSize`]: there are none, or too many.
    pub fn new(names: impl IntoIterator<Item = TopicName>) -> Result<Self, GroupsError> {
        let names: BTreeSet<_> = names.into_iter().collect();
        match names.len() {
            1..=GROUP_SUBSCRIPTION_TOPICS_MAX => Ok(Self(Arc::new(names))),
            topics => Err(GroupsError::SubscriptionSize { topics, max: GROUP_SUBSCRIPTION_TOPICS_MAX }),
        }
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &TopicName> {
        self.0.iter()
    }
}
