//! What goes in comes out: over gRPC, over a restart, by offset, by time, by push.

mod harness;

use futures_util::stream;
use harness::{TestNode, at, batch, code, data, fetch, idempotent, produce, soon};
use highwater_proto::v1;
use highwater_records::split_batches;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use v1::subscribe_request::Message;

#[tokio::test]
async fn an_acked_batch_is_read_back_byte_for_byte_also_after_a_restart() {
    let node = TestNode::start().await;
    let id = node.create("orders", 2, &[]).await;
    let sent = batch(3, 100);
    let acked = node.log().await.produce(produce("orders", 1, sent.bytes().clone())).await;
    let acked = acked.expect("appended").into_inner();
    assert_eq!((acked.base_offset, acked.last_offset, acked.log_start_offset), (0, 2, 0));

    let node = node.restart().await;
    let fetched = node.log().await.fetch(fetch("orders", 1, 0)).await.expect("read").into_inner();
    let [result] = <[_; 1]>::try_from(fetched.results).expect("one result");
    assert_eq!(result.topic_id, id);
    let data = data(result).expect("records");
    assert_eq!((data.next_offset, data.high_watermark), (3, 3));
    let run = data.batches.concat();
    let [stored] = <[_; 1]>::try_from(split_batches(run.into()).collect::<Vec<_>>()).expect("one");
    // All but the base offset and the leader epoch, which the checksum leaves out.
    assert_eq!(stored.expect("whole").bytes()[16..], sent.bytes()[16..]);
    node.node.shutdown().await.expect("a clean end");
}

#[tokio::test]
async fn structured_records_come_back_with_their_offsets_keys_and_headers() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let record = v1::Record {
        key: Some("k".into()),
        value: Some("v".into()),
        headers: vec![v1::Header { key: "h".into(), value: None }],
        timestamp_ms: Some(1_700_000_000_000),
        offset: None,
    };
    let tombstone = v1::Record { value: None, ..record.clone() };
    let list = v1::RecordList { records: vec![record.clone(), tombstone.clone()] };
    let request = v1::ProduceRequest {
        data: Some(v1::produce_request::Data::Records(list)),
        ..produce("orders", 0, vec![])
    };
    let mut log = node.log().await;
    log.produce(request).await.expect("appended");
    let mut wanted = fetch("orders", 0, 1);
    wanted.format = v1::RecordFormat::Records.into();
    let fetched = log.fetch(wanted).await.expect("read").into_inner();
    let read = data(fetched.results.into_iter().next().expect("one")).expect("records");
    assert_eq!(read.records, [v1::Record { offset: Some(1), ..tombstone }]);
}

#[tokio::test]
async fn offsets_are_found_by_place_and_by_time() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    for time in [1_000, 3_000, 2_000] {
        let record = v1::Record { timestamp_ms: Some(time), ..v1::Record::default() };
        let list = v1::RecordList { records: vec![record] };
        let data = Some(v1::produce_request::Data::Records(list));
        log.produce(v1::ProduceRequest { data, ..produce("orders", 0, vec![]) }).await.expect("ok");
    }
    use v1::offset_query::Query;
    let place = |place: v1::OffsetPlace| Query::Place(place.into());
    let queries = [
        (place(v1::OffsetPlace::Earliest), (Some(0), None)),
        (place(v1::OffsetPlace::Latest), (Some(3), None)),
        (place(v1::OffsetPlace::MaxTimestamp), (Some(1), Some(3_000))),
        (Query::TimestampMs(1_500), (Some(1), Some(3_000))),
        (Query::TimestampMs(3_001), (None, None)),
    ];
    let request = v1::ListOffsetsRequest {
        topic: "orders".into(),
        queries: queries
            .iter()
            .map(|(query, _)| v1::OffsetQuery { partition: 0, query: Some(*query) })
            .collect(),
        ..Default::default()
    };
    let answer = log.list_offsets(request).await.expect("answered").into_inner();
    for (result, (query, expected)) in answer.results.into_iter().zip(queries) {
        let Some(v1::offset_result::Result::Found(found)) = result.result else {
            panic!("{query:?} failed: {result:?}");
        };
        assert_eq!((found.offset, found.timestamp_ms), expected, "{query:?}");
    }
}

