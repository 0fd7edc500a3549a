//! What a node says of itself when the cluster's state is asked for: its disk, what it leads, and what needs attention.

use std::time::Duration;

use highwater_consensus::Group;
use highwater_storage::disk::blocking;
use highwater_types::{PartitionId, limits};

use crate::broker::Broker;
use crate::replicas::ReplicaState;

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeReport {
    /// Its software version.
    pub version: String,
    /// How long it runs.
    pub uptime: Duration,
    /// Its metadata version.
    pub metadata_version: u64,
    /// Size of the file system that its data is on.
    pub disk_total_bytes: u64,
    /// Bytes of it that are free.
    pub disk_free_bytes: u64,
    /// Bytes of its segments.
    pub data_bytes: u64,
    /// How many replicas run on it.
    pub replicas: u32,
    /// Why it serves for reading only, when it does.
    pub read_only: Option<String>,
    /// The partitions that it leads, with the bytes of each.
    pub led: Vec<(PartitionId, u64)>,
    /// In full: those that it leads and that move or lack replicas in sync.
    pub attention: Vec<(PartitionId, Vec<ReplicaState>)>,
    /// Its replicas of which something is damaged, and what.
    pub quarantined: Vec<(PartitionId, String)>,
    /// Its replicas that could not be started for a reason that may pass, and why.
    pub failed: Vec<(PartitionId, String)>,
}

impl NodeReport {
    /// Whether it takes records: it is not for reading only, and has room. A disk that cannot be measured says so when it is written to.
    pub fn takes_records(&self) -> bool {
        let is_full = self.disk_total_bytes > 0 && self.disk_free_bytes <= limits::DISK_RESERVE_BYTES;
        self.read_only.is_none() && !is_full
    }
}

impl Broker {
    /// How this node is, and how the partitions are that it leads.
    pub async fn report(&self) -> NodeReport {
        let groups = self.hosting.groups();
        let size = |group: &Group| group.log().segments().map_or(0, |segments| segments.size_bytes());
        let disk = self.hosting.host().store().disk();
        let (total, free) = {
            let measured = std::sync::Arc::clone(disk);
            blocking(&**disk, move || (measured.total_bytes(), measured.free_bytes())).await
        };
        let mut report = NodeReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started_at.elapsed(),
            metadata_version: self.metadata_version(),
            // A disk that cannot be measured is told of by whoever writes to it.
            disk_total_bytes: total.unwrap_or(0),
            disk_free_bytes: free.unwrap_or(0),
            data_bytes: groups.iter().map(|(_, group)| size(group)).sum(),
            replicas: u32::try_from(groups.len()).unwrap_or(u32::MAX),
            read_only: self.read_only(),
            quarantined: self.damaged_replicas(),
            failed: self.hosting.failed(),
            ..NodeReport::default()
        };
        let image = self.image();
        for (id, group) in groups {
            let status = group.status();
            if !status.is_serving {
                continue;
            }
            report.led.push((id, size(&group)));
            let Some(record) = image.partition(id) else { continue };
            let states = self.replica_states(id, record);
            let is_whole = states.iter().all(|state| state.is_in_sync || state.is_leaving);
            if !is_whole || record.reassignment.is_some() {
                report.attention.push((id, states));
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_for_reading_only_or_without_room_takes_no_records() {
        let fine = NodeReport {
            disk_total_bytes: 10 << 30,
            disk_free_bytes: limits::DISK_RESERVE_BYTES + 1,
            ..NodeReport::default()
        };
        assert!(fine.takes_records());
        let full = NodeReport { disk_free_bytes: limits::DISK_RESERVE_BYTES, ..fine.clone() };
        assert!(!full.takes_records());
        let read_only = NodeReport { read_only: Some("its journal is damaged".to_owned()), ..fine };
        assert!(!read_only.takes_records());
        assert!(NodeReport::default().takes_records(), "a disk that could not be measured is not called full");
    }
}
