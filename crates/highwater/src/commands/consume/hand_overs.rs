//! Says which partitions come from and go to the other consumers of a group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_client::{Admin, RebalanceListener, Revocation, StartPosition, TopicPartition};
use highwater_types::Offset;
use tokio::time::timeout;

use crate::output::say;

/// How long the group's offsets are waited for, which are only told: the records wait too.
const OFFSETS_WAIT: Duration = Duration::from_secs(1);
/// Partitions that are named in one line.
const NAMED_MAX: usize = 12;

/// How far this consumer has printed what it owns. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Printed {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The offset after the last record that was printed.
    next: BTreeMap<TopicPartition, Offset>,
    is_leaving: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct HandOvers {
    admin: Admin,
    group: String,
    start: StartPosition,
    printed: Printed,
}

impl Printed {
    /// Everything before `next` is printed.
    pub(super) fn note(&self, partition: TopicPartition, next: Offset) {
        self.state().next.insert(partition, next);
    }

    /// From here on hand-overs are not told one by one. Returns what there is to tell instead.
    pub(super) fn leaves(&self) -> String {
        let mut state = self.state();
        state.is_leaving = true;
        let parts: Vec<String> =
            state.next.iter().map(|(partition, next)| format!("{partition} up to {next}")).collect();
        if parts.is_empty() {
            "nothing was printed".to_owned()
        } else {
            format!("committed {}", listed(&parts))
        }
    }

    /// These are another's.
    fn forget(&self, partitions: &[TopicPartition]) {
        self.state().next.retain(|partition, _| !partitions.contains(partition));
    }

    fn is_leaving(&self) -> bool {
        self.state().is_leaving
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; and then it would still be true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandOvers {
    pub(super) fn new(admin: Admin, group: String, start: StartPosition, printed: Printed) -> Self {
        Self { admin, group, start, printed }
    }

    /// Where partitions go on, in words: those that go on at the same place together.
    async fn starts(&self, partitions: &[TopicPartition]) -> String {
        let fetched = timeout(OFFSETS_WAIT, self.admin.fetch_offsets(&self.group, partitions)).await;
        let Ok(Ok(offsets)) = fetched else { return listed(&names(partitions)) };
        let mut starts: Vec<(Option<Offset>, Vec<String>)> = Vec::new();
        for (partition, committed) in partitions.iter().zip(offsets) {
            match starts.iter_mut().find(|(start, _)| *start == committed.offset) {
                Some((_, alike)) => alike.push(partition.to_string()),
                None => starts.push((committed.offset, vec![partition.to_string()])),
            }
        }
        let beginning = match self.start {
            StartPosition::Earliest => "the first record",
            StartPosition::Latest => "the end",
            StartPosition::Offset(_) | StartPosition::Time(_) => "where --from says",
        };
        let run = |(start, alike): &(Option<Offset>, Vec<String>)| {
            let start = start.map_or_else(|| beginning.to_owned(), |offset| format!("offset {offset}"));
            format!("{} from {start}", listed(alike))
        };
        let runs: Vec<String> = starts.iter().take(NAMED_MAX).map(run).collect();
        let more = if starts.len() > NAMED_MAX { "; and more" } else { "" };
        format!("{}{more}", runs.join("; "))
    }
}

impl RebalanceListener for HandOvers {
    async fn on_assigned(&mut self, partitions: &[TopicPartition]) {
        let starts = self.starts(partitions).await;
        say(&format!("got {starts}"));
    }

    async fn on_revoked(&mut self, revocation: Revocation<'_>) {
        if !self.printed.is_leaving() {
            say(&format!("gave up {}", listed(&names(revocation.partitions))));
        }
        self.printed.forget(revocation.partitions);
    }

    async fn on_lost(&mut self, partitions: &[TopicPartition]) {
        let lost = listed(&names(partitions));
        say(&format!("lost {lost}: what was printed since the last commit may be printed again, by another"));
        self.printed.forget(partitions);
    }
}

fn names(partitions: &[TopicPartition]) -> Vec<String> {
    partitions.iter().map(TopicPartition::to_string).collect()
}

/// As many as somebody reads.
fn listed(parts: &[String]) -> String {
    match parts.get(..NAMED_MAX) {
        Some(first) if parts.len() > NAMED_MAX => {
            format!("{} and {} more", first.join(", "), parts.len() - NAMED_MAX)
        }
        _ => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::PartitionIndex;

    #[test]
    fn what_was_printed_is_told_of_the_partitions_that_are_still_ours() {
        let of = |partition| TopicPartition::new("orders", PartitionIndex(partition));
        let printed = Printed::default();
        assert_eq!(printed.leaves(), "nothing was printed");
        printed.note(of(3), Offset(7));
        printed.note(of(5), Offset(1));
        printed.note(of(3), Offset(9));
        printed.forget(&[of(5)]);
        assert_eq!(printed.leaves(), "committed orders-3 up to 9");
    }

    #[test]
    fn a_line_names_no_more_than_somebody_reads() {
        let parts: Vec<String> = (0..14).map(|number| number.to_string()).collect();
        assert_eq!(listed(&parts[..12]), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11");
        assert_eq!(listed(&parts), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more");
    }
}
