//! What administrators and the cluster's metadata do to groups as a whole.

use std::collections::BTreeSet;

use highwater_types::{TopicId, mutant};

use super::turn::Turn;
use crate::error::GroupsError;
use crate::group::Group;
use crate::ids::GroupName;
use crate::record::GroupChange;
use crate::topics::TopicsChange;

impl Turn<'_> {
    pub(super) fn delete_group(&mut self, name: &GroupName) -> Result<(), GroupsError> {
        if self.group(name).is_none() {
            return Err(GroupsError::UnknownGroup { group: name.clone() });
        }
        self.check_is_empty(name)?;
        self.log(name, GroupChange::Deleted);
        Ok(())
    }

    pub(super) fn topics_changed(&mut self, change: &TopicsChange) {
        let is_concerned = |group: &Group| change.names.iter().any(|name| group.names(name));
        for name in self.groups_that(is_concerned) {
            self.topics_may_have_changed(&name);
        }
        for topic in change.deleted.iter().filter(|_| !mutant!(OffsetsOfPredecessor)) {
            for name in self.groups_that(|group| has_offsets_of(group, *topic)) {
                self.log(&name, GroupChange::TopicForgotten(*topic));
            }
        }
    }

    fn groups_that(&self, is_concerned: impl Fn(&Group) -> bool) -> BTreeSet<GroupName> {
        let concerned = self.coordinator.state.groups().filter(|(_, group)| is_concerned(group));
        concerned.map(|(name, _)| name.clone()).collect()
    }
}

fn has_offsets_of(group: &Group, topic: TopicId) -> bool {
    group.offsets_of(topic).next().is_some()
}
