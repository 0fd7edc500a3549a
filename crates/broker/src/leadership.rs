//! Who leads a partition, as an operator wants it.
//!
//! The first replica of a placement is preferred, and gets the leadership back whenever it can. So whoever is to lead for good is
//! put first; the present leader then hands over.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_controller::{MetadataCommand, MetadataImage, PartitionMove, PartitionRecord};
use highwater_types::{ErrorCode, NodeId, PartitionId};
use tokio::time::{sleep, timeout};

use crate::broker::{Broker, stopping};
use crate::error::BrokerError;
use crate::gathered::list;
use crate::node_admin::find_node;
use crate::overview::may_lead;
use crate::reassigning::{PartitionRef, find_partition};

/// How long a new leader is waited for.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(10);
/// How often it is looked whether it leads.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Broker {
    /// Makes a replica the preferred leader of its partition, and waits until it leads. Returns the metadata version that shows it.
    ///
    /// # Errors
    /// When the node cannot lead it, or does not in time: it is preferred then all the same, and takes over when it can.
    pub async fn transfer_leader(&self, partition: &PartitionRef, to: NodeId) -> Result<u64, BrokerError> {
        let image = self.image();
        let name = &partition.topic.name;
        let about = |error: BrokerError| error.with_topic(name).with_partition(partition.index);
        let (record, id) = find_partition(&image, partition)?;
        self.check_successor(&image, record, to).map_err(about)?;
        let mut replicas: Vec<NodeId> = record.replicas.to_vec();
        let replicas_before = replicas.clone();
        replicas.retain(|node| *node != to);
        replicas.insert(0, to);
        let prefer = MetadataCommand::ReassignPartitions {
            moves: vec![PartitionMove { partition: id, replicas, replicas_before }],
            replication_factors: BTreeMap::new(),
            at: self.clock.now(),
        };
        let version = self.propose(&prefer).await.map_err(about)?.version.0;
        let leads = async {
            while self.known_leader(id) != Some(to) {
                sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            () = self.stopping.cancelled() => Err(stopping()),
            led = timeout(TRANSFER_DEADLINE, leads) => match led {
                Ok(()) => Ok(version),
                Err(_) => {
                    let message = format!(
                        "node {to} is the preferred leader now, and does not lead within {} ms: it takes over when it has caught up",
                        TRANSFER_DEADLINE.as_millis()
                    );
                    Err(about(BrokerError::new(ErrorCode::Timeout, message)))
                }
            },
        }
    }

    fn check_successor(
        &self,
        image: &MetadataImage,
        record: &PartitionRecord,
        to: NodeId,
    ) -> Result<(), BrokerError> {
        let node = find_node(image, to)?;
        if !record.replicas.contains(&to) {
            let replicas = list(&record.replicas);
            let message = format!("node {to} has no replica of the partition; nodes {replicas} have one");
            return Err(BrokerError::invalid_request(message));
        }
        if !may_lead(node.mode) {
            let message = format!("node {to} is {} and leads nothing; set it active first", node.mode);
            return Err(BrokerError::invalid_request(message));
        }
        if to != self.options.node && !self.hosting.host().is_reachable(to) {
            return Err(BrokerError::invalid_request(format!("node {to} cannot be reached")));
        }
        Ok(())
    }

    /// Who leads a partition, as far as this node knows: itself, or as it was told.
    pub(crate) fn known_leader(&self, id: PartitionId) -> Option<NodeId> {
        let own = self.hosting.group(id).is_some_and(|group| group.status().is_serving);
        if own { Some(self.options.node) } else { self.leaders.leader(id) }
    }
}
