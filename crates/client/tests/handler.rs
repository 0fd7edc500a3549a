//! A handler against nodes with a real coordinator in memory: in order for each key, many at a time, and nothing is committed that is
//! not handled.

mod fake;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{FakeNode, Running, within_a_minute};
use highwater_client::{AfterFailure, ClientError, GroupHandlerConfig, GroupRecord, RecordHandler};
use highwater_records::BatchBuilder;
use highwater_types::{Offset, TimestampMs};
use tokio::sync::Semaphore;

const GROUP: &str = "g";

/// A node with one partition that holds these keys, `-` for none.
async fn filled(keys: &str) -> (FakeNode, Running) {
    let node = FakeNode::new(1);
    append(&node, keys);
    let running = node.start().await;
    (node, running)
}

fn append(node: &FakeNode, keys: &str) {
    let mut builder = BatchBuilder::new();
    for key in keys.chars() {
        let key = key.to_string();
        let key = (key != "-").then_some(key.as_bytes());
        builder.append(key, Some(b"value"), &[], TimestampMs(1)).expect("a small record");
    }
    let bytes = builder.build().expect("a batch").into_bytes();
    node.state().partitions[0].append(bytes).expect("appended");
    node.changed.notify_waiters();
}

fn config() -> GroupHandlerConfig {
    GroupHandlerConfig {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        commit_interval: Duration::from_millis(5),
        ..GroupHandlerConfig::new(GROUP, ["t"])
    }
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

fn committed(node: &FakeNode) -> Option<i64> {
    let topic = node.topic_id();
    node.state().groups.committed(GROUP, topic, 0)
}

/// What happens in a handler.
#[derive(Debug, Default)]
struct Seen {
    /// Begun, in order.
    begun: Vec<i64>,
    done: Vec<i64>,
    /// Being handled, by key.
    running: BTreeMap<String, usize>,
    running_max: usize,
}

/// Holds each record until the test lets it go, and fails some of them.
#[derive(Clone)]
struct Gate {
    node: FakeNode,
    seen: Arc<Mutex<Seen>>,
    /// One permit for each record that may end.
    gates: Arc<BTreeMap<i64, Semaphore>>,
    /// How often each fails.
    fails: Arc<Mutex<BTreeMap<i64, u32>>>,
    then: AfterFailure,
    failed: Arc<Mutex<Vec<i64>>>,
}

impl Gate {
    fn new(node: &FakeNode, held: &[i64]) -> Self {
        Self {
            node: node.clone(),
            seen: Arc::default(),
            gates: Arc::new(held.iter().map(|offset| (*offset, Semaphore::new(0))).collect()),
            fails: Arc::default(),
            then: AfterFailure::Stop,
            failed: Arc::default(),
        }
    }

    fn failing(self, fails: &[(i64, u32)], then: AfterFailure) -> Self {
        *self.fails.lock().expect("no panic") = fails.iter().copied().collect();
        Self { then, ..self }
    }

    fn open(&self, offset: i64) {
        self.gates[&offset].add_permits(1);
    }

    fn done(&self) -> Vec<i64> {
        let mut done = self.seen.lock().expect("no panic").done.clone();
        done.sort_unstable();
        done
    }

    fn begun(&self) -> Vec<i64> {
        self.seen.lock().expect("no panic").begun.clone()
    }
}

impl RecordHandler for Gate {
    type Error = String;

    async fn handle(&self, record: GroupRecord) -> Result<(), String> {
        let offset = record.record.offset.0;
        let key = record.record.key.map(|key| String::from_utf8_lossy(&key).into_owned());
        let lane = key.unwrap_or_else(|| format!("- {offset}"));
        {
            let seen = &mut *self.seen.lock().expect("no panic");
            seen.begun.push(offset);
            let running = seen.running.entry(lane.clone()).or_default();
            *running += 1;
            assert_eq!(*running, 1, "one of key {lane} at a time");
            seen.running_max = seen.running_max.max(seen.running.values().sum());
        }
        self.node.changed.notify_waiters();
        if let Some(gate) = self.gates.get(&offset) {
            gate.acquire().await.expect("it stays open").forget();
        }
        let fails = {
            let fails = &mut *self.fails.lock().expect("no panic");
            let left = fails.get_mut(&offset).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_some()
        };
        {
            let seen = &mut *self.seen.lock().expect("no panic");
            *seen.running.get_mut(&lane).expect("it runs") -= 1;
            if !fails {
                seen.done.push(offset);
            }
        }
        self.node.changed.notify_waiters();
        if fails { Err(format!("{offset} fails")) } else { Ok(()) }
    }

    async fn on_failure(&self, record: &GroupRecord, _: String) -> AfterFailure {
        self.failed.lock().expect("no panic").push(record.record.offset.0);
        self.then
    }
}

#[tokio::test]
async fn keys_are_handled_beside_each_other_and_each_in_its_order() {
    let (node, running) = filled("abcabcabc---").await;
    let gate = Gate::new(&node, &[]);
    let handler = running.client().group_handler(config(), gate.clone()).expect("a handler");
    until(&node, |node| committed(node) == Some(12)).await;
    assert_eq!(gate.done(), (0..12).collect::<Vec<_>>());
    let begun = gate.begun();
    for key in 0..3 {
        let of_key: Vec<_> = begun.iter().copied().filter(|offset| *offset < 9 && offset % 3 == key).collect();
        assert_eq!(of_key, [key, key + 3, key + 6]);
    }
    within_a_minute(handler.stop()).await.expect("stopped");
}

#[tokio::test]
async fn what_is_handled_behind_a_slow_record_waits_for_it_to_be_committed() {
    let (node, running) = filled("ab-b").await;
    let gate = Gate::new(&node, &[0]);
    let config = GroupHandlerConfig { concurrency: 2, ..config() };
    let handler = running.client().group_handler(config, gate.clone()).expect("a handler");
    until(&node, |_| gate.done() == [1, 2, 3]).await;
    until(&node, |node| committed(node) == Some(0)).await;
    gate.open(0);
    until(&node, |node| committed(node) == Some(4)).await;
    assert_eq!(gate.seen.lock().expect("no panic").running_max, 2);
    within_a_minute(handler.stop()).await.expect("stopped");
}

#[tokio::test]
async fn a_record_that_fails_is_tried_again_and_then_skipped_with_a_word() {
    let (node, running) = filled("aab").await;
    let gate = Gate::new(&node, &[]).failing(&[(0, 5), (1, 2)], AfterFailure::Skip);
    let handler = running.client().group_handler(config(), gate.clone()).expect("a handler");
    until(&node, |node| committed(node) == Some(3)).await;
    let of_key: Vec<_> = gate.begun().into_iter().filter(|offset| *offset < 2).collect();
    assert_eq!(of_key, [0, 0, 0, 0, 0, 1, 1, 1], "in order, also when it fails");
    assert_eq!((gate.done(), gate.failed.lock().expect("no panic").clone()), (vec![1, 2], vec![0]));
    within_a_minute(handler.stop()).await.expect("stopped");
}

#[tokio::test]
async fn a_record_that_may_not_be_skipped_ends_the_handler_and_is_not_committed() {
    let (node, running) = filled("ab").await;
    let gate = Gate::new(&node, &[]).failing(&[(1, 5)], AfterFailure::Stop);
    let mut handler = running.client().group_handler(config(), gate.clone()).expect("a handler");
    let ended = within_a_minute(handler.wait()).await;
    let expected = ClientError::HandlerFailed {
        topic: "t".to_owned(),
        partition: 0,
        offset: Offset(1),
        reason: "1 fails".to_owned(),
    };
    assert_eq!((ended, committed(&node)), (Err(expected), Some(1)));
    let gate = Gate::new(&node, &[]);
    let handler = running.client().group_handler(config(), gate.clone()).expect("a handler");
    until(&node, |node| committed(node) == Some(2)).await;
    assert_eq!(gate.done(), [1]);
    within_a_minute(handler.stop()).await.expect("stopped");
}

#[tokio::test]
async fn a_handler_that_stops_finishes_what_it_began_and_begins_nothing_more() {
    let (node, running) = filled("aaab").await;
    let gate = Gate::new(&node, &[0]);
    let handler = running.client().group_handler(config(), gate.clone()).expect("a handler");
    until(&node, |_| gate.done() == [3]).await;
    let stopping = tokio::spawn(handler.stop());
    tokio::task::yield_now().await;
    gate.open(0);
    within_a_minute(stopping).await.expect("no panic").expect("stopped");
    let done = gate.done();
    let first_open = (0..4).find(|offset| !done.contains(offset)).unwrap_or(4);
    assert_eq!(committed(&node), Some(first_open), "{done:?}");
    let rest = Gate::new(&node, &[]);
    let handler = running.client().group_handler(config(), rest.clone()).expect("a handler");
    until(&node, |node| committed(node) == Some(4)).await;
    within_a_minute(handler.stop()).await.expect("stopped");
}

#[tokio::test]
async fn a_partition_that_goes_to_another_handler_is_finished_and_committed_first() {
    let node = FakeNode::new(2);
    for partition in 0..2 {
        let mut builder = BatchBuilder::new();
        for _ in 0..4 {
            builder.append(Some(b"k"), Some(b"value"), &[], TimestampMs(1)).expect("a small record");
        }
        let bytes = builder.build().expect("a batch").into_bytes();
        node.state().partitions[partition].append(bytes).expect("appended");
    }
    let running = node.start().await;
    node.state().groups.take_over(Duration::from_secs(60 * 60));
    let handled = Arc::new(Mutex::new(Vec::<(&str, u32, i64)>::new()));
    let turns = Arc::new(Semaphore::new(0));
    let start = |name: &'static str| {
        let (handled, turns, node) = (Arc::clone(&handled), Arc::clone(&turns), node.clone());
        let handle = move |record: GroupRecord| {
            let (handled, turns, node) = (Arc::clone(&handled), Arc::clone(&turns), node.clone());
            async move {
                turns.acquire().await.expect("it stays open").forget();
                let entry = (name, record.partition.0, record.record.offset.0);
                handled.lock().expect("no panic").push(entry);
                node.changed.notify_waiters();
                Ok::<(), String>(())
            }
        };
        running.client().group_handler(config(), handle).expect("a handler")
    };
    let a = start("a");
    // Both partitions have a record that is being handled.
    until(&node, |node| node.state().groups.members(GROUP).iter().any(|(_, owned)| owned.len() == 2)).await;
    let b = start("b");
    until(&node, |node| node.state().groups.members(GROUP).len() == 2).await;
    turns.add_permits(100);
    until(&node, |_| handled.lock().expect("no panic").len() == 8).await;
    let all = handled.lock().expect("no panic").clone();
    for partition in 0..2 {
        let of: Vec<_> = all.iter().filter(|(_, p, _)| *p == partition).map(|(_, _, offset)| *offset).collect();
        assert_eq!(of, [0, 1, 2, 3], "once and in order: {all:?}");
    }
    within_a_minute(a.stop()).await.expect("stopped");
    within_a_minute(b.stop()).await.expect("stopped");
}
