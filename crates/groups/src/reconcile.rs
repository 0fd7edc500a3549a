//! One step of a member towards its target (KIP-848): what it gives up, and what it is given.
//!
//! The one rule that everything rests on: **a partition is given to a member only when nobody else may own it.** A
//! member may own what it was ever told to own, until it says, *having heard that it is to give it up*, that it owns it
//! no more; or until it leaves or its session is over. "Having heard" is the revision: a heartbeat that was sent
//! before the last change of what the member was told says nothing about that change, however late it comes.
//!
//! Rounds do not overlap: a member that gives up partitions gets and loses nothing else until it is done. So each
//! round has a rebalance timeout of its own.

use std::collections::BTreeMap;

use highwater_types::{PartitionId, mutant};

use crate::current::{CurrentAssignment, MemberState};
use crate::group::{Group, Member};
use crate::ids::{Epoch, MemberId, Revision};
use crate::partition_set::PartitionSet;

/// What a member says of itself in a heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report<'a> {
    /// The epoch that it states.
    pub(crate) epoch: Epoch,
    /// The newest revision that it has heard.
    pub(crate) seen: Revision,
    /// What it owns; none when it does not say.
    pub(crate) owned: Option<&'a PartitionSet>,
}

/// Where the member goes from here when it says something, or, without a report, on its own.
pub(crate) fn step(
    group: &Group,
    member: &Member,
    from: &CurrentAssignment,
    report: Option<Report<'_>>,
) -> CurrentAssignment {
    let mut next = from.clone();
    if let Some(report) = report {
        next.stated_epoch = next.stated_epoch.max(report.epoch);
        give_up(&mut next, report);
    }
    if next.revoking.is_empty() {
        take_back(&mut next, &member.target);
    }
    if next.revoking.is_empty() {
        let id = &member.description.member;
        let lacks_some = advance(&mut next, group, id, &member.target);
        next.state = match lacks_some || group.assignment_epoch() < next.epoch {
            true => MemberState::Unreleased,
            false => MemberState::Stable,
        };
    } else {
        next.state = MemberState::Unrevoked;
    }
    if next.held != from.held {
        next.revision = next.revision.next();
    }
    next
}

/// What the member says that it gave up is free, when it has heard that it is to give it up.
fn give_up(next: &mut CurrentAssignment, report: Report<'_>) {
    if let Some(owned) = report.owned.filter(|_| report.seen == next.revision) {
        next.revoking.retain(|partition, _| owned.contains(*partition));
    }
}

/// The member is to give up what it holds beyond its target.
fn take_back(next: &mut CurrentAssignment, target: &PartitionSet) {
    let (held, excess): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(&mut next.held).into_iter().partition(|(partition, _)| target.contains(*partition));
    next.held = held;
    next.revoking = if mutant!(GiveBeforeRevoke) { BTreeMap::new() } else { excess };
}

/// The member comes to the assignment's epoch and gets what is free of its target. Says whether it lacks some.
fn advance(next: &mut CurrentAssignment, group: &Group, id: &MemberId, target: &PartitionSet) -> bool {
    next.epoch = next.epoch.max(group.assignment_epoch());
    let mut lacks_some = false;
    let missing: Vec<PartitionId> =
        target.iter().filter(|partition| !next.held.contains_key(partition)).collect();
    for partition in missing {
        match group.keeper(partition) {
            Some(keeper) if keeper != id => lacks_some = true,
            _ => drop(next.held.insert(partition, next.epoch)),
        }
    }
    lacks_some
}
