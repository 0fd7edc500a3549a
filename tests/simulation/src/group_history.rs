//! Who of a consumer group owned which partition when, in the members' own view, and what contradicts the promises.
//!
//! - *two-owners*: a member is given a partition that another one still owns in its own view.
//! - *not-owner*: a member is handed a record of a partition that it does not own.
//! - *commit-lost*: reading begins, or an offset is told, below what was committed.
//! - *unprocessed*: a record that is there in the end was handed to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_types::Offset;
use parking_lot::Mutex;

use crate::history::{History, Place};
use crate::trace::Trace;

/// What is known of one partition. A topic that was made again is not told apart: see [`GroupHistory::is_checked`].
#[derive(Default)]
struct Books {
    /// Which member owns it, as it sees it itself.
    owners: BTreeMap<Place, String>,
    /// What was acknowledged as committed.
    committed: BTreeMap<Place, Offset>,
    /// What was handed out.
    processed: BTreeMap<Place, BTreeSet<Offset>>,
    /// What was committed when a partition was given, until the first record of it is handed out: reading begins no earlier. What its
    /// owner itself commits meanwhile is its own affair.
    begin: BTreeMap<Place, Offset>,
}

/// The books of one group. Shared by all members.
pub(crate) struct GroupHistory {
    places: BTreeSet<Place>,
    trace: Arc<Trace>,
    books: Mutex<Books>,
}

impl GroupHistory {
    /// Of a group that reads these partitions.
    pub(crate) fn new(places: impl IntoIterator<Item = Place>, trace: Arc<Trace>) -> Self {
        Self { places: places.into_iter().collect(), trace, books: Mutex::default() }
    }

    /// Whether the partition's topic stays, so that all of it can be checked.
    pub(crate) fn is_checked(&self, place: &Place) -> bool {
        self.places.contains(place)
    }

    /// A member is told that it owns a partition.
    pub(crate) fn assigned(&self, history: &History, member: &str, place: &Place) {
        self.trace.note(format_args!("{member} owns {place}"));
        let mut books = self.books.lock();
        let committed = books.committed.get(place).copied().unwrap_or(Offset::ZERO);
        books.begin.insert(place.clone(), committed);
        if let Some(other) = books.owners.insert(place.clone(), member.to_owned()) {
            history.violation(format!("two-owners: {place} is given to {member} and {other} owns it"));
        }
    }

    /// A member says that it does not own a partition any more.
    pub(crate) fn gone(&self, member: &str, place: &Place) {
        self.trace.note(format_args!("{member} owns {place} no more"));
        let mut books = self.books.lock();
        if books.owners.get(place).is_some_and(|owner| owner == member) {
            books.owners.remove(place);
        }
    }

    /// A member is no more, with all that it owned.
    pub(crate) fn ended(&self, member: &str) {
        self.books.lock().owners.retain(|_, owner| owner != member);
    }

    /// A machine has crashed: its members are no more.
    pub(crate) fn crashed(&self, machine: &str) {
        let runs_on = |member: &str| member.split('.').next() == Some(machine);
        self.books.lock().owners.retain(|_, owner| !runs_on(owner));
    }

    /// A member was handed a record.
    pub(crate) fn processed(&self, history: &History, member: &str, place: &Place, offset: Offset) {
        let mut books = self.books.lock();
        if books.owners.get(place).is_none_or(|owner| owner != member) {
            let owner = books.owners.get(place).cloned().unwrap_or_else(|| "nobody".to_owned());
            history.violation(format!("not-owner: {member} is handed {place} {offset}, which {owner} owns"));
        }
        if let Some(committed) = books.begin.remove(place) {
            self.trace.note(format_args!("{member} begins {place} at {offset}"));
            if self.is_checked(place) && offset < committed {
                history
                    .violation(format!("commit-lost: {place} begins at {offset}, {committed} was committed"));
            }
        }
        books.processed.entry(place.clone()).or_default().insert(offset);
    }

    /// A commit was acknowledged.
    pub(crate) fn committed(&self, place: &Place, offset: Offset) {
        self.trace.note(format_args!("{place} is committed up to {offset}"));
        let mut books = self.books.lock();
        let known = books.committed.entry(place.clone()).or_insert(Offset::ZERO);
        *known = (*known).max(offset);
    }

    /// What is known to be committed at this moment: what is told later is no less.
    pub(crate) fn known(&self, place: &Place) -> Offset {
        self.books.lock().committed.get(place).copied().unwrap_or(Offset::ZERO)
    }

    /// What is there in the end against what was handed out.
    pub(crate) fn finish(&self, history: &History, found: &BTreeMap<Place, BTreeSet<Offset>>) {
        let books = self.books.lock();
        for (place, offsets) in found {
            let processed = books.processed.get(place);
            // What somebody asked to delete may be gone before anybody reads it.
            let mut stays = offsets.range(history.deleted(place)..);
            let missing = stays.find(|offset| processed.is_none_or(|all| !all.contains(offset)));
            if let Some(offset) = missing {
                history.violation(format!("unprocessed: no member was handed {place} {offset}"));
            }
        }
    }
}
