//! What the tests of consensus share: a state machine that counts, batches, and what a log holds.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod cluster;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_consensus::{Durability, Group, GroupOptions};
use highwater_records::{Batch, BatchBuilder};
use highwater_storage::journal::JournalOptions;
use highwater_storage::{Applied, Applier, Entry, Payload, RestoreError, SegmentOptions, StoreOptions};
use highwater_types::{GroupId, Offset, PartitionId, PartitionIndex, TimestampMs, TopicId};

/// How long a test waits for what must happen.
pub const SERVING: Duration = Duration::from_secs(20);

/// Counts what it applied; answers with the count.
#[derive(Default)]
pub struct Counter(u64);

impl Applier for Counter {
    fn apply(&mut self, entry: &Entry) -> Applied {
        let log_start = match &entry.payload {
            Payload::Control(bytes) => Some(Offset(i64::from_le_bytes(bytes[..].try_into().unwrap()))),
            _ => None,
        };
        self.0 += u64::from(matches!(entry.payload, Payload::Batch(_) | Payload::Control(_)));
        Applied { response: Bytes::copy_from_slice(&self.0.to_le_bytes()), log_start }
    }

    fn snapshot(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_le_bytes())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.0 = match state.try_into() {
            Ok(bytes) => u64::from_le_bytes(bytes),
            Err(_) if state.is_empty() => 0,
            Err(_) => return Err(RestoreError("not eight bytes".into())),
        };
        Ok(())
    }
}

pub fn options(journal: JournalOptions) -> StoreOptions {
    let on_failure = Arc::new(|error: &highwater_storage::journal::JournalError| {
        tracing::warn!("the journal failed: {error}")
    });
    StoreOptions { journal, mapped_segments_max: 64, unreadable: Vec::new(), power_lost: false, on_failure }
}

pub fn small_journal() -> JournalOptions {
    JournalOptions {
        file_bytes: 1 << 20,
        first_file_bytes: 1 << 20,
        checkpoint_bytes: 4 << 20,
        bytes_max: 64 << 20,
        reserve_bytes: 64 << 10,
    }
}

pub fn partition(number: u32) -> GroupId {
    GroupId::Partition(partition_id(number))
}

pub fn partition_id(number: u32) -> PartitionId {
    PartitionId { topic: TopicId(uuid_of(7)), index: PartitionIndex(number) }
}

pub fn uuid_of(byte: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([byte; 16])
}

pub fn group_options(durability: Durability) -> GroupOptions {
    let segments = SegmentOptions { segment_bytes: 64 << 10, ..SegmentOptions::default() };
    GroupOptions { durability, segments: Some(segments) }
}

pub fn batch(value: u64) -> Batch {
    let mut builder = BatchBuilder::new();
    let value = Bytes::from(format!("value {value:08}"));
    builder.append(None, Some(&value), &[], TimestampMs(1_700_000_000_000)).unwrap();
    builder.build().unwrap()
}

pub fn values(group: &Group) -> Vec<String> {
    let segments = group.log().segments().unwrap();
    let marks = group.log().watermarks();
    let mut found = Vec::new();
    let mut from = marks.log_start();
    while from < marks.high_watermark() {
        let slices = segments.read(from, marks.high_watermark(), 1 << 20).unwrap();
        for slice in slices.slices {
            for batch in highwater_records::split_batches(slice) {
                let batch = batch.unwrap();
                batch.verify().unwrap();
                for record in batch.records() {
                    let record = record.unwrap();
                    if record.offset >= from {
                        found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                    }
                }
                from = batch.next_offset();
            }
        }
    }
    found
}

pub fn expected(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|value| format!("value {value:08}")).collect()
}

pub async fn wait_until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(SERVING, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the condition holds in time");
}

/// The same while time is simulated, which goes on only when everybody waits for it.
pub async fn until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(SERVING, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the condition holds in time");
}
