//! Consumers that are members by one stream, through whatever node: what they are given, commit and hand over, and what becomes of it when
//! they, leaders or coordinators go.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use harness::clusters::leader;
use harness::sessions::{Session, groups, start};
use harness::{TestNode, append, code, produce, soon, three_nodes};
use highwater_proto::v1;
use highwater_proto::v1::group_session_request::Message as Said;
use highwater_records::BatchBuilder;
use highwater_server::NodeConfig;
use highwater_types::TimestampMs;
use tokio::time::{Instant, sleep};
use tonic::Status;

/// One node whose groups have this session timeout, and a topic "orders" of four partitions.
async fn node_with_orders(session_timeout: Duration) -> TestNode {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = TestNode::start_in(directory, |config| NodeConfig {
        groups: config.groups.clone().with_session_timeout(session_timeout),
        ..config
    })
    .await;
    node.create("orders", 4, &[]).await;
    node
}

/// Appends so many records, each to the next partition of four, from this number on. Each is its number.
async fn append_numbers(node: &TestNode, numbers: std::ops::Range<u32>) {
    let mut log = node.log().await;
    for number in numbers {
        let request = produce("orders", number % 4, batch_of(number));
        soon("the record is appended", async {
            while let Err(status) = log.produce(request.clone()).await {
                let unsent = ["NOT_LEADER", "LEADER_NOT_AVAILABLE", "UNAVAILABLE"];
                assert!(unsent.contains(&code(&status).as_str()), "{status:?}");
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

fn batch_of(number: u32) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(None, Some(&number.to_be_bytes()), &[], TimestampMs::NONE).expect("fits");
    builder.build().expect("not empty").into_bytes()
}

fn numbers(numbers: std::ops::Range<u32>) -> BTreeSet<Vec<u8>> {
    numbers.map(|number| number.to_be_bytes().to_vec()).collect()
}

/// What a group has committed.
async fn committed(node: &TestNode, group: &str) -> BTreeMap<u32, i64> {
    let request = v1::FetchOffsetsRequest { group: group.to_owned(), topics: Vec::new() };
    let answer = groups(node).await.fetch_offsets(request).await.expect("answered").into_inner();
    answer.offsets.into_iter().map(|offset| (offset.partition, offset.offset.expect("committed"))).collect()
}

/// Has two sessions share: each gives up what it is to as soon as it hears of it.
async fn share(first: &mut Session, second: &mut Session) {
    while first.owned.len() != 2 || second.owned.len() != 2 {
        let session = tokio::select! {
            heard = first.hear() => heard.map(|()| &mut *first),
            heard = second.hear() => heard.map(|()| &mut *second),
        };
        let session = session.expect("it stays a member");
        if !session.revoked.is_empty() {
            session.release();
        }
    }
}

#[tokio::test]
async fn a_session_gets_all_records_of_all_leaders_and_the_next_goes_on_where_it_committed() {
    let nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 4, 3, &[]).await;
    append_numbers(&nodes[0], 0..40).await;
    for (turn, node) in nodes.iter().enumerate() {
        let turn = u32::try_from(turn).expect("few");
        let all = numbers(turn * 40..(turn + 1) * 40);
        let mut session = Session::open(node, start("g", &["orders"])).await;
        session.until("every record comes", |session| session.values() == all).await;
        assert_eq!(session.records.len(), 40, "each comes once");
        session.commit_all().await;
        append_numbers(&nodes[0], (turn + 1) * 40..(turn + 2) * 40).await;
        let more = numbers(turn * 40..(turn + 2) * 40);
        session.until("what comes later comes too", |session| session.values() == more).await;
        session.half_close();
        session.end().await.expect("it left");
        assert_eq!(committed(node, "g").await, (0..4).map(|n| (n, i64::from(turn + 1) * 10)).collect());
    }
}

#[tokio::test]
async fn two_sessions_share_and_the_second_begins_where_the_first_committed() {
    let node = node_with_orders(Duration::from_secs(15)).await;
    append_numbers(&node, 0..20).await;
    let mut first = Session::open(&node, start("g", &["orders"])).await;
    first.until("every record comes", |session| session.records.len() == 20).await;
    let mut second = Session::open(&node, start("g", &["orders"])).await;
    first.until("it is to give something up", |session| session.revoked.len() == 2).await;
    // What it says in a row is done in a row: the commit counts, though the release follows at once.
    let given_up: Vec<_> = first.revoked.iter().map(|partition| (*partition, 5)).collect();
    first.say_commit(7, &given_up);
    first.release();
    second.until("it has its share", |session| session.owned.len() == 2).await;
    assert_eq!(second.owned.iter().map(|(p, next)| (*p, *next)).collect::<Vec<_>>(), given_up);
    assert_eq!(first.commit(&given_up).await, vec![Some("STALE_MEMBER".to_owned()); 2]);
    append_numbers(&node, 20..40).await;
    first.until("its share comes", |session| session.records.len() == 30).await;
    second.until("its share comes", |session| session.records.len() == 10).await;
    let both = first.values().union(&second.values()).cloned().collect::<BTreeSet<_>>();
    assert_eq!(both, numbers(0..40));
}

#[tokio::test]
async fn who_half_closes_hands_over_at_once_and_what_it_committed_last_counts() {
    let node = node_with_orders(Duration::from_secs(60)).await;
    append_numbers(&node, 0..20).await;
    let mut first = Session::open(&node, start("g", &["orders"])).await;
    let mut second = Session::open(&node, start("g", &["orders"])).await;
    share(&mut first, &mut second).await;
    first.until("its records come", |session| session.owned.values().all(|next| *next == 5)).await;
    let last: Vec<_> = first.owned.keys().map(|partition| (*partition, 5)).collect();
    first.say_commit(1, &last);
    first.half_close();
    let began = Instant::now();
    second.until("it has all", |session| session.owned.len() == 4).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    first.end().await.expect("it left");
    assert_eq!(first.committed.len(), 1, "its last commit is answered");
    for (partition, _) in last {
        assert_eq!(second.owned[&partition], 5);
    }
}

#[tokio::test]
async fn a_session_that_breaks_off_is_taken_up_under_its_id_and_nothing_moves() {
    let node = node_with_orders(Duration::from_secs(60)).await;
    append_numbers(&node, 0..20).await;
    let mut first = Session::open(&node, start("g", &["orders"])).await;
    let mut second = Session::open(&node, start("g", &["orders"])).await;
    share(&mut first, &mut second).await;
    first.until("its records come", |session| session.owned.values().all(|next| *next == 5)).await;
    first.commit_all().await;
    let (member_id, owned) = (first.member_id.clone(), first.owned.clone());
    drop(first);
    let again = v1::GroupSessionStart { member_id: member_id.clone(), ..start("g", &["orders"]) };
    let mut first = Session::open(&node, again).await;
    assert_eq!(first.member_id, member_id);
    first.until("it has what it had", |session| session.owned.len() == 2).await;
    assert_eq!(first.owned, owned);
    append_numbers(&node, 20..40).await;
    first.until("its records come", |session| session.records.len() == 10).await;
    second.until("its records come", |session| session.records.len() == 20).await;
    assert_eq!((second.owned.len(), second.revoked.len()), (2, 0), "the other noticed nothing");
}

#[tokio::test]
async fn a_session_that_breaks_off_and_stays_away_is_replaced_after_the_session_timeout() {
    let node = node_with_orders(Duration::from_secs(1)).await;
    let mut first = Session::open(&node, start("g", &["orders"])).await;
    let mut second = Session::open(&node, start("g", &["orders"])).await;
    share(&mut first, &mut second).await;
    drop(first);
    second.until("it has all", |session| session.owned.len() == 4).await;
}

#[tokio::test]
async fn who_does_not_release_in_time_loses_everything_and_joins_again() {
    let node = node_with_orders(Duration::from_secs(60)).await;
    append_numbers(&node, 0..20).await;
    let quick = v1::GroupSessionStart { rebalance_timeout_ms: 1000, ..start("g", &["orders"]) };
    let mut busy = Session::open(&node, quick).await;
    busy.until("every record comes", |session| session.records.len() == 20).await;
    let mut second = Session::open(&node, start("g", &["orders"])).await;
    busy.until("it lost all", |session| session.lost.len() == 4).await;
    share(&mut busy, &mut second).await;
    assert!(busy.owned.keys().all(|partition| !second.owned.contains_key(partition)));
}

#[tokio::test]
async fn a_member_that_somebody_removed_loses_everything_and_comes_back_under_another_id() {
    let node = node_with_orders(Duration::from_secs(15)).await;
    let mut session = Session::open(&node, start("g", &["orders"])).await;
    session.until("it has all", |session| session.owned.len() == 4).await;
    let member_id = session.member_id.clone();
    let request =
        v1::LeaveGroupRequest { group: "g".to_owned(), member_id: member_id.clone(), ..Default::default() };
    groups(&node).await.leave_group(request).await.expect("removed");
    session.until("it is another", |session| session.member_id != member_id).await;
    session.until("it has all", |session| session.lost.len() == 4 && session.owned.len() == 4).await;
    append_numbers(&node, 0..4).await;
    session.until("it goes on", |session| session.records.len() == 4).await;
    session.commit_all().await;
}

#[tokio::test]
async fn records_come_as_far_as_there_is_credit() {
    let node = node_with_orders(Duration::from_secs(15)).await;
    let mut log = node.log().await;
    for number in 0..20_u32 {
        append(&mut log, "orders", number % 4, &[7; 1000]).await;
    }
    let wanted = v1::GroupSessionStart { credit_bytes: 0, max_push_bytes: 1500, ..start("g", &["orders"]) };
    let mut session = Session::open(&node, wanted).await;
    session.until("it knows where all start", |session| session.owned.len() == 4).await;
    for records in 1..=20 {
        // A record takes more than there is, and the next waits until that is made good.
        session.say(Said::Credit(v1::SubscribeCredit { bytes: 1 }));
        session.until("one record comes", |session| session.records.len() == records).await;
        session.commit(&[]).await;
        assert_eq!(session.records.len(), records, "no more than there was credit for");
        session.say(Said::Credit(v1::SubscribeCredit { bytes: session.charged_bytes - 1 }));
    }
}

#[tokio::test]
async fn partitions_that_nothing_is_committed_of_start_where_the_consumer_wants() {
    let node = node_with_orders(Duration::from_secs(15)).await;
    append_numbers(&node, 0..20).await;
    let latest = v1::StartPosition {
        position: Some(v1::start_position::Position::Named(v1::NamedPosition::Latest.into())),
    };
    let wanted = v1::GroupSessionStart { position: Some(latest), ..start("g", &["orders"]) };
    let mut session = Session::open(&node, wanted).await;
    session.until("it knows where all start", |session| session.owned.len() == 4).await;
    assert!(session.owned.values().all(|next| *next == 5), "{:?}", session.owned);
    // What was committed and does not exist any more gives way to what does.
    session.commit_all().await;
    session.half_close();
    session.end().await.expect("it left");
    append_numbers(&node, 20..28).await;
    let delete = v1::DeleteRecordsRequest {
        topic: "orders".to_owned(),
        partitions: vec![v1::DeleteRecordsPartition { partition: 2, before_offset: 6 }],
        ..Default::default()
    };
    node.admin().await.delete_records(delete).await.expect("deleted");
    let mut session = Session::open(&node, start("g", &["orders"])).await;
    session.until("it knows where all start", |session| session.owned.len() == 4).await;
    session.until("the rest comes", |session| session.records.len() == 7).await;
    assert!(session.owned.values().all(|next| *next == 7), "{:?}", session.owned);
}

#[tokio::test]
async fn a_leader_that_dies_holds_its_partitions_up_until_another_leads() {
    let mut nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 4, 3, &[]).await;
    append_numbers(&nodes[0], 0..20).await;
    let mut of_partition = Vec::new();
    for partition in 0..4 {
        of_partition.push(leader(&nodes, "orders", partition).await);
    }
    // The session is at a node that leads not all of them, and another one dies that leads some.
    let dies = nodes.iter().position(|node| of_partition.contains(&node.node.id().0)).expect("somebody leads");
    let at = (dies + 1) % 3;
    let mut session = Session::open(&nodes[at], start("g", &["orders"])).await;
    session.until("every record comes", |session| session.records.len() == 20).await;
    let dead = nodes.swap_remove(dies);
    let directory = dead.stop().await;
    append_numbers(&nodes[0], 20..40).await;
    let all = numbers(0..40);
    session.until("every record comes", |session| session.values() == all).await;
    assert_eq!(session.records.len(), 40, "each comes once");
    assert!(session.lost.is_empty() && session.revoked.is_empty());
    session.commit_all().await;
    drop(directory);
}

#[tokio::test]
async fn a_coordinator_that_dies_takes_no_partitions_with_it() {
    let mut nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 4, 3, &[]).await;
    append_numbers(&nodes[0], 0..20).await;
    let mut probe = Session::open(&nodes[0], start("g", &["orders"])).await;
    probe.until("every record comes", |session| session.records.len() == 20).await;
    probe.half_close();
    probe.end().await.expect("it left");
    let request = v1::DescribeGroupRequest { group: "g".to_owned(), include_lag: false };
    let described = groups(&nodes[0]).await.describe_group(request).await.expect("known").into_inner();
    let place = nodes.iter().position(|node| node.node.id().0 == described.coordinator_node_id);
    let dies = place.expect("one of them");
    let mut session = Session::open(&nodes[(dies + 1) % 3], start("g", &["orders"])).await;
    session.until("every record comes", |session| session.records.len() == 20).await;
    let dead = nodes.swap_remove(dies);
    let directory = dead.stop().await;
    session.commit_all().await;
    append_numbers(&nodes[0], 20..40).await;
    session.until("every record comes", |session| session.records.len() == 40).await;
    assert!(session.lost.is_empty() && session.revoked.is_empty());
    assert_eq!(committed(&nodes[0], "g").await, (0..4).map(|n| (n, 5)).collect());
    drop(directory);
}

#[tokio::test]
async fn partitions_that_come_and_topics_that_go_are_followed() {
    let node = node_with_orders(Duration::from_secs(15)).await;
    let mut session = Session::open(&node, start("g", &["orders", "later"])).await;
    session.until("it has all", |session| session.owned.len() == 4).await;
    let add =
        v1::AddPartitionsRequest { topic: "orders".to_owned(), total_partitions: 6, ..Default::default() };
    node.admin().await.add_partitions(add).await.expect("added");
    session.until("it has the new ones", |session| session.owned.len() == 6).await;
    let delete = v1::DeleteTopicRequest { topic: "orders".to_owned(), ..Default::default() };
    node.admin().await.delete_topic(delete).await.expect("deleted");
    session.until("all are lost", |session| session.lost.len() == 6).await;
    node.create("orders", 1, &[]).await;
    session.until("the new topic is read", |session| session.owned.len() == 1).await;
    append(&mut node.log().await, "orders", 0, b"first").await;
    session.until("its record comes", |session| session.records.len() == 1).await;
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_session_with_the_reason() {
    let node = node_with_orders(Duration::from_secs(15)).await;
    let refused = async |start| code(&Session::try_open(&node, start).await.err().expect("refused"));
    assert_eq!(refused(start("", &["orders"])).await, "INVALID_REQUEST");
    assert_eq!(refused(start("g", &[])).await, "INVALID_REQUEST");
    assert_eq!(refused(start("g", &["or ders"])).await, "INVALID_TOPIC_NAME");
    let good = || start("g", &["orders"]);
    assert_eq!(refused(v1::GroupSessionStart { format: 9, ..good() }).await, "INVALID_REQUEST");
    assert_eq!(refused(v1::GroupSessionStart { assignor: 9, ..good() }).await, "UNSUPPORTED");
    assert_eq!(
        refused(v1::GroupSessionStart { member_id: "m".repeat(300), ..good() }).await,
        "INVALID_REQUEST"
    );
    let slow = v1::GroupSessionStart { rebalance_timeout_ms: u32::MAX, ..good() };
    assert_eq!(refused(slow).await, "INVALID_REQUEST");

    let ended = async |mut session: Session| -> Status { session.end().await.expect_err("refused") };
    let credit = Said::Credit(v1::SubscribeCredit { bytes: 1 });
    let wrong = Session::begin(&node, credit, String::new()).await.expect("open");
    assert_eq!(code(&ended(wrong).await), "INVALID_REQUEST");
    let twice = Session::open(&node, good()).await;
    twice.say(Said::Start(good()));
    assert_eq!(code(&ended(twice).await), "INVALID_REQUEST");

    let with_place = || v1::GroupSessionStart { instance_id: "place".to_owned(), ..start("h", &["orders"]) };
    let mut holder = Session::open(&node, with_place()).await;
    assert_eq!(refused(with_place()).await, "INSTANCE_IN_USE");
    // It leaves for a while, and the next one has its place and what it had.
    holder.until("it has all", |session| session.owned.len() == 4).await;
    holder.half_close();
    holder.end().await.expect("it left");
    let mut next = Session::open(&node, with_place()).await;
    next.until("it has all", |session| session.owned.len() == 4).await;
}

#[tokio::test]
async fn a_node_that_stops_says_so_and_another_takes_the_session_up() {
    let mut nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 4, 3, &[]).await;
    append_numbers(&nodes[0], 0..20).await;
    let mut session = Session::open(&nodes[2], start("g", &["orders"])).await;
    session.until("every record comes", |session| session.records.len() == 20).await;
    session.commit_all().await;
    let again = v1::GroupSessionStart { member_id: session.member_id.clone(), ..start("g", &["orders"]) };
    let stopping = nodes.remove(2);
    let (directory, status) = tokio::join!(stopping.stop(), session.end());
    assert_eq!(code(&status.expect_err("the node stops")), "UNAVAILABLE");
    let mut session = Session::open(&nodes[0], again).await;
    append_numbers(&nodes[0], 20..40).await;
    session.until("the rest comes", |session| session.records.len() == 20).await;
    assert_eq!(session.values(), numbers(20..40));
    drop(directory);
}
