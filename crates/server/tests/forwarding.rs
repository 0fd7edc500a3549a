//! Clients that only ever talk to a node which leads nothing of what they ask for: it answers all the same, by asking the
//! leader once.

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use harness::clusters::leader;
use harness::{
    TestNode, append, at, batch, bounds, code, data, describe, fetch, idempotent, produce, soon, three_nodes,
    values,
};
use highwater_proto::v1;
use highwater_proto::v1::log_service_client::LogServiceClient;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

fn stranger(nodes: &[TestNode], leader: u64) -> &TestNode {
    nodes.iter().find(|node| node.node.id().0 != leader).expect("there are others")
}

/// A produce stream.
struct Pipeline {
    requests: mpsc::Sender<v1::ProduceStreamRequest>,
    answers: Streaming<v1::ProduceStreamResponse>,
}

impl Pipeline {
    async fn open(log: &mut LogServiceClient<Channel>) -> Self {
        let (requests, receiver) = mpsc::channel(512);
        let opened = soon("the stream", log.produce_stream(ReceiverStream::new(receiver))).await;
        Self { requests, answers: opened.expect("opened").into_inner() }
    }

    async fn send(&mut self, topic: &str, sequence: i32) {
        let request = produce(topic, 0, idempotent(7, sequence, 1).into_bytes());
        let correlation_id = u64::try_from(sequence).expect("from 0");
        let request = v1::ProduceStreamRequest { correlation_id, request: Some(request) };
        self.requests.send(request).await.expect("open");
    }

    /// The sequence that is answered next, and its offset or the code of its error.
    async fn answer(&mut self) -> (i32, Result<i64, String>) {
        let answer = soon("an answer", self.answers.message()).await.expect("lives on").expect("goes on");
        let result = match answer.result.expect("always set") {
            v1::produce_stream_response::Result::Ack(ack) => Ok(ack.base_offset),
            v1::produce_stream_response::Result::Error(error) => Err(error.code),
        };
        (i32::try_from(answer.correlation_id).expect("small"), result)
    }
}