#[tokio::test]
async fn a_long_poll_is_answered_by_what_comes_in_on_any_of_its_partitions() {
    let node = TestNode::start().await;
    node.create("orders", 2, &[]).await;
    let mut reader = node.log().await;
    let request = v1::FetchRequest {
        partitions: vec![at("orders", 0, 0), at("orders", 1, 0)],
        max_wait_ms: 300_000,
        min_bytes: 150,
        ..Default::default()
    };
    let polling = tokio::spawn(async move { reader.fetch(request).await });
    let mut log = node.log().await;
    // Neither of the two is enough alone.
    log.produce(produce("orders", 0, batch(1, 20).into_bytes())).await.expect("appended");
    log.produce(produce("orders", 1, batch(1, 20).into_bytes())).await.expect("appended");
    let polled = soon("the long poll", polling).await.expect("no panic").expect("answered");
    let bytes: usize = polled
        .into_inner()
        .results
        .into_iter()
        .flat_map(|result| data(result).expect("records").batches)
        .map(|run| run.len())
        .sum();
    assert!(bytes >= 150, "{bytes}");
}

#[tokio::test]
async fn a_long_poll_whose_time_passes_is_answered_with_what_there_is() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    log.produce(produce("orders", 0, batch(1, 10).into_bytes())).await.expect("appended");
    let mut request = fetch("orders", 0, 0);
    (request.min_bytes, request.max_wait_ms) = (1 << 20, 50);
    let polled = log.fetch(request).await.expect("answered").into_inner();
    let data = data(polled.results.into_iter().next().expect("one")).expect("records");
    assert_eq!(data.next_offset, 1);
}

#[tokio::test]
async fn a_fetch_keeps_to_its_bytes_and_still_makes_progress() {
    let node = TestNode::start().await;
    node.create("orders", 2, &[]).await;
    let mut log = node.log().await;
    for partition in [0, 0, 1, 1] {
        log.produce(produce("orders", partition, batch(1, 1000).into_bytes())).await.expect("ok");
    }
    let request = v1::FetchRequest {
        partitions: vec![at("orders", 0, 0), at("orders", 1, 0)],
        max_bytes: 100,
        min_bytes: 10_000,
        max_wait_ms: 300_000,
        ..Default::default()
    };
    let answer = soon("the fetch", log.fetch(request)).await.expect("answered").into_inner();
    let next: Vec<_> =
        answer.results.into_iter().map(|result| data(result).expect("records").next_offset).collect();
    assert_eq!(next, [1, 0], "one batch of the first, none of the second");
}

