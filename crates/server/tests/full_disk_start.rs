//! A node that was killed starts on a full disk: its partitions refuse with `NO_SPACE`, and take and give records again
//! by themselves once there is room.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use harness::{append, batch, bounds, code, produce, soon};
use highwater_broker::{Broker, BrokerOptions};
use highwater_consensus::{GroupHost, HostParts, NoPeers};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_server::serve_grpc;
use highwater_storage::disk::SimDisk;
use highwater_storage::journal::JournalOptions;
use highwater_storage::{Store, StoreOptions};
use highwater_types::{Clock, ClusterId, Incarnation, NodeId, Random, SystemClock, SystemRandom};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

fn open(disk: &SimDisk) -> Arc<Store> {
    let journal = JournalOptions {
        file_bytes: 1 << 20,
        first_file_bytes: 1 << 20,
        checkpoint_bytes: 4 << 20,
        bytes_max: 64 << 20,
        reserve_bytes: 64 << 10,
    };
    let options = StoreOptions {
        journal,
        mapped_segments_max: 64,
        unreadable: Vec::new(),
        on_failure: Arc::new(|error| panic!("{error}")),
    };
    Store::open(Arc::new(disk.for_process()), &options, &SystemRandom).expect("opened")
}

/// A broker over the store behind a gRPC listener; how to reach it.
async fn serve(store: Arc<Store>, cluster: ClusterId) -> Channel {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let options = BrokerOptions {
        node: NodeId(1),
        incarnation: Incarnation(1),
        cluster,
        client_address: address.to_string(),
        bootstrap: true,
        default_partitions: 1,
        default_replication_factor: 1,
        maintenance_interval: Duration::from_secs(3600),
    };
    let (transport, random_of_host) = (Arc::new(NoPeers), Arc::clone(&random));
    let host = GroupHost::new(HostParts {
        node: NodeId(1),
        store,
        clock: Arc::clone(&clock),
        random: random_of_host,
        transport,
    });
    let broker = Broker::start(options, host, clock, random).await.expect("started");
    let incoming = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    tokio::spawn(serve_grpc(broker, incoming, 10, CancellationToken::new()));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("it listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_find_the_disk_full_at_the_start_say_no_space_and_serve_by_themselves_when_it_is_freed()
{
    const RECORDS: i64 = 20;
    let disk = SimDisk::new(41);
    let cluster = ClusterId::draw(&SystemRandom);
    let channel = serve(open(&disk), cluster).await;
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
    let store = open(&disk);
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
