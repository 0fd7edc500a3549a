//! A node that was killed starts on a full disk: its partitions refuse with `NO_SPACE`, and take and give records again
//! by themselves once there is room.

mod harness;

use harness::over_store::{open, serve, small_journal};
use harness::{append, batch, bounds, code, produce, soon};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_storage::disk::SimDisk;
use highwater_types::{ClusterId, SystemRandom};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_find_the_disk_full_at_the_start_say_no_space_and_serve_by_themselves_when_it_is_freed()
{
    const RECORDS: i64 = 20;
    let disk = SimDisk::new(41);
    let cluster = ClusterId::draw(&SystemRandom);
    let channel = serve(open(disk.for_process(), small_journal()), cluster).await;
    let mut log = LogServiceClient::new(channel.clone());
    let create = v1::CreateTopicRequest { name: "orders".into(), partitions: 2, ..Default::default() };
    AdminServiceClient::new(channel).create_topic(create).await.expect("created");
    for offset in 0..RECORDS {
        for partition in 0..2 {
            assert_eq!(append(&mut log, "orders", partition, &[7; 100]).await, offset);
        }
    }
    disk.crash();

    // Nothing was synced to the segments: what the journal holds needs room in them again.
    let store = open(disk.for_process(), small_journal());
    disk.set_capacity(Some(0));
    let mut log = LogServiceClient::new(serve(store, cluster).await);
    for partition in 0..2 {
        let request = produce("orders", partition, batch(1, 100).into_bytes());
        let refused = log.produce(request).await.expect_err("full");
        assert_eq!(code(&refused), "NO_SPACE", "{refused}");
        let refused = bounds(&mut log, "orders", partition).await.expect_err("not started");
        assert_eq!(refused, "NO_SPACE");
    }
    disk.set_capacity(None);
    for partition in 0..2 {
        let healed = async {
            while bounds(&mut log, "orders", partition).await != Ok((0, RECORDS)) {
                tokio::task::yield_now().await;
            }
        };
        soon("the partition serves again", healed).await;
        assert_eq!(append(&mut log, "orders", partition, &[7; 100]).await, RECORDS);
    }
}
