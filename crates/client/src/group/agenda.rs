//! What the application is still to be told of, and in which order: what is lost, then what is to be given up, then what is new.
//! Pure.
//!
//! Invariants: a partition is told to be given up, or lost, only after it was told to be new, and new again only after that;
//! nothing here is longer than what the member owns and what it lost.

use std::collections::BTreeSet;

use highwater_groups::membership::Change;
use highwater_types::PartitionId;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// These belong to others by now.
    Lost(BTreeSet<PartitionId>),
    /// Nothing of these is processed; they are to be given up.
    Revoked(BTreeSet<PartitionId>),
    /// These are to be begun.
    Assigned(BTreeSet<PartitionId>),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// What the application was told that it has.
    told: BTreeSet<PartitionId>,
    lost: BTreeSet<PartitionId>,
    revoked: BTreeSet<PartitionId>,
    assigned: BTreeSet<PartitionId>,
    /// Taken from what is assigned, and not told yet.
    starting: BTreeSet<PartitionId>,
    /// Given up, which the coordinator is to hear.
    released: BTreeSet<PartitionId>,
}

impl Agenda {
    pub(crate) fn change(&mut self, change: &Change) {
        for partition in change.lost.iter() {
            self.assigned.remove(&partition);
            self.starting.remove(&partition);
            self.revoked.remove(&partition);
            self.released.remove(&partition);
            if self.told.contains(&partition) {
                self.lost.insert(partition);
            }
        }
        for partition in change.revoked.iter() {
            if self.told.contains(&partition) && !self.lost.contains(&partition) {
                self.revoked.insert(partition);
            } else {
                // Nobody has heard of it.
                self.assigned.remove(&partition);
                self.starting.remove(&partition);
                self.released.insert(partition);
            }
        }
        self.assigned.extend(change.assigned.iter());
    }

    /// Takes what is next. What the application is busy with is not given up yet.
    pub(crate) fn next(&mut self, busy: Option<PartitionId>) -> Option<Step> {
        if !self.lost.is_empty() {
            return Some(Step::Lost(self.lost.clone()));
        }
        let (waiting, ready): (BTreeSet<_>, BTreeSet<_>) =
            self.revoked.iter().copied().partition(|partition| Some(*partition) == busy);
        if !ready.is_empty() {
            self.revoked = waiting;
            return Some(Step::Revoked(ready));
        }
        if !self.assigned.is_empty() {
            self.starting = std::mem::take(&mut self.assigned);
            return Some(Step::Assigned(self.starting.clone()));
        }
        None
    }

    /// Whether something is to be told before what is new.
    pub(crate) fn is_pressing(&self, busy: Option<PartitionId>) -> bool {
        !self.lost.is_empty() || self.revoked.iter().any(|partition| Some(*partition) != busy)
    }

    /// Whether some of these are lost, which is to be told.
    pub(crate) fn has_lost(&self, partitions: &BTreeSet<PartitionId>) -> bool {
        !self.lost.is_disjoint(partitions)
    }

    /// Whether it waits for the application to be done with this one.
    pub(crate) fn waits_for(&self, partition: PartitionId) -> bool {
        self.revoked.contains(&partition)
    }

    /// What was to be begun is told now, as far as it still is to be and is among these; the rest is put off.
    pub(crate) fn tell_assigned(&mut self, known: impl Fn(PartitionId) -> bool) -> BTreeSet<PartitionId> {
        let (told, rest) =
            std::mem::take(&mut self.starting).into_iter().partition(|partition| known(*partition));
        self.told.extend(&told);
        self.assigned.extend::<BTreeSet<_>>(rest);
        told
    }

    /// Whether it was told, and nothing else is to be told of it.
    pub(crate) fn is_to_begin(&self, partition: PartitionId) -> bool {
        self.told.contains(&partition) && !self.lost.contains(&partition) && !self.revoked.contains(&partition)
    }

    /// These were told to be lost.
    pub(crate) fn told_lost(&mut self, partitions: &BTreeSet<PartitionId>) {
        for partition in partitions {
            self.lost.remove(partition);
            self.told.remove(partition);
        }
    }

    /// These were given up. What was lost meanwhile stays to be told.
    pub(crate) fn gave_up(&mut self, partitions: &BTreeSet<PartitionId>) {
        for partition in partitions.difference(&self.lost) {
            self.told.remove(partition);
            self.released.insert(*partition);
        }
    }

