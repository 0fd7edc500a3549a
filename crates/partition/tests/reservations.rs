//! Room that is set aside for records before their batch is built, over the real group and segments.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_consensus::{Durability, GroupHost, GroupOptions, HostParts, Member, NoPeers, Origin};
use highwater_partition::{NewRecord, Partition, PartitionApplier};
use highwater_storage::disk::SimDisk;
use highwater_storage::journal::JournalOptions;
use highwater_storage::{SegmentOptions, Store, StoreOptions};
use highwater_types::{
    GroupId, Incarnation, NodeId, PartitionId, PartitionIndex, ProcessEpoch, SystemClock, SystemRandom,
    TopicConfig, TopicId,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// The only member.
const ALONE: Member = Member { node: NodeId(1), incarnation: Incarnation(1) };

const ID: PartitionId = PartitionId { topic: TopicId(uuid::Uuid::from_u128(9)), index: PartitionIndex(0) };

#[tokio::test]
async fn records_whose_batch_is_smaller_than_their_reservation_give_the_rest_back() {
    let options = StoreOptions {
        journal: JournalOptions {
            file_bytes: 1 << 20,
            first_file_bytes: 1 << 20,
            checkpoint_bytes: 4 << 20,
            bytes_max: 64 << 20,
            reserve_bytes: 64 << 10,
        },
        mapped_segments_max: 64,
        unreadable: Vec::new(),
        power_lost: false,
        on_failure: Arc::new(|error| panic!("the journal failed: {error}")),
    };
    let store = Store::open(Arc::new(SimDisk::new(1)), &options, &SystemRandom).unwrap();
    let host = GroupHost::new(HostParts {
        member: ALONE,
        epoch: ProcessEpoch(1),
        store,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        transport: Arc::new(NoPeers),
    });
    let (applier, applied) = PartitionApplier::new();
    let group_options =
        GroupOptions { durability: Durability::Fsync, segments: Some(SegmentOptions::default()) };
    let group = host
        .start_group(GroupId::Partition(ID), group_options, Origin::New([ALONE].into()), Box::new(applier))
        .await
        .unwrap();
    group.wait_serving(Duration::from_secs(20)).await.unwrap();
    let config = watch::Sender::new(Arc::new(TopicConfig::default()));
    let partition = Partition::new(ID, group.clone(), applied, config.subscribe(), Arc::new(SystemClock));

    let record = NewRecord { value: Some(Bytes::from_static(b"value")), ..NewRecord::default() };
    for count in [1, 2, 3, 100, 1000] {
        let deadline = Instant::now() + Duration::from_secs(60);
        partition.append_records(vec![record.clone(); count], deadline).await.unwrap();
        // The answer comes after the batch was applied, so nothing is on its way.
        assert_eq!(group.log().segments().unwrap().reserved_bytes(), 0, "after {count} records");
    }
}
