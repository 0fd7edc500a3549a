//! How far a node's mode is carried out.

use highwater_client::v1;
use serde::Serialize;

use super::plan::StuckView;
use super::reassignment::ReassignmentView;
use super::replica::lag_of;
use crate::output::counted;

/// How many partitions are named before the rest is counted.
const NAMED_MAX: usize = 5;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct NodeProgress {
    pub(crate) is_done: bool,
    /// Partitions that it still leads and is to hand over.
    pub(crate) leaders_left: u32,
    /// Replicas that are still to move away.
    pub(crate) replicas_left: u32,
    /// Whether it is still to hand over the metadata's leadership.
    pub(crate) is_metadata_leader_left: bool,
    /// Whether another node is still to vote on the metadata in its place.
    pub(crate) is_metadata_vote_left: bool,
    /// Partitions that prefer it as leader, and that another node still leads.
    pub(crate) leaders_awaited: u32,
    /// Moves to or from the node, the first of them.
    pub(crate) moves: Vec<ReassignmentView>,
    /// What cannot go on by itself, the first of it.
    pub(crate) stuck: Vec<StuckView>,
    /// Partitions that nobody leads while the node is away, for it has the only replica.
    pub(crate) unavailable_meanwhile: u32,
}

impl From<v1::NodeProgress> for NodeProgress {
    fn from(progress: v1::NodeProgress) -> Self {
        Self {
            is_done: progress.is_done,
            leaders_left: progress.leaders_left,
            replicas_left: progress.replicas_left,
            is_metadata_leader_left: progress.is_metadata_leader_left,
            is_metadata_vote_left: progress.is_metadata_vote_left,
            leaders_awaited: progress.leaders_awaited,
            moves: progress.moves.into_iter().map(ReassignmentView::from).collect(),
            stuck: progress.stuck.into_iter().map(StuckView::from).collect(),
            unavailable_meanwhile: progress.unavailable_meanwhile,
        }
    }
}

impl NodeProgress {
    /// What is left to be done, on a line.
    pub(crate) fn summary(&self) -> String {
        let counts = [(self.replicas_left, "replica"), (self.leaders_left, "leadership")];
        let mut left: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, one)| counted((*count).into(), one))
            .collect();
        left.extend(self.is_metadata_leader_left.then(|| "the metadata's leadership".to_owned()));
        left.extend(self.is_metadata_vote_left.then(|| "its metadata vote".to_owned()));
        let mut text = match (left.is_empty(), self.leaders_awaited) {
            (false, _) => format!("{} left", left.join(", ")),
            (true, 0) if self.is_done => "nothing left".to_owned(),
            (true, 0) => "nearly done".to_owned(),
            (true, awaited) => format!("{} to come back", counted(awaited.into(), "leadership")),
        };
        if !self.moves.is_empty() {
            text.push_str(&format!("; moving {}", counted(self.moves.len() as u64, "partition")));
            if let Some(moved) = self.moves.iter().find(|moved| !lag_of(&moved.replicas).is_empty()) {
                text.push_str(&format!(", {} is {} behind", moved.name(), moved.behind()));
            }
        }
        if let Some(unavailable) = self.unavailable() {
            text.push_str(&format!("; {unavailable}"));
        } else if !self.stuck.is_empty() {
            text.push_str(&format!("; {} cannot move", counted(self.stuck.len() as u64, "partition")));
        }
        text
    }

    /// Which partitions nobody leads while the node is away.
    pub(crate) fn unavailable(&self) -> Option<String> {
        let count = self.unavailable_meanwhile;
        if count == 0 {
            return None;
        }
        let named: Vec<String> = self.stuck.iter().take(NAMED_MAX).map(StuckView::name).collect();
        let rest = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(named.len());
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let (is, it) = if count == 1 { ("is", "it") } else { ("are", "them") };
        let names = named.join(", ");
        Some(format!(
            "{} {is} unavailable while the node is away, which has the only replica of {it}: {names}{more}",
            counted(count.into(), "partition")
        ))
    }

    /// Whether nothing goes on by itself any more.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.is_done && !self.stuck.is_empty() && self.moves.is_empty()
    }
}