#[tokio::test]
async fn a_subscription_resumes_where_it_was_cut_without_gap_or_repeat() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    for _ in 0..10 {
        log.produce(produce("orders", 0, batch(1, 100).into_bytes())).await.expect("appended");
    }
    let mut position = 0;
    let mut seen = Vec::new();
    while seen.len() < 10 {
        // Credit for about two batches, then the stream is dropped.
        let start = v1::SubscribeStart {
            topic: "orders".into(),
            position: Some(v1::StartPosition {
                position: Some(v1::start_position::Position::Offset(position)),
            }),
            credit_bytes: 200,
            max_push_bytes: 1,
            format: v1::RecordFormat::Records.into(),
            ..Default::default()
        };
        let start = v1::SubscribeRequest { message: Some(Message::Start(start)) };
        let (sender, receiver) = mpsc::channel(4);
        sender.send(start).await.expect("open");
        let mut pushes = log.subscribe(ReceiverStream::new(receiver)).await.expect("subscribed").into_inner();
        let mut credit = 200_i64;
        let mut is_first = true;
        while is_first || (credit > 0 && seen.len() < 10) {
            let push = soon("a push", pushes.message()).await.expect("no error").expect("goes on");
            let Some(v1::subscribe_response::Message::Push(push)) = push.message else {
                panic!("an error: {push:?}");
            };
            let data = push.data.expect("always set");
            credit -= i64::try_from(push.charged_bytes).expect("small");
            seen.extend(data.records.iter().filter_map(|record| record.offset));
            assert!(!is_first || (data.records.is_empty() && data.next_offset == position));
            position = data.next_offset;
            is_first = false;
        }
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_subscription_waits_for_credit_and_for_records() {
    let node = TestNode::start().await;
    node.create("orders", 2, &[]).await;
    let mut log = node.log().await;
    let (sender, receiver) = mpsc::channel(4);
    let start = v1::SubscribeStart { topic: "orders".into(), ..Default::default() };
    sender.send(v1::SubscribeRequest { message: Some(Message::Start(start)) }).await.expect("open");
    let mut pushes = log.subscribe(ReceiverStream::new(receiver)).await.expect("subscribed").into_inner();
    for _ in 0..2 {
        let push = soon("a start", pushes.message()).await.expect("no error").expect("goes on");
        let Some(v1::subscribe_response::Message::Push(push)) = push.message else { panic!() };
        assert_eq!((push.charged_bytes, push.data.expect("set").next_offset), (0, 0));
    }
    log.produce(produce("orders", 1, batch(1, 10).into_bytes())).await.expect("appended");
    let credit = Message::Credit(v1::SubscribeCredit { bytes: 1 });
    sender.send(v1::SubscribeRequest { message: Some(credit) }).await.expect("open");
    let push = soon("a push", pushes.message()).await.expect("no error").expect("goes on");
    let Some(v1::subscribe_response::Message::Push(push)) = push.message else { panic!() };
    assert_eq!((push.partition, push.data.expect("set").next_offset), (1, 1));
    drop(sender);
    assert!(soon("the end", pushes.message()).await.expect("ends with OK").is_none());
}

#[tokio::test]
async fn a_deleted_topic_ends_its_subscription_in_band_and_its_name_is_free() {
    let node = TestNode::start().await;
    let first = node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    let start = v1::SubscribeStart { topic: "orders".into(), credit_bytes: 1, ..Default::default() };
    let (sender, receiver) = mpsc::channel(4);
    sender.send(v1::SubscribeRequest { message: Some(Message::Start(start)) }).await.expect("open");
    let mut pushes = log.subscribe(ReceiverStream::new(receiver)).await.expect("subscribed").into_inner();
    soon("the start", pushes.message()).await.expect("no error").expect("goes on");
    let delete = v1::DeleteTopicRequest { topic: "orders".into(), ..Default::default() };
    node.admin().await.delete_topic(delete).await.expect("deleted");
    let push = soon("the error", pushes.message()).await.expect("in band").expect("goes on");
    let Some(v1::subscribe_response::Message::Error(error)) = push.message else { panic!("{push:?}") };
    assert_eq!((error.code.as_str(), error.partition), ("UNKNOWN_TOPIC_OR_PARTITION", Some(0)));
    assert!(soon("the end", pushes.message()).await.expect("ends with OK").is_none());

    let second = node.create("orders", 1, &[]).await;
    assert_ne!(first, second);
    let mut stale = produce("orders", 0, batch(1, 1).into_bytes());
    stale.topic_id = first;
    let refused = log.produce(stale).await.expect_err("another topic");
    assert_eq!(code(&refused), "UNKNOWN_TOPIC_ID");
}

#[tokio::test]
async fn pipelined_batches_of_a_partition_are_appended_and_answered_in_order() {
    let node = TestNode::start().await;
    node.create("orders", 3, &[]).await;
    let mut log = node.log().await;
    let producer = log.init_producer(v1::InitProducerRequest {}).await.expect("an id").into_inner();
    let requests: Vec<_> = (0..300_u64)
        .map(|number| {
            let partition = u32::try_from(number % 3).expect("small");
            let sequence = i32::try_from(number / 3).expect("small");
            let batch = idempotent(producer.producer_id, sequence, 1);
            v1::ProduceStreamRequest {
                correlation_id: number,
                request: Some(produce("orders", partition, batch.into_bytes())),
            }
        })
        .collect();
    let mut answers = log.produce_stream(stream::iter(requests)).await.expect("opened").into_inner();
    let mut offsets = [Vec::new(), Vec::new(), Vec::new()];
    while let Some(answer) = soon("an answer", answers.message()).await.expect("no error") {
        let Some(v1::produce_stream_response::Result::Ack(ack)) = answer.result else {
            panic!("refused: {answer:?}");
        };
        offsets[usize::try_from(answer.correlation_id % 3).expect("small")]
            .push((answer.correlation_id / 3, ack.base_offset));
    }
    for partition in offsets {
        let expected: Vec<_> = (0..100).map(|n: u64| (n, i64::try_from(n).expect("small"))).collect();
        assert_eq!(partition, expected);
    }
}

#[tokio::test]
async fn a_batch_sent_again_is_answered_with_the_offsets_of_the_first_also_after_a_restart() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let sent = idempotent(7, 0, 2).into_bytes();
    let first = node.log().await.produce(produce("orders", 0, sent.clone())).await.expect("appended");
    let node = node.restart().await;
    let again = node.log().await.produce(produce("orders", 0, sent)).await.expect("answered");
    assert_eq!(first.into_inner().base_offset, again.into_inner().base_offset);
    let fetched = node.log().await.fetch(fetch("orders", 0, 0)).await.expect("read").into_inner();
    let data = data(fetched.results.into_iter().next().expect("one")).expect("records");
    assert_eq!(data.high_watermark, 2);
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice_over_a_restart() {
    let mut node = TestNode::start().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let mut log = node.log().await;
        for _ in 0..3 {
            let given = log.init_producer(v1::InitProducerRequest {}).await.expect("an id");
            assert!(seen.insert(given.into_inner().producer_id));
        }
        node = node.restart().await;
    }
}

