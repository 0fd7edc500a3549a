//! What an idempotent producer pipelines is appended in order or not at all: a batch is not taken while one that was sent
//! before it was refused, whatever it was refused for.

mod harness;

use harness::gated_disk::GatedDisk;
use harness::over_store::{open, serve, small_journal};
use harness::{produce, soon, values};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_records::BatchBuilder;
use highwater_storage::disk::SimDisk;
use highwater_storage::journal::JournalOptions;
use highwater_types::{ClusterId, ProducerEpoch, ProducerId, Sequence, SystemRandom, TimestampMs};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

const TOPIC: &str = "orders";

/// A batch of one record as one producer puts it on the wire.
#[derive(Clone, Copy)]
struct Sent<'a> {
    producer: ProducerId,
    epoch: i16,
    sequence: i32,
    value: &'a [u8],
}

/// A produce stream on which a batch may be sent whatever became of the one before it, as by a client that pipelines.
struct Pipeline {
    requests: mpsc::Sender<v1::ProduceStreamRequest>,
    answers: Streaming<v1::ProduceStreamResponse>,
}

impl Pipeline {
    async fn open(log: &mut LogServiceClient<Channel>) -> Self {
        let (requests, receiver) = mpsc::channel(1);
        let opened = soon("the stream", log.produce_stream(ReceiverStream::new(receiver))).await;
        Self { requests, answers: opened.expect("opened").into_inner() }
    }

    /// The offset that the batch got, or the code of what it was refused for.
    async fn send(&mut self, sent: Sent<'_>) -> Result<i64, String> {
        let Sent { producer, epoch, sequence, value } = sent;
        let mut builder = BatchBuilder::new();
        if producer.is_some() {
            builder = builder.producer(producer, ProducerEpoch(epoch), Sequence(sequence));
        }
        builder.append(None, Some(value), &[], TimestampMs::NONE).expect("fits");
        let request = produce(TOPIC, 0, builder.build().expect("not empty").into_bytes());
        let request = v1::ProduceStreamRequest { correlation_id: 0, request: Some(request) };
        self.requests.send(request).await.expect("open");
        let answer = soon("an answer", self.answers.message()).await.expect("lives on").expect("goes on");
        match answer.result.expect("always set") {
            v1::produce_stream_response::Result::Ack(ack) => Ok(ack.base_offset),
            v1::produce_stream_response::Result::Error(error) => Err(error.code),
        }
    }

    /// What a producer does with a batch that was refused: it sends it again, and under a new epoch when its place in the old
    /// one is lost.
    async fn send_again(&mut self, sent: Sent<'_>) {
        let again = self.send(sent).await;
        if again.is_err() {
            let renewed = Sent { epoch: sent.epoch + 1, sequence: 0, ..sent };
            self.send(renewed).await.unwrap_or_else(|code| panic!("{again:?}, then {code}"));
        }
    }
}

/// Whether the node's metadata has the topic; its partitions may not be up yet.
async fn is_known(admin: &mut AdminServiceClient<Channel>) -> bool {
    let request = v1::DescribeTopicsRequest { names: vec![TOPIC.to_owned()], ..Default::default() };
    let answer = admin.describe_topics(request).await.expect("answered").into_inner();
    let result = answer.results.into_iter().next().and_then(|result| result.result).expect("one");
    matches!(result, v1::describe_topics_result::Result::Topic(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_batch_that_finds_the_partition_up_does_not_overtake_the_first_that_came_too_early() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, gate) = GatedDisk::new(directory.path());
    let store = open(disk, JournalOptions::default());
    let channel = serve(store, ClusterId::draw(&SystemRandom)).await;
    let mut admin = AdminServiceClient::new(channel.clone());
    let mut log = LogServiceClient::new(channel.clone());
    let mut pipeline = Pipeline::open(&mut log).await;

    // One sync after the other, until the topic is committed: then the one that is held, or comes next, is the partition's,
    // and without it the partition has no leader.
    gate.close();
    let creating = tokio::spawn(async move {
        let create = v1::CreateTopicRequest { name: TOPIC.into(), partitions: 1, ..Default::default() };
        AdminServiceClient::new(channel).create_topic(create).await
    });
    loop {
        soon("a sync", gate.holds_one()).await;
        if is_known(&mut admin).await {
            break;
        }
        gate.let_one_through();
    }
    let first = Sent { producer: ProducerId(7), epoch: 0, sequence: 0, value: b"first" };
    let second = Sent { sequence: 1, value: b"second", ..first };
    assert_eq!(pipeline.send(first).await, Err("LEADER_NOT_AVAILABLE".to_owned()), "it comes up");

    gate.open();
    soon("the partition", creating).await.expect("no panic").expect("created");
    let behind = pipeline.send(second).await;
    pipeline.send_again(first).await;
    pipeline.send_again(second).await;
    assert_eq!(values(&mut log, TOPIC, 0, 0).await, [first.value, second.value], "{behind:?}");
    assert_eq!(behind, Err("UNKNOWN_PRODUCER_ID".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_batch_that_has_room_on_a_full_disk_does_not_overtake_the_large_one_before_it() {
    const NEW: ProducerId = ProducerId(7);
    const KNOWN: ProducerId = ProducerId(8);
    let disk = SimDisk::new(43);
    let store = open(disk.for_process(), small_journal());
    let channel = serve(store, ClusterId::draw(&SystemRandom)).await;
    let mut admin = AdminServiceClient::new(channel.clone());
    let mut log = LogServiceClient::new(channel);
    let configs = [("max.message.bytes".to_owned(), (8 << 20).to_string())].into();
    let create = v1::CreateTopicRequest { name: TOPIC.into(), partitions: 1, configs, ..Default::default() };
    admin.create_topic(create).await.expect("created");
    let mut pipeline = Pipeline::open(&mut log).await;
    let known = Sent { producer: KNOWN, epoch: 0, sequence: 0, value: b"known" };
    assert_eq!(pipeline.send(known).await, Ok(0));

    disk.set_capacity(Some(0));
    let large = vec![b'l'; 4 << 20];
    let cases = [
        (NEW, 0, Err("UNKNOWN_PRODUCER_ID".to_owned())),
        (KNOWN, 1, Err("OUT_OF_ORDER_SEQUENCE_NUMBER".to_owned())),
        // Nothing holds a producer without an id back, which also shows that there is room for it.
        (ProducerId::NONE, 0, Ok(1)),
    ];
    for (producer, sequence, expected) in cases {
        let first = Sent { producer, epoch: 0, sequence, value: &large };
        assert_eq!(pipeline.send(first).await, Err("NO_SPACE".to_owned()), "{producer}");
        let second = Sent { sequence: sequence + 1, value: b"small", ..first };
        assert_eq!(pipeline.send(second).await, expected, "{producer}");
    }
    disk.set_capacity(None);
    for (producer, sequence) in [(NEW, 0), (KNOWN, 1)] {
        let first = Sent { producer, epoch: 0, sequence, value: b"large" };
        pipeline.send_again(first).await;
        pipeline.send_again(Sent { sequence: sequence + 1, value: b"small", ..first }).await;
    }
    let expected = [b"known", b"small", b"large", b"small", b"large", b"small"].map(|value| value.to_vec());
    assert_eq!(values(&mut log, TOPIC, 0, 0).await, expected);
}
