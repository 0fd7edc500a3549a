//! What a coordinator has to do at a time, unless it changes its mind before. Not replicated: who takes over
//! begins all of them anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupName, MemberId};
use crate::time::Uptime;

/// What is due at a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A member was not heard for a session timeout.
    Session(GroupName, MemberId),
    /// A member did not give up its partitions in its rebalance timeout.
    Revocation(GroupName, MemberId),
    /// A group's assignment may be computed again.
    Assignment(GroupName),
    /// Offsets are to be looked through for those that are kept no longer.
    OffsetsCheck,
}

/// Deadlines, at most one for each thing to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deadlines {
    by_time: BTreeSet<(Uptime, Due)>,
    times: BTreeMap<Due, Uptime>,
}

impl Deadlines {
    /// Sets a deadline, in the place of an earlier one for the same.
    pub(crate) fn set(&mut self, due: Due, at: Uptime) {
        if let Some(before) = self.times.insert(due.clone(), at) {
            self.by_time.remove(&(before, due.clone()));
        }
        self.by_time.insert((at, due));
    }

    /// Sets a deadline unless there is one for the same.
    pub(crate) fn set_if_none(&mut self, due: Due, at: Uptime) {
        if !self.times.contains_key(&due) {
            self.set(due, at);
        }
    }

    /// Makes a deadline an earlier one, if it is later.
    pub(crate) fn bring_forward(&mut self, due: Due, at: Uptime) {
        if self.times.get(&due).is_some_and(|before| *before > at) {
            self.set(due, at);
        }
    }

    /// Forgets a deadline.
    pub(crate) fn clear(&mut self, due: Due) {
        if let Some(at) = self.times.remove(&due) {
            self.by_time.remove(&(at, due));
        }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Uptime> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the first of what is due at this time.
    pub(crate) fn pop(&mut self, now: Uptime) -> Option<Due> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, due) = self.by_time.pop_first()?;
        self.times.remove(&due);
        Some(due)
    }
}
