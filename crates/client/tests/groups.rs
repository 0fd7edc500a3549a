//! Members of a group against nodes with a real coordinator in memory: each record is processed, partitions go where they should,
//! and nobody commits what it did not process.

mod fake;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::coordination::Out;
use fake::{FakeNode, Running, within_a_minute};
use highwater_client::{
    Client, ClientError, CommitMode, GroupConsumer, GroupConsumerConfig, GroupRecord, OffsetCommit,
    RebalanceListener, Revocation, StartPosition, TopicPartition,
};
use highwater_records::BatchBuilder;
use highwater_types::{ErrorCode, Offset, PartitionIndex, TimestampMs};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

const GROUP: &str = "g";

/// A node whose partitions hold batches of three records each.
async fn filled(partitions: usize, batches: usize) -> (FakeNode, Running) {
    let node = FakeNode::new(partitions);
    for partition in 0..partitions {
        for _ in 0..batches {
            append(&node, partition);
        }
    }
    let running = node.start().await;
    (node, running)
}

fn append(node: &FakeNode, partition: usize) {
    let mut state = node.state();
    let mut builder = BatchBuilder::new();
    for number in 0..3 {
        let value = (state.partitions[partition].end + number).to_string();
        builder.append(None, Some(value.as_bytes()), &[], TimestampMs(1)).expect("a small record");
    }
    let bytes = builder.build().expect("a batch").into_bytes();
    state.partitions[partition].append(bytes).expect("appended");
    node.changed.notify_waiters();
}

fn config(client_id: &str) -> GroupConsumerConfig {
    GroupConsumerConfig {
        client_id: client_id.to_owned(),
        commit: CommitMode::OnNext { interval: Duration::from_millis(20) },
        ..GroupConsumerConfig::new(GROUP, ["t"])
    }
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition::new("t", PartitionIndex(index))
}

/// Writes down what it is told.
#[derive(Debug, Clone)]
struct Told {
    lines: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
}

impl Told {
    fn new(node: &FakeNode) -> Self {
        Self { lines: Arc::default(), changed: Arc::clone(&node.changed) }
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Of how many partitions it was told that.
    fn count(&self, what: &str) -> usize {
        let all = self.all();
        let told = all.iter().filter_map(|line| line.strip_prefix(what));
        told.map(|partitions| partitions.split_whitespace().count()).sum()
    }

    fn write(&self, what: &str, partitions: &[TopicPartition]) {
        let partitions: Vec<_> = partitions.iter().map(|of| of.partition.to_string()).collect();
        self.lines.lock().expect("no panic").push(format!("{what} {}", partitions.join(" ")));
        self.changed.notify_waiters();
    }
}

impl RebalanceListener for Told {
    async fn on_assigned(&mut self, partitions: &[TopicPartition]) {
        self.write("assigned", partitions);
    }

    async fn on_revoked(&mut self, revocation: Revocation<'_>) {
        self.write("revoked", revocation.partitions);
    }

    async fn on_lost(&mut self, partitions: &[TopicPartition]) {
        self.write("lost", partitions);
    }
}

fn join(node: &FakeNode, client: &Client, client_id: &str) -> (GroupConsumer, Told) {
    let told = Told::new(node);
    (client.group_consumer(config(client_id), told.clone()).expect("a consumer"), told)
}

async fn next(consumer: &mut GroupConsumer) -> GroupRecord {
    within_a_minute(consumer.next()).await.expect("a record")
}

/// Waits until it is so.
async fn until(node: &FakeNode, mut is_so: impl FnMut(&FakeNode) -> bool) {
    within_a_minute(async {
        loop {
            let changed = node.changed.notified();
            if is_so(node) {
                return;
            }
            changed.await;
        }
    })
    .await;
}

/// A member whose application processes whatever comes, until it is told to end.
struct Working {
    told: Told,
    read: Arc<Mutex<BTreeMap<u32, Vec<i64>>>>,
    end: oneshot::Sender<()>,
    task: JoinHandle<GroupConsumer>,
}

impl Working {
    fn new(node: &FakeNode, client: &Client, client_id: &str) -> Self {
        let (consumer, told) = join(node, client, client_id);
        Self::with(node, consumer, told)
    }

