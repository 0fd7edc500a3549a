//! What hostile, broken and slow clients do to a node: nothing, beyond being told so.

mod harness;

use std::time::Duration;

use futures_util::stream;
use harness::{TestNode, at, batch, code, data, fetch, idempotent, produce, soon, until};
use highwater_proto::v1;
use highwater_types::limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// The node still appends and reads.
async fn assert_serves(node: &TestNode, topic: &str) {
    let mut log = node.log().await;
    let acked = log.produce(produce(topic, 0, batch(1, 10).into_bytes())).await.expect("appended");
    let offset = acked.into_inner().base_offset;
    let fetched = log.fetch(fetch(topic, 0, offset)).await.expect("read").into_inner();
    data(fetched.results.into_iter().next().expect("one")).expect("records");
}

#[tokio::test]
async fn damaged_batches_are_refused_by_name_and_nothing_of_them_is_stored() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    let good = batch(3, 100).into_bytes();
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut twice = good.to_vec();
    twice.extend_from_slice(&good);
    let cases = [
        ("truncated", good[..good.len() - 1].to_vec()),
        ("only a header", good[..61].to_vec()),
        ("shorter than a header", good[..10].to_vec()),
        ("empty", Vec::new()),
        ("two batches", twice),
        ("a flipped bit in a record", flipped(good.len() - 5)),
        ("a wrong checksum", flipped(17)),
        ("a flipped bit in the count", flipped(60)),
        ("noise", vec![0xa5; 500]),
    ];
    for (what, bytes) in cases {
        let status = log.produce(produce("orders", 0, bytes)).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        let detail = v1::ErrorDetail::from_status(&status).expect(what);
        assert!(!detail.retriable, "{what}");
        assert_eq!((detail.topic.as_str(), detail.partition), ("orders", Some(0)), "{what}");
    }
    let first = log.produce(produce("orders", 0, good)).await.expect("appended").into_inner();
    assert_eq!(first.base_offset, 0, "nothing of the others was stored");
}

#[tokio::test]
async fn every_flipped_bit_of_a_batch_is_refused_or_lies_where_the_log_writes_anyway() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    let good = batch(1, 5).into_bytes();
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x01;
        let outcome = log.produce(produce("orders", 0, bytes)).await;
        // Base offset and leader epoch are the log's own.
        let is_the_logs = (0..8).contains(&at) || (12..16).contains(&at);
        assert_eq!(outcome.is_ok(), is_the_logs, "byte {at}: {outcome:?}");
    }
}

#[tokio::test]
async fn batches_and_messages_beyond_the_limits_are_refused() {
    let node = TestNode::start().await;
    node.create("small", 1, &[("max.message.bytes", "1000")]).await;
    let mut log = node.log().await;
    let status = log.produce(produce("small", 0, batch(1, 1001).into_bytes())).await;
    assert_eq!(code(&status.expect_err("too large")), "MESSAGE_TOO_LARGE");
    let huge = vec![0; limits::GRPC_REQUEST_BYTES_MAX + 1];
    let status = log.produce(produce("small", 0, huge)).await.expect_err("beyond a message");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_serves(&node, "small").await;
}

#[tokio::test]
async fn what_does_not_exist_is_named_and_never_answered_with_an_offset() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    let one = batch(1, 1).into_bytes();
    for (topic, partition, expected) in [
        ("nothing", 0, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("orders", 1, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("not a name", 0, "INVALID_TOPIC_NAME"),
        ("", 0, "INVALID_REQUEST"),
    ] {
        let status = log.produce(produce(topic, partition, one.clone())).await.expect_err(topic);
        assert_eq!(code(&status), expected, "{topic} {partition}");
    }
    log.produce(produce("orders", 0, one)).await.expect("appended");
    let request = v1::FetchRequest {
        partitions: vec![at("orders", 0, 0), at("orders", 7, 0), at("nothing", 0, 0)],
        max_wait_ms: 300_000,
        min_bytes: 1 << 20,
        ..Default::default()
    };
    let answer = soon("errors end the wait", log.fetch(request)).await.expect("in band").into_inner();
    let outcomes: Vec<_> = answer.results.into_iter().map(|r| data(r).map(|d| d.next_offset)).collect();
    let unknown = || Err("UNKNOWN_TOPIC_OR_PARTITION".to_owned());
    assert_eq!(outcomes, [Ok(1), unknown(), unknown()]);
    for (offset, outcome) in [(1, Ok(1)), (2, Err("OFFSET_OUT_OF_RANGE".to_owned()))] {
        let answer = log.fetch(fetch("orders", 0, offset)).await.expect("in band").into_inner();
        let result = data(answer.results.into_iter().next().expect("one"));
        assert_eq!(result.map(|data| data.next_offset), outcome);
    }
    let negative = log.fetch(fetch("orders", 0, -5)).await.expect_err("no offset");
    assert_eq!(code(&negative), "INVALID_REQUEST");
    let twice =
        v1::FetchRequest { partitions: vec![at("orders", 0, 0), at("orders", 0, 1)], ..Default::default() };
    assert_eq!(code(&log.fetch(twice).await.expect_err("twice")), "INVALID_REQUEST");
}

#[tokio::test]
async fn bad_requests_of_a_produce_stream_are_answered_in_band_and_the_stream_lives_on() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let good = || Some(produce("orders", 0, batch(1, 10).into_bytes()));
    let requests = [
        (good(), None),
        (None, Some("INVALID_REQUEST")),
        (Some(produce("nothing", 0, batch(1, 10).into_bytes())), Some("UNKNOWN_TOPIC_OR_PARTITION")),
        (Some(produce("orders", 0, vec![1, 2, 3])), Some("CORRUPT_MESSAGE")),
        (Some(v1::ProduceRequest { topic: "orders".into(), ..Default::default() }), Some("INVALID_REQUEST")),
        (Some(produce("orders", 0, idempotent(9, 0, 1).into_bytes())), None),
        (Some(produce("orders", 0, idempotent(9, 5, 1).into_bytes())), Some("OUT_OF_ORDER_SEQUENCE_NUMBER")),
        (good(), None),
    ];
    let stream = requests
        .clone()
        .into_iter()
        .zip(0..)
        .map(|((request, _), correlation_id)| v1::ProduceStreamRequest { correlation_id, request });
    let stream = stream::iter(stream.collect::<Vec<_>>());
    let mut log = node.log().await;
    let mut answers = log.produce_stream(stream).await.expect("opened").into_inner();
    let mut outcomes = vec![None; requests.len()];
    while let Some(answer) = soon("an answer", answers.message()).await.expect("lives on") {
        use v1::produce_stream_response::Result as Outcome;
        let outcome = match answer.result.expect("always set") {
            Outcome::Ack(_) => None,
            Outcome::Error(error) => Some(error.code),
        };
        let place = usize::try_from(answer.correlation_id).expect("small");
        assert!(outcomes[place].replace(outcome).is_none(), "answered twice");
    }
    for ((_, expected), outcome) in requests.iter().zip(outcomes) {
        assert_eq!(outcome.expect("answered once").as_deref(), *expected);
    }
}

