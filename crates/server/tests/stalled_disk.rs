//! A disk whose syncs stand still: what is sent beyond a lane's room is refused with `THROTTLED`
//! and not written, the stream's other requests are answered, and all goes on when the disk does.

mod harness;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use harness::{append, batch, bounds, produce, soon};
use highwater_broker::{Broker, BrokerOptions};
use highwater_consensus::{GroupHost, HostParts, NoPeers};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_server::serve_grpc;
use highwater_storage::disk::{Disk, DiskFile, Mapping, RealDisk};
use highwater_storage::journal::JournalOptions;
use highwater_storage::{Store, StoreOptions};
use highwater_types::{Clock, ClusterId, Incarnation, NodeId, Random, SystemClock, SystemRandom, limits};
use parking_lot::{Condvar, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// Lets syncs of files through, or holds them.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock();
        while *closed {
            self.opened.wait(&mut closed);
        }
    }
}

/// The machine's disk behind a gate.
struct GatedDisk {
    disk: RealDisk,
    gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl GatedDisk {
    fn gated(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile { file: file?, gate: Arc::clone(&self.gate) }))
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.gated(self.disk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.gated(self.disk.open(path))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn boot_id(&self) -> io::Result<String> {
        self.disk.boot_id()
    }
    fn is_simulated(&self) -> bool {
        false
    }
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(out, position)
    }
    fn write_all_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_all_at(parts, position)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }
    fn map(&self, length: u64) -> io::Result<Arc<dyn Mapping>> {
        self.file.map(length)
    }
}

/// A broker on the gated disk behind a gRPC listener; how to reach it.
async fn serve(root: &Path, gate: &Arc<Gate>) -> Channel {
    let disk = GatedDisk { disk: RealDisk::new(root.to_path_buf()), gate: Arc::clone(gate) };
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let options = StoreOptions {
        journal: JournalOptions::default(),
        mapped_segments_max: limits::MAPPED_SEGMENTS_MAX,
        unreadable: Vec::new(),
        on_failure: Arc::new(|error| panic!("{error}")),
    };
    let store = Store::open(Arc::new(disk), &options, &SystemRandom).expect("opened");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let options = BrokerOptions {
        node: NodeId(1),
        incarnation: Incarnation(1),
        cluster: ClusterId::draw(&SystemRandom),
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
async fn a_lane_that_stands_still_is_throttled_and_holds_up_no_other_request_of_its_stream() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let gate = Arc::new(Gate::default());
    let channel = serve(directory.path(), &gate).await;
    let mut log = LogServiceClient::new(channel.clone());
    let create = v1::CreateTopicRequest { name: "orders".into(), ..Default::default() };
    AdminServiceClient::new(channel).create_topic(create).await.expect("created");
    assert_eq!(append(&mut log, "orders", 0, b"first").await, 0);

    gate.set_closed(true);
    let lane = u64::try_from(limits::PRODUCE_LANE_REQUESTS_MAX).expect("small");
    let (sender, receiver) = mpsc::channel(1);
    let one = batch(1, 10).into_bytes();
    let send = async |correlation_id: u64, topic: &str| {
        let request = Some(produce(topic, 0, one.clone()));
        sender.send(v1::ProduceStreamRequest { correlation_id, request }).await.expect("open");
    };
    let opened = soon("the stream", log.produce_stream(ReceiverStream::new(receiver))).await;
    let mut answers = opened.expect("opened").into_inner();
    let beyond = 5;
    for correlation_id in 0..lane + beyond {
        soon("it is taken", send(correlation_id, "orders")).await;
    }
    let elsewhere = lane + beyond;
    send(elsewhere, "nothing").await;
    let answer = soon("the other's answer", answers.message()).await.expect("lives on").expect("goes on");
    assert_eq!(answer.correlation_id, elsewhere, "the lane itself has no answer yet");

    gate.set_closed(false);
    for correlation_id in 0..lane + beyond {
        let answer = soon("an answer", answers.message()).await.expect("lives on").expect("goes on");
        assert_eq!(answer.correlation_id, correlation_id);
        match answer.result.expect("always set") {
            v1::produce_stream_response::Result::Ack(_) => assert!(correlation_id < lane),
            v1::produce_stream_response::Result::Error(error) => {
                assert!(correlation_id >= lane, "{correlation_id}: {error:?}");
                assert_eq!((error.code.as_str(), error.retriable), ("THROTTLED", true));
            }
        }
    }
    let end = i64::try_from(lane).expect("small") + 1;
    assert_eq!(bounds(&mut log, "orders", 0).await, Ok((0, end)), "what was refused was not written");
    send(0, "orders").await;
    let answer = soon("an answer", answers.message()).await.expect("lives on").expect("goes on");
    assert!(matches!(answer.result, Some(v1::produce_stream_response::Result::Ack(_))), "{answer:?}");
}