    fn with(node: &FakeNode, mut consumer: GroupConsumer, told: Told) -> Self {
        let (end, mut ended) = oneshot::channel();
        let read: Arc<Mutex<BTreeMap<u32, Vec<i64>>>> = Arc::default();
        let (reads, node) = (Arc::clone(&read), node.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    record = consumer.next() => {
                        let record = record.expect("a record");
                        let mut reads = reads.lock().expect("no panic");
                        reads.entry(record.partition.0).or_default().push(record.record.offset.0);
                        node.changed.notify_waiters();
                    }
                    _ = &mut ended => return consumer,
                }
            }
        });
        Self { told, read, end, task }
    }

    /// What it has read of a partition.
    fn of(&self, partition: u32) -> Vec<i64> {
        self.read.lock().expect("no panic").get(&partition).cloned().unwrap_or_default()
    }

    async fn stop(self) -> (GroupConsumer, Told) {
        let _ = self.end.send(());
        (within_a_minute(self.task).await.expect("it ends"), self.told)
    }
}

/// Waits until the group has so many members and each owns what it is to own.
async fn settled(node: &FakeNode, members: usize) {
    until(node, |node| {
        let groups = &node.state().groups;
        groups.is_stable(GROUP) && groups.members(GROUP).len() == members
    })
    .await;
}

fn committed(node: &FakeNode, partition: u32) -> Option<i64> {
    let topic = node.topic_id();
    node.state().groups.committed(GROUP, topic, partition)
}

/// Reads on until every partition was read to its end, in order, and says what came.
async fn read_all(consumer: &mut GroupConsumer, ends: &BTreeMap<u32, i64>) -> BTreeMap<u32, Vec<i64>> {
    let mut read: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    while ends.iter().any(|(p, end)| read.get(p).and_then(|read| read.last()) != Some(&(end - 1))) {
        let record = next(consumer).await;
        let offset = record.record.offset.0;
        assert_eq!(record.record.value.expect("a value"), offset.to_string().as_bytes());
        read.entry(record.partition.0).or_default().push(offset);
    }
    read
}

#[tokio::test]
async fn a_member_alone_reads_everything_and_the_next_one_goes_on_behind_it() {
    let (node, running) = filled(3, 5).await;
    let (mut consumer, told) = join(&node, &running.client(), "a");
    let ends = (0..3).map(|p| (p, 15)).collect();
    let read = read_all(&mut consumer, &ends).await;
    assert!(read.values().all(|offsets| *offsets == (0..15).collect::<Vec<_>>()), "{read:?}");
    within_a_minute(consumer.commit()).await.expect("committed");
    within_a_minute(consumer.close()).await.expect("closed");
    assert_eq!(told.all(), ["assigned 0 1 2", "revoked 0 1 2"]);
    for partition in 0..3 {
        assert_eq!(committed(&node, partition), Some(15));
        append(&node, usize::try_from(partition).expect("small"));
    }
    let (mut consumer, _) = join(&node, &running.client(), "b");
    let ends = (0..3).map(|p| (p, 18)).collect();
    let read = read_all(&mut consumer, &ends).await;
    assert!(read.values().all(|offsets| *offsets == [15, 16, 17]), "{read:?}");
}

