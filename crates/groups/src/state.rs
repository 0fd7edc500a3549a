//! The replicated state: the groups of one coordinator, as the records so far made them.
//!
//! Every replica that applied the same records holds the same state, so the one that takes over has nothing to
//! load. A clone is cheap: clones share the groups that did not change since.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::limits::GROUPS_MAX;

use crate::codec;
use crate::error::GroupsError;
use crate::group::Group;
use crate::ids::GroupName;
use crate::record::{GroupChange, GroupRecord};

/// The groups of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GroupsState {
    groups: BTreeMap<GroupName, Arc<Group>>,
}

impl GroupsState {
    /// A group.
    pub fn group(&self, name: &GroupName) -> Option<&Group> {
        self.groups.get(name).map(Arc::as_ref)
    }

    /// The groups, in order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&GroupName, &Group)> {
        self.groups.iter().map(|(name, group)| (name, group.as_ref()))
    }

    /// Makes one record true.
    ///
    /// # Errors
    /// [`GroupsError::Malformed`]: the record contradicts the state, which stays as it was. Of a *committed* record
    /// that is fatal to the replica: going on without it would let replicas drift apart.
    pub fn apply(&mut self, record: &GroupRecord) -> Result<(), GroupsError> {
        match (&record.change, self.groups.entry(record.group.clone())) {
            (GroupChange::Deleted, Entry::Occupied(group)) => {
                group.remove();
                Ok(())
            }
            (change, Entry::Occupied(mut group)) => Arc::make_mut(group.get_mut()).apply(change),
            (GroupChange::Group(head), Entry::Vacant(place)) => {
                place.insert(Arc::new(Group::new(head.clone())));
                match self.groups.len() > GROUPS_MAX {
                    true => {
                        self.groups.remove(&record.group);
                        Err(malformed(format!("more than {GROUPS_MAX} groups")))
                    }
                    false => Ok(()),
                }
            }
            (_, Entry::Vacant(_)) => Err(malformed(format!("group '{}' has not begun", record.group))),
        }
    }

    /// Applies records in their logged form, all of them or, for what could not be read, none.
    ///
    /// # Errors
    /// The bytes are not records that this build knows, or contradict the state; as with
    /// [`GroupsState::apply`] that is fatal to the replica.
    pub fn apply_encoded(&mut self, records: &[u8]) -> Result<(), GroupsError> {
        codec::decode_records(records)?.iter().try_for_each(|record| self.apply(record))
    }

    /// The whole state in pieces of about [`highwater_types::limits::GROUPS_SNAPSHOT_CHUNK_BYTES`]: versioned,
    /// checksummed, equal for equal states, and never none. A clone of the state can be written while the state goes on.
    pub fn snapshot(&self) -> impl Iterator<Item = Bytes> {
        codec::encode_snapshot(self)
    }

    /// The state that a snapshot was taken of.
    ///
    /// # Errors
    /// The pieces are damaged, of a newer build, not all there or not in order, or contradict themselves.
    /// There is no partial restore.
    pub fn restore<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, GroupsError> {
        codec::decode_snapshot(pieces)
    }
}

fn malformed(detail: String) -> GroupsError {
    GroupsError::Malformed { what: "record", detail }
}