    /// What the application was told that it has.
    pub(crate) fn told(&self) -> &BTreeSet<PartitionId> {
        &self.told
    }

    /// What was given up since the last call.
    pub(crate) fn take_released(&mut self) -> BTreeSet<PartitionId> {
        std::mem::take(&mut self.released)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::{PartitionIndex, TopicId};

    fn id(index: u32) -> PartitionId {
        // One topic is enough.
        let topic = TopicId("11111111-2222-4333-8444-555555555555".parse().expect("an id"));
        PartitionId { topic, index: PartitionIndex(index) }
    }

    fn set(indexes: &[u32]) -> BTreeSet<PartitionId> {
        indexes.iter().map(|index| id(*index)).collect()
    }

    fn change(assigned: &[u32], revoked: &[u32], lost: &[u32]) -> Change {
        let of = |indexes: &[u32]| indexes.iter().map(|index| id(*index)).collect();
        Change { assigned: of(assigned), revoked: of(revoked), lost: of(lost) }
    }

    /// The application was told of these.
    fn with(indexes: &[u32]) -> Agenda {
        let mut agenda = Agenda::default();
        agenda.change(&change(indexes, &[], &[]));
        assert_eq!(agenda.next(None), Some(Step::Assigned(set(indexes))));
        assert_eq!(agenda.tell_assigned(|_| true), set(indexes));
        agenda
    }

    #[test]
    fn what_the_application_is_busy_with_is_given_up_when_it_is_done() {
        let mut agenda = with(&[0, 1]);
        agenda.change(&change(&[], &[0, 1], &[]));
        assert_eq!(agenda.next(Some(id(0))), Some(Step::Revoked(set(&[1]))));
        agenda.gave_up(&set(&[1]));
        assert_eq!((agenda.take_released(), agenda.next(Some(id(0)))), (set(&[1]), None));
        assert!(agenda.waits_for(id(0)) && !agenda.is_pressing(Some(id(0))) && agenda.is_pressing(None));
        assert_eq!(agenda.next(None), Some(Step::Revoked(set(&[0]))));
    }

    #[test]
    fn what_is_revoked_before_it_was_told_is_released_without_a_word() {
        let mut agenda = Agenda::default();
        agenda.change(&change(&[0, 1, 2], &[], &[]));
        agenda.change(&change(&[], &[0], &[]));
        assert_eq!(agenda.next(None), Some(Step::Assigned(set(&[1, 2]))));
        agenda.change(&change(&[], &[1], &[]));
        assert_eq!(agenda.take_released(), set(&[0, 1]));
        assert_eq!(agenda.tell_assigned(|_| true), set(&[2]));
        assert_eq!(*agenda.told(), set(&[2]));
    }

    #[test]
    fn what_is_lost_while_it_is_given_up_is_told_and_not_released() {
        let mut agenda = with(&[0]);
        agenda.change(&change(&[], &[0], &[]));
        assert_eq!(agenda.next(None), Some(Step::Revoked(set(&[0]))));
        agenda.change(&change(&[], &[], &[0]));
        assert!(agenda.has_lost(&set(&[0])));
        agenda.gave_up(&set(&[0]));
        // It was given again before that was told.
        agenda.change(&change(&[0], &[], &[]));
        assert_eq!(agenda.next(None), Some(Step::Lost(set(&[0]))));
        agenda.told_lost(&set(&[0]));
        assert_eq!(agenda.take_released(), set(&[]));
        assert_eq!(agenda.next(None), Some(Step::Assigned(set(&[0]))));
        agenda.change(&change(&[], &[], &[0]));
        assert_eq!((agenda.tell_assigned(|_| true), agenda.next(None)), (set(&[]), None), "nobody heard of it");
    }

    #[test]
    fn what_nobody_knows_the_start_of_is_put_off() {
        let mut agenda = Agenda::default();
        agenda.change(&change(&[0, 1], &[], &[]));
        assert_eq!(agenda.next(None), Some(Step::Assigned(set(&[0, 1]))));
        assert_eq!(agenda.tell_assigned(|partition| partition == id(0)), set(&[0]));
        assert_eq!(agenda.next(None), Some(Step::Assigned(set(&[1]))));
    }
}
