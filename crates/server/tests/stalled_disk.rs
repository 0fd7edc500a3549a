//! A disk whose syncs stand still: what is sent beyond a lane's room is refused with `THROTTLED`
//! and not written, the stream's other requests are answered, and all goes on when the disk does.

mod harness;

use harness::gated_disk::GatedDisk;
use harness::over_store::{open, serve};
use harness::{append, batch, bounds, produce, soon};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_storage::journal::JournalOptions;
use highwater_types::{ClusterId, SystemRandom, limits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_stands_still_is_throttled_and_holds_up_no_other_request_of_its_stream() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, gate) = GatedDisk::new(directory.path());
    let store = open(disk, JournalOptions::default());
    let channel = serve(store, ClusterId::draw(&SystemRandom)).await;
    let mut log = LogServiceClient::new(channel.clone());
    let create = v1::CreateTopicRequest { name: "orders".into(), ..Default::default() };
    AdminServiceClient::new(channel).create_topic(create).await.expect("created");
    assert_eq!(append(&mut log, "orders", 0, b"first").await, 0);

    gate.close();
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

    gate.open();
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
