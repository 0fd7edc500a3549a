//! A partition as a consumer group reads it.

use highwater_client::GroupPartition;
use highwater_types::TimestampMs;
use serde::Serialize;

use super::group::LagView;
use super::group_member::{MemberView, member_name};
use super::partition::ErrorView;
use super::partition_name::PartitionName;
use crate::output::{Cell, Table, Tone};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct GroupPartitionView {
    /// Empty when the topic of that id is gone.
    pub(crate) topic: String,
    pub(crate) topic_id: String,
    pub(crate) partition: u32,
    /// Who owns it, or is still to give it up.
    pub(crate) member_id: Option<String>,
    /// The next record to read; absent when nothing is committed.
    pub(crate) committed_offset: Option<i64>,
    pub(crate) committed_at_ms: Option<i64>,
    /// What is kept beside it.
    pub(crate) metadata: String,
    pub(crate) log_start_offset: Option<i64>,
    pub(crate) high_watermark: Option<i64>,
    #[serde(flatten)]
    pub(crate) lag: LagView,
    pub(crate) error: Option<ErrorView>,
}

impl GroupPartitionView {
    pub(super) fn new(partition: GroupPartition, waiting_since: Option<TimestampMs>, now: TimestampMs) -> Self {
        let time_lag_ms = match partition.lag {
            Some(0) => Some(0),
            // A producer's clock may be ahead.
            _ => waiting_since.map(|since| u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)),
        };
        Self {
            topic: partition.partition.topic.to_string(),
            topic_id: partition.topic_id,
            partition: partition.partition.partition.0,
            member_id: partition.member_id,
            committed_offset: partition.committed.map(|offset| offset.0),
            committed_at_ms: partition.committed_at.map(|at| at.0),
            metadata: partition.metadata,
            log_start_offset: partition.log_start.map(|offset| offset.0),
            high_watermark: partition.high_watermark.map(|offset| offset.0),
            lag: LagView { lag: partition.lag, time_lag_ms },
            error: partition.error.as_ref().map(ErrorView::from),
        }
    }

    fn name(&self) -> String {
        let topic = if self.topic.is_empty() { format!("({})", self.topic_id) } else { self.topic.clone() };
        PartitionName { topic, partition: self.partition }.to_string()
    }
}

/// The partitions of a group, one in a row.
pub(super) fn group_partition_table(partitions: &[GroupPartitionView], members: &[MemberView]) -> Table {
    let headings = ["PARTITION", "COMMITTED", "END", "LAG", "TIME LAG", "MEMBER", "ERROR"];
    let mut table = Table::new(&headings).spare(&["MEMBER", "ERROR"]);
    for partition in partitions {
        let (offset, unknown) = (|offset: i64| offset.to_string(), || "?".to_owned());
        let member = partition.member_id.as_ref().map(|id| member_name(id, members));
        let error = partition.error.as_ref().map(|error| format!("{} ({})", error.message, error.code));
        table.row(vec![
            partition.name().into(),
            partition.committed_offset.map_or_else(|| "none".to_owned(), offset).into(),
            partition.high_watermark.map_or_else(unknown, offset).into(),
            partition.lag.records().into(),
            partition.lag.time().into(),
            member.unwrap_or_default().into(),
            Cell::toned(error.unwrap_or_default(), Some(Tone::Bad)),
        ]);
    }
    table
}