#[tokio::test]
async fn a_node_that_does_not_lead_appends_finds_and_deletes_in_order_through_the_leader() {
    let nodes = three_nodes().await;
    for (topic, replicas) in [("alone", 1), ("replicated", 3)] {
        nodes[0].create_replicated(topic, 1, replicas, &[]).await;
        let leader = leader(&nodes, topic, 0).await;
        let node = stranger(&nodes, leader);
        let mut log = node.log().await;
        let mut pipeline = Pipeline::open(&mut log).await;
        for sequence in 0..200 {
            pipeline.send(topic, sequence).await;
        }
        for sequence in 0..200 {
            assert_eq!(pipeline.answer().await, (sequence, Ok(i64::from(sequence))), "{topic}");
        }
        assert_eq!(append(&mut log, topic, 0, b"200").await, 200);
        assert_eq!(bounds(&mut log, topic, 0).await, Ok((0, 201)));
        let expected: Vec<_> = (0..=200).map(|number: i32| number.to_string().into_bytes()).collect();
        assert_eq!(values(&mut log, topic, 0, 0).await, expected);

        let partitions = vec![v1::DeleteRecordsPartition { partition: 0, before_offset: 5 }];
        let delete = v1::DeleteRecordsRequest { topic: topic.to_owned(), partitions, ..Default::default() };
        let deleted = node.admin().await.delete_records(delete).await.expect("answered").into_inner();
        let expected = v1::delete_records_result::Result::LogStartOffset(5);
        assert_eq!(deleted.results[0].result, Some(expected));
        let offsets = describe(node, topic).await.partitions[0].offsets.expect("told by the leader");
        assert_eq!((offsets.log_start_offset, offsets.high_watermark), (5, 201));
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_fetch_of_several_leaders_waits_for_all_of_them_and_answers_in_its_order() {
    let nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 3, 1, &[]).await;
    for partition in 0..3 {
        leader(&nodes, "orders", partition).await;
    }
    let request = v1::FetchRequest {
        partitions: [2, 0, 1].map(|partition| at("orders", partition, 0)).to_vec(),
        max_wait_ms: 60_000,
        ..v1::FetchRequest::default()
    };
    let mut log = nodes[0].log().await;
    for partition in 0..3 {
        let (mut reader, request) = (nodes[1].log().await, request.clone());
        let from = |asked: &v1::FetchPartition| v1::FetchPartition {
            // What was appended before has been read.
            offset: i64::from(asked.partition < partition),
            ..asked.clone()
        };
        let request = v1::FetchRequest { partitions: request.partitions.iter().map(from).collect(), ..request };
        let waiting = tokio::spawn(async move { reader.fetch(request).await });
        assert_eq!(append(&mut log, "orders", partition, b"news").await, 0);
        let answer = soon("the news", waiting).await.expect("no panic").expect("answered").into_inner();
        let partitions: Vec<_> = answer.results.iter().map(|result| result.partition).collect();
        assert_eq!(partitions, [2, 0, 1]);
        let with_news = answer.results.into_iter().filter_map(|result| {
            let partition = result.partition;
            (!data(result).expect("no error").batches.is_empty()).then_some(partition)
        });
        assert_eq!(with_news.collect::<Vec<_>>(), [partition]);
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_subscription_gets_the_partitions_of_all_leaders_from_one_node() {
    let nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 3, 1, &[]).await;
    for partition in 0..3 {
        leader(&nodes, "orders", partition).await;
    }
    let start = v1::SubscribeStart { topic: "orders".to_owned(), credit_bytes: 1 << 20, ..Default::default() };
    let (requests, receiver) = mpsc::channel(1);
    let message = Some(v1::subscribe_request::Message::Start(start));
    requests.send(v1::SubscribeRequest { message }).await.expect("open");
    let mut reader = nodes[1].log().await;
    let subscribed = soon("it begins", reader.subscribe(ReceiverStream::new(receiver))).await;
    let mut pushes = subscribed.expect("subscribed").into_inner();
    let mut next = async || {
        let message = soon("a push", pushes.message()).await.expect("goes on").expect("a message");
        match message.message.expect("always set") {
            v1::subscribe_response::Message::Push(push) => push,
            v1::subscribe_response::Message::Error(error) => panic!("{error:?}"),
        }
    };
    let mut started = BTreeSet::new();
    for _ in 0..3 {
        let start = next().await;
        assert_eq!(start.charged_bytes, 0);
        started.insert(start.partition);
    }
    assert_eq!(started, BTreeSet::from([0, 1, 2]));
    let mut log = nodes[2].log().await;
    for offset in 0..4 {
        for partition in 0..3 {
            assert_eq!(append(&mut log, "orders", partition, b"news").await, offset);
            let push = next().await;
            assert_eq!((push.partition, push.data.expect("records").next_offset), (partition, offset + 1));
        }
    }
    drop(requests);
    let end = soon("it ends", pushes.message()).await.expect("with OK");
    assert_eq!(end, None);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn what_was_forwarded_is_not_forwarded_again_but_answered_with_the_leader() {
    let nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 1, 3, &[]).await;
    let leader = leader(&nodes, "orders", 0).await;
    let node = stranger(&nodes, leader);
    let mut log = node.log().await;
    // As from a node that takes this one for the leader, while this one knows better.
    fn forwarded<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("highwater-forwarded", "9".parse().expect("text"));
        request
    }
    let refused = log.produce(forwarded(produce("orders", 0, batch(1, 10).into_bytes()))).await;
    let refused = refused.expect_err("not here");
    assert_eq!(code(&refused), "NOT_LEADER");
    let detail = v1::ErrorDetail::from_status(&refused).expect("ours");
    assert_eq!(detail.leader.expect("a hint").node_id, leader);
    assert!(detail.metadata_version > 0);
    let fetched = log.fetch(forwarded(fetch("orders", 0, 0))).await.expect("answered").into_inner();
    assert_eq!(data(fetched.results[0].clone()), Err("NOT_LEADER".to_owned()));
    assert_eq!(bounds(&mut log, "orders", 0).await, Ok((0, 0)), "nothing was appended");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_leader_that_stops_amid_a_forwarded_stream_leaves_nothing_lost_doubled_or_out_of_order() {
    let mut nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 1, 3, &[]).await;
    let first = leader(&nodes, "orders", 0).await;
    let leading = nodes.iter().position(|node| node.node.id().0 == first).expect("it runs");
    let gone = nodes.remove(leading);
    let mut log = nodes[0].log().await;
    let mut pipeline = Pipeline::open(&mut log).await;
    let mut acked = 0;
    while acked < 20 {
        pipeline.send("orders", acked).await;
        assert_eq!(pipeline.answer().await, (acked, Ok(i64::from(acked))));
        acked += 1;
    }
    let stopping = tokio::spawn(gone.stop());
    // Five at a time, as many as a partition remembers; what is not acked is sent again in order.
    soon("all are acked", async {
        while acked < 100 {
            let group = acked..(acked + 5).min(100);
            for sequence in group.clone() {
                pipeline.send("orders", sequence).await;
            }
            for expected in group {
                let (sequence, result) = pipeline.answer().await;
                assert_eq!(sequence, expected, "answers keep their order");
                match result {
                    Ok(offset) => {
                        assert_eq!(offset, i64::from(sequence));
                        acked = acked.max(sequence + 1);
                    }
                    Err(code) => {
                        let expected = [
                            "NOT_LEADER",
                            "LEADER_NOT_AVAILABLE",
                            // A new leader that does not know yet where its log ends.
                            "OFFSET_NOT_AVAILABLE",
                            "UNAVAILABLE",
                            "TIMEOUT",
                            "OUT_OF_ORDER_SEQUENCE_NUMBER",
                        ];
                        assert!(expected.contains(&code.as_str()), "{code}");
                    }
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let expected: Vec<_> = (0..100).map(|number: i32| number.to_string().into_bytes()).collect();
    assert_eq!(values(&mut log, "orders", 0, 0).await, expected);
    soon("it stops", stopping).await.expect("no panic");
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}

#[tokio::test]
async fn another_node_shows_a_change_when_it_is_asked_for_that_version() {
    let nodes = three_nodes().await;
    for number in 0..5 {
        let name = format!("topic-{number}");
        let create = v1::CreateTopicRequest { name: name.clone(), partitions: 1, ..Default::default() };
        let created = nodes[number % 3].admin().await.create_topic(create).await.expect("created").into_inner();
        let min_metadata_version = created.metadata_version;
        let list = v1::ListTopicsRequest { min_metadata_version, ..Default::default() };
        let mut other = nodes[(number + 1) % 3].admin().await;
        let listed = other.list_topics(list).await.expect("listed").into_inner();
        assert!(listed.metadata_version >= min_metadata_version);
        assert!(listed.topics.iter().any(|topic| topic.name == name), "{listed:?}");
    }
    for node in nodes {
        node.stop().await;
    }
}
