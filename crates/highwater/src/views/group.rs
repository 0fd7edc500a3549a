//! A consumer group as it is shown: its members, and how far it has got in each partition.

use std::time::Duration;

use highwater_client::{GroupDescription, GroupState};
use highwater_types::TimestampMs;
use serde::Serialize;

use super::group_member::{MemberView, member_table};
use super::group_partition::{GroupPartitionView, group_partition_table};
use crate::output::{Cell, Screen, Table, Tone, counted, span};

/// How far a group is with sharing its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupStateView {
    /// It has no members.
    Empty,
    /// Its assignment is to be computed.
    Assigning,
    /// Members give up and take partitions.
    Reconciling,
    /// Each member owns what it is to own.
    Stable,
    /// A newer node says something that this program does not know.
    Unknown,
}

/// See the module. Serialized it is what `group describe --output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct GroupView {
    pub(crate) group: String,
    pub(crate) state: GroupStateView,
    pub(crate) group_epoch: u32,
    pub(crate) assignment_epoch: u32,
    pub(crate) coordinator_node_id: u64,
    /// Over all partitions.
    #[serde(flatten)]
    pub(crate) lag: LagView,
    pub(crate) members: Vec<MemberView>,
    pub(crate) partitions: Vec<GroupPartitionView>,
}

/// What there is that a group has not committed. Absent when it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct LagView {
    /// How many records.
    pub(crate) lag: Option<u64>,
    /// How old the oldest of them is.
    pub(crate) time_lag_ms: Option<u64>,
}

impl From<GroupState> for GroupStateView {
    fn from(state: GroupState) -> Self {
        match state {
            GroupState::Empty => Self::Empty,
            GroupState::Assigning => Self::Assigning,
            GroupState::Reconciling => Self::Reconciling,
            GroupState::Stable => Self::Stable,
            _ => Self::Unknown,
        }
    }
}

impl GroupStateView {
    pub(crate) fn cell(self) -> Cell {
        match self {
            Self::Empty => Cell::toned("empty", Some(Tone::Notice)),
            Self::Assigning => Cell::toned("assigning", Some(Tone::Notice)),
            Self::Reconciling => Cell::toned("reconciling", Some(Tone::Notice)),
            Self::Stable => Cell::toned("stable", Some(Tone::Good)),
            Self::Unknown => "unknown".to_owned().into(),
        }
    }
}

impl LagView {
    /// Of several partitions together.
    pub(crate) fn sum(lags: impl Iterator<Item = Self> + Clone) -> Self {
        let time_lags = lags.clone().map(|lag| lag.time_lag_ms);
        Self {
            lag: lags.map(|lag| lag.lag).sum(),
            time_lag_ms: time_lags.collect::<Option<Vec<_>>>().map(|all| all.into_iter().max().unwrap_or(0)),
        }
    }

    /// The number of records.
    pub(crate) fn records(self) -> String {
        self.lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string())
    }

    /// The age of the oldest.
    pub(crate) fn time(self) -> String {
        self.time_lag_ms.map_or_else(|| "?".to_owned(), |ms| span(Duration::from_millis(ms)))
    }

    /// Both in words.
    fn summary(self) -> String {
        match (self.lag, self.time_lag_ms) {
            (None, _) => "not known of every partition".to_owned(),
            (Some(0), _) => "none".to_owned(),
            (Some(lag), None) => counted(lag, "record"),
            (Some(lag), Some(_)) => {
                format!("{}, the oldest {} old", counted(lag, "record"), self.time())
            }
        }
    }
}

impl GroupView {
    /// A group, with the time of the first record that it has not committed in each of its partitions, where there is one and it is known.
    pub(crate) fn new(
        described: GroupDescription,
        waiting_since: &[Option<TimestampMs>],
        now: TimestampMs,
    ) -> Self {
        let since = waiting_since.iter().copied().chain(std::iter::repeat(None));
        let partitions: Vec<_> = described
            .partitions
            .into_iter()
            .zip(since)
            .map(|(partition, since)| GroupPartitionView::new(partition, since, now))
            .collect();
        Self {
            group: described.group,
            state: described.state.into(),
            group_epoch: described.group_epoch,
            assignment_epoch: described.assignment_epoch,
            coordinator_node_id: described.coordinator.0,
            lag: LagView::sum(partitions.iter().map(|partition| partition.lag)),
            members: described.members.into_iter().map(MemberView::from).collect(),
            partitions,
        }
    }

    /// Everything about the group.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let fact = |name, text: &str| format!("{name:<13}{text}\n");
        let mut text = [
            fact("group", &self.group),
            fact("state", &self.state.cell().paint(screen)),
            fact("coordinator", &format!("node {}", self.coordinator_node_id)),
            fact("lag", &self.lag.summary()),
        ]
        .concat();
        if !self.members.is_empty() {
            text.push('\n');
            text.push_str(&member_table(&self.members).render_on(screen));
        }
        text.push('\n');
        text.push_str(&self.render_partitions(screen));
        text
    }

    /// What `group lag` shows of one group.
    pub(crate) fn render_lag(&self, screen: &Screen) -> String {
        let members = counted(self.members.len() as u64, "member");
        let state = self.state.cell().paint(screen);
        let summary = self.lag.summary();
        format!("{}: {state}, {members}; lag: {summary}\n\n{}", self.group, self.render_partitions(screen))
    }

    fn render_partitions(&self, screen: &Screen) -> String {
        match self.partitions.as_slice() {
            [] => "it has no partitions yet: nothing is committed, and its topics do not exist\n".to_owned(),
            partitions => group_partition_table(partitions, &self.members).render_on(screen),
        }
    }
}

/// Groups with their lag, one in a row.
pub(crate) fn lag_table(groups: &[GroupView]) -> Table {
    let mut table =
        Table::new(&["GROUP", "STATE", "MEMBERS", "PARTITIONS", "LAG", "TIME LAG"]).spare(&["PARTITIONS"]);
    for group in groups {
        table.row(vec![
            group.group.clone().into(),
            group.state.cell(),
            group.members.len().to_string().into(),
            group.partitions.len().to_string().into(),
            Cell::from(group.lag.records()),
            group.lag.time().into(),
        ]);
    }
    table
}