#[tokio::test]
async fn a_third_member_takes_a_part_and_whom_that_does_not_concern_notices_nothing() {
    let (node, running) = filled(4, 2).await;
    let client = running.client();
    let a = Working::new(&node, &client, "a");
    settled(&node, 1).await;
    until(&node, |_| a.told.all() == ["assigned 0 1 2 3"]).await;
    let b = Working::new(&node, &client, "b");
    settled(&node, 2).await;
    until(&node, |_| b.told.count("assigned") == 2).await;
    assert_eq!(a.told.all(), ["assigned 0 1 2 3", "revoked 2 3"]);
    let c = Working::new(&node, &client, "c");
    until(&node, |_| c.told.count("assigned") == 1).await;
    assert_eq!(a.told.count("revoked") + b.told.count("revoked"), 3, "{:?} {:?}", a.told.all(), b.told.all());
    assert_eq!((a.told.count("assigned"), b.told.count("assigned")), (4, 2), "nothing came back");
    for partition in 0..4_u32 {
        append(&node, usize::try_from(partition).expect("small"));
        until(&node, |_| [&a, &b, &c].iter().filter(|m| m.of(partition).contains(&8)).count() == 1).await;
        let mut all: Vec<i64> = [&a, &b, &c].iter().flat_map(|member| member.of(partition)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..9).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_a_member_owns_that_leaves_goes_to_others_at_once_and_no_record_is_processed_twice() {
    let (node, running) = filled(2, 3).await;
    // Nothing but leaving hands over in the time that this test takes.
    node.state().groups.take_over(Duration::from_secs(60 * 60));
    let client = running.client();
    let a = Working::new(&node, &client, "a");
    until(&node, |_| a.of(0).len() + a.of(1).len() == 18).await;
    let b = Working::new(&node, &client, "b");
    settled(&node, 2).await;
    let (mut a, _) = a.stop().await;
    a.commit_soon();
    within_a_minute(a.close()).await.expect("closed");
    settled(&node, 1).await;
    for partition in 0..2 {
        append(&node, partition);
    }
    until(&node, |_| b.of(0).len() + b.of(1).len() == 6).await;
    assert_eq!((b.of(0), b.of(1)), (vec![9, 10, 11], vec![9, 10, 11]));
}

#[tokio::test]
async fn a_member_that_is_dropped_leaves() {
    let (node, running) = filled(1, 1).await;
    node.state().groups.take_over(Duration::from_secs(60 * 60));
    let (mut a, _) = join(&node, &running.client(), "a");
    assert_eq!(next(&mut a).await.record.offset, Offset(0));
    drop(a);
    let (mut b, _) = join(&node, &running.client(), "b");
    assert_eq!(next(&mut b).await.record.offset, Offset(0), "it was not processed");
}

#[tokio::test]
async fn a_member_that_is_not_heard_of_loses_its_partitions_says_so_and_commits_nothing_more() {
    let (node, running) = filled(2, 2).await;
    node.state().groups.take_over(Duration::from_secs(2));
    let client = running.client();
    let told = Told::new(&node);
    let by_hand = GroupConsumerConfig { commit: CommitMode::ByHand, ..config("a") };
    let mut a = client.group_consumer(by_hand, told.clone()).expect("a consumer");
    for _ in 0..4 {
        next(&mut a).await;
    }
    node.state().groups.unheard.insert("a".to_owned());
    let b = Working::new(&node, &client, "b");
    until(&node, |_| b.of(0).len() + b.of(1).len() == 12).await;
    assert_eq!(told.all(), ["assigned 0 1", "lost 0 1"]);
    let refused = within_a_minute(a.commit()).await;
    assert_eq!(refused, Ok(()), "it owns nothing, so there is nothing to commit");
    let offset = OffsetCommit::new(partition(0), Offset(1));
    let refused = within_a_minute(a.committer().commit(&[offset])).await;
    assert!(matches!(refused, Err(ClientError::NotAssigned { .. })), "{refused:?}");
    assert!(node.state().groups.commits.iter().all(|(who, ..)| who == "b"));

    node.state().groups.unheard.clear();
    node.changed.notify_waiters();
    let a = Working::with(&node, a, told);
    settled(&node, 2).await;
    until(&node, |_| a.told.all().len() == 3).await;
    assert_eq!(b.told.all().last().map(|line| line.split(' ').count()), Some(2), "{:?}", b.told.all());
}

#[tokio::test]
async fn an_application_that_takes_long_for_a_record_stays_a_member() {
    let (node, running) = filled(1, 2).await;
    node.state().groups.take_over(Duration::from_secs(2));
    let (mut a, told) = join(&node, &running.client(), "a");
    assert_eq!(next(&mut a).await.record.offset, Offset(0));
    // Every half a second.
    until(&node, |node| node.state().groups.heartbeats > 5).await;
    assert_eq!(next(&mut a).await.record.offset, Offset(1));
    assert_eq!(told.all(), ["assigned 0"]);
}

#[tokio::test]
async fn what_was_not_processed_is_not_committed_whatever_happens() {
    let (node, running) = filled(1, 4).await;
    let (mut a, _) = join(&node, &running.client(), "a");
    for offset in 0..8 {
        assert_eq!(next(&mut a).await.record.offset, Offset(offset));
    }
    until(&node, |node| committed(node, 0) == Some(7)).await;
    within_a_minute(a.close()).await.expect("closed");
    assert_eq!(committed(&node, 0), Some(7));
    let (mut b, _) = join(&node, &running.client(), "b");
    assert_eq!(next(&mut b).await.record.offset, Offset(7));
    // It dies with it.
    node.state().groups.unheard.insert("b".to_owned());
    assert!(node.state().groups.commits.iter().all(|(_, _, offset)| *offset <= 7));
}

#[tokio::test]
async fn a_batch_counts_as_processed_when_the_next_one_is_asked_for() {
    let (node, running) = filled(1, 2).await;
    let (mut a, _) = join(&node, &running.client(), "a");
    assert_eq!(next(&mut a).await.record.offset, Offset(0));
    let rest = within_a_minute(a.next_batch()).await.expect("a batch");
    assert_eq!((rest.records.len(), rest.next_offset), (2, Offset(3)));
    until(&node, |node| committed(node, 0) == Some(1)).await;
    let batch = within_a_minute(a.next_batch()).await.expect("a batch");
    assert_eq!((batch.records[0].offset, batch.next_offset), (Offset(3), Offset(6)));
    until(&node, |node| committed(node, 0) == Some(3)).await;
}

#[tokio::test]
async fn a_coordinator_that_is_replaced_costs_no_member_its_partitions_and_no_commit() {
    let (node, running) = filled(2, 10).await;
    let client = running.client();
    let (a, b) = (Working::new(&node, &client, "a"), Working::new(&node, &client, "b"));
    settled(&node, 2).await;
    for round in 0..3 {
        node.state().groups.out = Some(if round == 1 { Out::Silent } else { Out::NoCoordinator });
        node.changed.notify_waiters();
        for partition in 0..2 {
            append(&node, partition);
        }
        let end = 32 + 3 * round;
        until(&node, |_| [&a, &b].iter().filter(|m| m.of(0).contains(&end)).count() == 1).await;
        node.state().groups.out = None;
        node.state().groups.take_over(Duration::from_secs(20));
        node.changed.notify_waiters();
        until(&node, |node| committed(node, 0).is_some_and(|offset| offset >= end)).await;
    }
    for member in [&a, &b] {
        assert!(member.told.all().iter().all(|line| !line.starts_with("lost")), "{:?}", member.told.all());
    }
    let mut all: Vec<i64> = [&a, &b].iter().flat_map(|member| member.of(1)).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() >= 30, "{all:?}");
}

#[tokio::test]
async fn a_member_goes_on_when_its_node_is_started_again() {
    let (node, mut running) = filled(2, 2).await;
    let a = Working::new(&node, &running.client(), "a");
    until(&node, |_| a.of(0).len() + a.of(1).len() == 12).await;
    let address = running.address;
    drop(running);
    for partition in 0..2 {
        append(&node, partition);
    }
    running = node.start_at(address).await;
    until(&node, |_| a.of(0).len() + a.of(1).len() == 18).await;
    until(&node, |node| committed(node, 0).max(committed(node, 1)) == Some(9)).await;
    let (consumer, told) = a.stop().await;
    within_a_minute(consumer.close()).await.expect("closed");
    assert_eq!(told.all(), ["assigned 0 1", "revoked 0 1"]);
    drop(running);
}

#[tokio::test]
async fn paused_partitions_are_left_out_and_sought_ones_go_on_elsewhere() {
    let (node, running) = filled(2, 4).await;
    let (mut a, _) = join(&node, &running.client(), "a");
    let first = next(&mut a).await;
    let (paused, other) = (first.partition.0, 1 - first.partition.0);
    a.pause(&partition(paused)).expect("it is ours");
    let read = read_all(&mut a, &BTreeMap::from([(other, 12)])).await;
    assert_eq!(read, BTreeMap::from([(other, (0..12).collect())]), "nothing of the paused one");
    a.resume(&partition(paused)).expect("it is ours");
    let read = read_all(&mut a, &BTreeMap::from([(paused, 12)])).await;
    assert_eq!(read, BTreeMap::from([(paused, (1..12).collect())]));
    let lag: Vec<_> = a.lag().into_iter().map(|lag| (lag.position, lag.lag)).collect();
    assert_eq!(lag, [(Some(Offset(12)), Some(0)), (Some(Offset(12)), Some(0))]);
    within_a_minute(a.commit()).await.expect("committed");
    assert_eq!(committed(&node, other), Some(12));

    a.seek(&partition(other), StartPosition::Offset(Offset(7))).expect("it is ours");
    let read = read_all(&mut a, &BTreeMap::from([(other, 10)])).await;
    assert_eq!(read, BTreeMap::from([(other, vec![7, 8, 9])]));
    until(&node, |node| committed(node, other) == Some(9)).await;
    a.seek(&partition(other), StartPosition::Latest).expect("it is ours");
    let mut grows = tokio::time::interval(Duration::from_millis(5));
    let read = within_a_minute(async {
        loop {
            tokio::select! {
                read = a.next_batch() => return read.expect("a batch"),
                // It is known nowhere when it has found the end.
                _ = grows.tick() => append(&node, usize::try_from(other).expect("small")),
            }
        }
    });
    assert!(read.await.records[0].offset >= Offset(12));
    let not_ours = a.pause(&partition(2));
    assert!(matches!(not_ours, Err(ClientError::NotAssigned { partition: 2, .. })), "{not_ours:?}");
}

#[tokio::test]
async fn where_nothing_is_committed_a_member_starts_as_it_is_told_and_remembers_that() {
    let (node, running) = filled(1, 3).await;
    let latest = GroupConsumerConfig { start: StartPosition::Latest, ..config("a") };
    let mut a = running.client().group_consumer(latest.clone(), ()).expect("a consumer");
    assert!(tokio::time::timeout(Duration::ZERO, a.next()).await.is_err(), "there is nothing yet");
    let a = Working::with(&node, a, Told::new(&node));
    until(&node, |node| committed(node, 0) == Some(9)).await;
    let (a, _) = a.stop().await;
    within_a_minute(a.close()).await.expect("closed");
    append(&node, 0);
    let mut b = running.client().group_consumer(latest, ()).expect("a consumer");
    assert_eq!(next(&mut b).await.record.offset, Offset(9), "what came between the two is not left out");
}

#[tokio::test]
async fn an_instance_that_comes_back_finds_its_partitions_and_nobody_else_notices() {
    let (node, running) = filled(2, 1).await;
    node.state().groups.take_over(Duration::from_secs(60 * 60));
    let client = running.client();
    let of_instance = GroupConsumerConfig { instance_id: Some("i".to_owned()), ..config("a") };
    let start = || {
        let told = Told::new(&node);
        let consumer = client.group_consumer(of_instance.clone(), told.clone()).expect("a consumer");
        Working::with(&node, consumer, told)
    };
    let a = start();
    until(&node, |_| a.told.all().len() == 1).await;
    let b = Working::new(&node, &client, "b");
    until(&node, |_| a.told.all().len() == 2 && b.told.all().len() == 1).await;
    let (a, told) = a.stop().await;
    let owned = a.assignment();
    within_a_minute(a.close_for_a_while()).await.expect("closed");
    assert!(told.all().last().is_some_and(|line| line.starts_with("revoked")));
    let a = start();
    until(&node, |_| !a.told.all().is_empty()).await;
    assert_eq!(a.stop().await.0.assignment(), owned);
    assert_eq!(b.told.all().len(), 1, "{:?}", b.told.all());
}

#[tokio::test]
async fn a_consumer_that_can_never_be_a_member_says_why() {
    let (_node, running) = filled(1, 1).await;
    let config = GroupConsumerConfig { group: "x".repeat(250), ..config("a") };
    let mut consumer = running.client().group_consumer(config, ()).expect("a consumer");
    for _ in 0..2 {
        let error = within_a_minute(consumer.next()).await.expect_err("no such group can be");
        assert_eq!(error.code(), Some(ErrorCode::InvalidRequest));
    }
    within_a_minute(consumer.close()).await.expect("there is nothing to end");
    let none = running.client().group_consumer(GroupConsumerConfig::new(GROUP, Vec::<String>::new()), ());
    assert!(matches!(none, Err(ClientError::InvalidSetting { name: "topics", .. })));
}
