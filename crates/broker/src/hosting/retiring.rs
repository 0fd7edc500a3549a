//! Takes replicas out of service that are to leave this node, and puts back those that stay after all. Whether one leaves is
//! decided in [`crate::leaving`].

use highwater_consensus::ConsensusError;
use highwater_controller::TopicRecord;
use highwater_types::{GroupId, PartitionId};

use super::{Hosting, Slot};

impl Hosting {
    /// Takes a replica out of service: on return its group acknowledges nothing any more and votes for nobody. Its data stays, and
    /// nobody starts it. False when it is just being started.
    pub(crate) async fn retire(&self, id: PartitionId, topic: &TopicRecord) -> bool {
        // Also of a topic of which nothing else was ever placed here.
        self.config_of(topic);
        let was = {
            let mut topics = self.topics.write();
            let Some(hosted) = topics.get_mut(&id.topic) else { return false };
            if matches!(hosted.partitions.get(&id.index), Some(Slot::Starting(_))) {
                return false;
            }
            hosted.partitions.insert(id.index, Slot::Leaving)
        };
        self.host.stop_group(GroupId::Partition(id)).await;
        if let Some(Slot::Running(hosted)) = was {
            // Its readers look again, and find it gone.
            hosted.wake_waiters();
        }
        true
    }

    /// The partitions that were taken out of service and are not gone yet.
    pub(crate) fn retired(&self) -> Vec<PartitionId> {
        let leaving = self.find(|slot| matches!(slot, Slot::Leaving).then_some(()));
        leaving.into_iter().map(|(id, ())| id).collect()
    }

    /// Puts a retired replica back into service, with the data that it has.
    pub(crate) async fn reinstate(&self, id: PartitionId, topic: &TopicRecord) {
        let Some(placed) = topic.partition(id.index) else { return };
        let slot = self.start_partition(id, topic, placed, self.config_of(topic)).await;
        slot.report(id, topic, false);
        self.end_claim(id, slot).await;
    }

    /// Removes the data of a retired replica. What starts the partition here again finds a log without a past.
    ///
    /// # Errors
    /// When some of it is still there; calling again is safe, and needed before the partition can come back.
    pub(crate) async fn remove_retired(&self, id: PartitionId) -> Result<(), ConsensusError> {
        self.host.remove_group(GroupId::Partition(id)).await?;
        let mut topics = self.topics.write();
        if let Some(hosted) = topics.get_mut(&id.topic)
            && matches!(hosted.partitions.get(&id.index), Some(Slot::Leaving))
        {
            hosted.partitions.remove(&id.index);
        }
        Ok(())
    }
}
