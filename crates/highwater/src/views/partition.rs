//! A partition as it is shown: its leader, its watermarks, its replicas.

use highwater_client::{ClientError, v1};
use serde::Serialize;

use super::ids;
use super::replica::{ReplicaView, replica_table};
use crate::output::{Cell, Screen, Table, Tone, bytes};

/// What went wrong, as the cluster says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct ErrorView {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl From<&ClientError> for ErrorView {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Api(detail) => Self { code: detail.code.clone(), message: detail.message.clone() },
            error => Self { code: String::new(), message: error.to_string() },
        }
    }
}

/// See the module. Serialized it is an element of `partitions` in what `topic describe --output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct PartitionView {
    pub(crate) partition: u32,
    pub(crate) leader_node_id: Option<u64>,
    pub(crate) leader_epoch: u64,
    /// The nodes that it is placed on, the preferred leader first.
    pub(crate) replica_node_ids: Vec<u64>,
    /// Nodes that it moves away from.
    pub(crate) leaving_node_ids: Vec<u64>,
    pub(crate) log_start_offset: Option<i64>,
    pub(crate) high_watermark: Option<i64>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) replicas: Vec<ReplicaView>,
    pub(crate) error: Option<ErrorView>,
}

impl From<v1::PartitionDescription> for PartitionView {
    fn from(partition: v1::PartitionDescription) -> Self {
        let offsets = partition.offsets;
        Self {
            partition: partition.partition,
            leader_node_id: partition.leader_node_id,
            leader_epoch: partition.leader_epoch,
            replica_node_ids: partition.replica_node_ids,
            leaving_node_ids: partition.leaving_node_ids,
            log_start_offset: offsets.map(|offsets| offsets.log_start_offset),
            high_watermark: offsets.map(|offsets| offsets.high_watermark),
            size_bytes: offsets.map(|offsets| offsets.size_bytes),
            replicas: partition.replicas.into_iter().map(ReplicaView::from).collect(),
            error: partition.error.map(|error| ErrorView { code: error.code, message: error.message }),
        }
    }
}

impl PartitionView {
    fn leader(&self) -> Cell {
        match self.leader_node_id {
            Some(node) => node.to_string().into(),
            None => Cell::toned("none", Some(Tone::Bad)),
        }
    }

    /// The replicas that are not in sync, with what they lack, and those that are damaged; none if all are well.
    fn behind(&self) -> Cell {
        let is_damaged = |replica: &ReplicaView| replica.quarantine_reason.is_some();
        let is_well = |replica: &ReplicaView| replica.is_in_sync && !is_damaged(replica);
        let behind = self.replicas.iter().filter(|replica| !is_well(replica) && !replica.is_leaving);
        let texts: Vec<String> = behind
            .map(|replica| {
                let lag = replica
                    .lag()
                    .filter(|_| !is_damaged(replica))
                    .unwrap_or_else(|| replica.state().to_string());
                format!("{}: {lag}", replica.node_id)
            })
            .collect();
        Cell::toned(texts.join("; "), Some(Tone::Bad))
    }

    fn moves(&self) -> String {
        if self.leaving_node_ids.is_empty() {
            String::new()
        } else {
            format!("from {}", ids(&self.leaving_node_ids))
        }
    }

    /// Everything about the partition. `waits_for` is what a move of it waits for, if it moves.
    pub(crate) fn render(&self, name: &str, waits_for: Option<&str>, screen: &Screen) -> String {
        let mut text = String::new();
        let mut fact = |name, value: &Cell| text.push_str(&format!("{name:<15}{}\n", value.paint(screen)));
        fact("partition", &name.to_owned().into());
        fact("leader", &self.leader());
        fact("epoch", &self.leader_epoch.to_string().into());
        fact("replicas", &ids(&self.replica_node_ids).into());
        if let (Some(start), Some(end)) = (self.log_start_offset, self.high_watermark) {
            fact("log start", &start.to_string().into());
            fact("high watermark", &end.to_string().into());
        }
        if let Some(size) = self.size_bytes {
            fact("size", &bytes(size).into());
        }
        if let Some(error) = &self.error {
            fact("error", &Cell::toned(format!("{} ({})", error.message, error.code), Some(Tone::Bad)));
        }
        if waits_for.is_some() || !self.leaving_node_ids.is_empty() {
            let waits = waits_for.filter(|text| !text.is_empty()).map(|text| format!("; waits for {text}"));
            let moves = format!("{}{}", self.moves(), waits.unwrap_or_default());
            fact("moves", &Cell::toned(moves.trim_start_matches("; "), Some(Tone::Notice)));
        }
        if !self.replicas.is_empty() {
            text.push('\n');
            text.push_str(&replica_table(&self.replicas).render_on(screen));
        }
        for damage in self.replicas.iter().filter_map(ReplicaView::damage) {
            text.push('\n');
            text.push_str(&screen.paint(screen.wrap(&damage, 0).trim_end(), Some(Tone::Bad)));
            text.push('\n');
        }
        text
    }
}

/// The partitions of a topic, one in a row.
pub(crate) fn partition_table(partitions: &[PartitionView]) -> Table {
    let headings = [
        "PARTITION",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "LOG START",
        "HIGH WATERMARK",
        "SIZE",
        "BEHIND",
        "MOVES",
        "ERROR",
    ];
    let mut table = Table::new(&headings).spare(&["EPOCH", "SIZE", "LOG START", "MOVES", "BEHIND", "ERROR"]);
    let unknown = || "?".to_owned();
    for partition in partitions {
        let error = partition.error.as_ref().map(|error| format!("{} ({})", error.message, error.code));
        table.row(vec![
            partition.partition.to_string().into(),
            partition.leader(),
            partition.leader_epoch.to_string().into(),
            ids(&partition.replica_node_ids).into(),
            partition.log_start_offset.map_or_else(unknown, |offset| offset.to_string()).into(),
            partition.high_watermark.map_or_else(unknown, |offset| offset.to_string()).into(),
            partition.size_bytes.map_or_else(unknown, bytes).into(),
            partition.behind(),
            partition.moves().into(),
            Cell::toned(error.unwrap_or_default(), Some(Tone::Bad)),
        ]);
    }
    table
}
