//! A broker over a store that the test opened on a disk of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use highwater_broker::{Alone, Broker, BrokerOptions, KnownNodes};
use highwater_consensus::{GroupHost, HostParts, Member, NoPeers};
use highwater_groups::GroupsConfig;
use highwater_server::serve_grpc;
use highwater_storage::disk::Disk;
use highwater_storage::journal::JournalOptions;
use highwater_storage::{Store, StoreOptions};
use highwater_types::{
    Clock, ClusterId, Incarnation, NodeId, ProcessEpoch, Random, SystemClock, SystemRandom, limits,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// The only member.
const ALONE: Member = Member { node: NodeId(1), incarnation: Incarnation(1) };

/// A journal that needs little of a small disk.
pub(crate) fn small_journal() -> JournalOptions {
    JournalOptions {
        file_bytes: 1 << 20,
        first_file_bytes: 1 << 20,
        checkpoint_bytes: 4 << 20,
        bytes_max: 64 << 20,
        reserve_bytes: 64 << 10,
    }
}

/// The store on a disk.
pub(crate) fn open(disk: impl Disk + 'static, journal: JournalOptions) -> Arc<Store> {
    let options = StoreOptions {
        journal,
        mapped_segments_max: limits::MAPPED_SEGMENTS_MAX,
        unreadable: Vec::new(),
        power_lost: false,
        on_failure: Arc::new(|error| panic!("{error}")),
    };
    Store::open(Arc::new(disk), &options, &SystemRandom).expect("opened")
}

/// A broker over the store behind a gRPC listener; how to reach it. Its upkeep never comes round.
pub(crate) async fn serve(store: Arc<Store>, cluster: ClusterId) -> Channel {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let options = BrokerOptions {
        node: NodeId(1),
        incarnation: Incarnation(1),
        cluster,
        client_address: address.to_string(),
        peer_address: None,
        rack: None,
        seeds: Vec::new(),
        founder: true,
        default_partitions: 1,
        default_replication_factor: None,
        group_shards: 1,
        groups: GroupsConfig::default(),
        maintenance_interval: Duration::from_secs(3600),
        scrub_bytes_per_second: 0,
        catch_up_bytes_per_second: 0,
    };
    let host = GroupHost::new(HostParts {
        member: ALONE,
        epoch: ProcessEpoch(1),
        store,
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        transport: Arc::new(NoPeers),
    });
    let broker =
        Broker::start(options, host, Arc::new(Alone), clock, random, KnownNodes::new()).await.expect("started");
    let incoming = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    tokio::spawn(serve_grpc(broker, incoming, 10, CancellationToken::new()));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("it listens")
}