#[tokio::test]
async fn a_thousand_idle_connections_are_kept_and_others_are_served() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(node.node.grpc_address()).await.expect("accepted"));
    }
    assert_serves(&node, "orders").await;
    let mut first = idle.swap_remove(0);
    first.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("still open");
    assert!(soon("the settings", first.read_u8()).await.is_ok());
}

#[tokio::test]
async fn the_connection_beyond_the_limit_is_closed_and_the_others_go_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node =
        TestNode::start_in(directory, |config| highwater_server::NodeConfig { connections_max: 1, ..config })
            .await;
    let mut log = node.log().await;
    log.init_producer(v1::InitProducerRequest {}).await.expect("served");
    let mut second = TcpStream::connect(node.node.grpc_address()).await.expect("in the backlog");
    let mut byte = [0];
    let end = soon("the close", second.read(&mut byte)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    log.init_producer(v1::InitProducerRequest {}).await.expect("goes on");
}

#[tokio::test]
async fn garbage_instead_of_http_2_ends_that_connection_only() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut garbage = TcpStream::connect(node.node.grpc_address()).await.expect("accepted");
    garbage.write_all(&[0xff; 4096]).await.expect("sent");
    let mut rest = Vec::new();
    // Whatever the node says, it ends the connection.
    let _ = soon("the end", garbage.read_to_end(&mut rest)).await;
    assert_serves(&node, "orders").await;
}

/// Bytes of this process's memory that are resident.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line");
    let kib: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib << 10
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_little_memory_and_holds_up_nobody() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    for _ in 0..64 {
        log.produce(produce("orders", 0, batch(10, 100_000).into_bytes())).await.expect("appended");
    }
    let before = resident_bytes();
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let start = v1::SubscribeStart { topic: "orders".into(), credit_bytes: u64::MAX, ..Default::default() };
        let message = Some(v1::subscribe_request::Message::Start(start));
        let (sender, receiver) = mpsc::channel(1);
        sender.send(v1::SubscribeRequest { message }).await.expect("open");
        let mut reader = node.log().await;
        let pushes = reader.subscribe(ReceiverStream::new(receiver)).await.expect("subscribed");
        stuck.push((sender, pushes, reader));
    }
    for _ in 0..20 {
        assert_serves(&node, "orders").await;
    }
    // 20 readers could have 64 MB each. A few pushes for each is what may lie in buffers, those of
    // the clients in this same process included.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "{grown} bytes");
    drop(stuck);
}

#[tokio::test]
async fn a_client_gone_midway_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node =
        TestNode::start_in(directory, |config| highwater_server::NodeConfig { connections_max: 4, ..config })
            .await;
    node.create("orders", 1, &[]).await;
    // More clients than there are slots, each dropped in the middle of three kinds of calls.
    for _ in 0..12 {
        let channel = connect_patiently(&node).await;
        let mut log = v1::log_service_client::LogServiceClient::new(channel);
        let (sender, receiver) = mpsc::channel(4);
        let request = Some(produce("orders", 0, batch(1, 10).into_bytes()));
        sender.send(v1::ProduceStreamRequest { correlation_id: 1, request }).await.expect("open");
        let answers = log.produce_stream(ReceiverStream::new(receiver)).await.expect("opened");
        let mut polling = log.clone();
        let mut endless = fetch("orders", 0, 0);
        (endless.min_bytes, endless.max_wait_ms) = (u32::MAX, 300_000);
        let polling = tokio::spawn(async move { polling.fetch(endless).await });
        tokio::task::yield_now().await;
        polling.abort();
        drop((answers, sender, log));
    }
    let free = || node.node.broker().in_flight_bytes() == 0;
    until("all bytes in flight are given back", free).await;
    connect_patiently(&node).await;
}

/// Connects as soon as a slot is free.
async fn connect_patiently(node: &TestNode) -> tonic::transport::Channel {
    let address = format!("http://{}", node.node.grpc_address());
    soon("a slot", async {
        loop {
            let endpoint = tonic::transport::Endpoint::from_shared(address.clone()).expect("valid");
            if let Ok(channel) = endpoint.connect().await {
                let mut log = v1::log_service_client::LogServiceClient::new(channel.clone());
                if log.init_producer(v1::InitProducerRequest {}).await.is_ok() {
                    return channel;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}