#[tokio::test]
async fn a_producer_id_that_the_partition_does_not_know_starts_at_zero_and_is_followed_from_there() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    let mut send = async |sequence, records| {
        let request = produce("orders", 0, idempotent(77, sequence, records).into_bytes());
        let sent = log.produce(request).await;
        sent.map(|acked| acked.into_inner().base_offset).map_err(|status| code(&status))
    };
    assert_eq!(send(500, 3).await, Err("UNKNOWN_PRODUCER_ID".to_owned()), "its first batch may yet come");
    assert_eq!(send(0, 3).await, Ok(0));
    assert_eq!(send(0, 3).await, Ok(0), "sent again");
    assert_eq!(send(3, 1).await, Ok(3));
    assert_eq!(send(600, 1).await, Err("OUT_OF_ORDER_SEQUENCE_NUMBER".to_owned()), "a gap");
}

#[tokio::test]
async fn a_subscriber_with_more_credit_than_it_reads_is_held_back_and_misses_nothing() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    node.create("others", 1, &[]).await;
    let mut log = node.log().await;
    for _ in 0..40 {
        log.produce(produce("orders", 0, batch(1, 900_000).into_bytes())).await.expect("appended");
    }
    let (sender, receiver) = mpsc::channel(1);
    let start = v1::SubscribeStart { topic: "orders".into(), credit_bytes: u64::MAX, ..Default::default() };
    sender.send(v1::SubscribeRequest { message: Some(Message::Start(start)) }).await.expect("open");
    // Credit beyond what 64 bits hold is no way to break it.
    let credit = v1::SubscribeCredit { bytes: u64::MAX };
    let mut reader = node.log().await;
    let mut pushes = reader.subscribe(ReceiverStream::new(receiver)).await.expect("subscribed").into_inner();
    sender.send(v1::SubscribeRequest { message: Some(Message::Credit(credit)) }).await.expect("open");
    // It reads nothing for now. Others are served meanwhile.
    for _ in 0..20 {
        log.produce(produce("others", 0, batch(1, 900_000).into_bytes())).await.expect("appended");
    }
    let mut expected = 0;
    while expected < 40 {
        let pushed = soon("a push", pushes.message()).await.expect("lives on").expect("goes on");
        let Some(v1::subscribe_response::Message::Push(push)) = pushed.message else { panic!("{pushed:?}") };
        let data = push.data.expect("always set");
        let batches = data.batches.iter().flat_map(|run| split_batches(run.clone()));
        for batch in batches {
            assert_eq!(batch.expect("whole").header().base_offset.0, expected, "no gap and no repeat");
            expected += 1;
        }
        assert_eq!(data.next_offset, expected);
    }
}
