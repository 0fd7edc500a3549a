//! Producer state as bytes: protobuf with a version. Whoever stores them adds the checksum.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use highwater_types::limits::PRODUCER_WINDOW_BATCHES;
use highwater_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use prost::Message as _;

use super::entry::{ProducerEntry, Written};
use super::error::ProducerSnapshotError;

/// The newest version of the format; there is no older one.
const VERSION: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Snapshot {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(sint64, tag = "2")]
    log_time_ms: i64,
    /// In order of their ids, each once.
    #[prost(message, repeated, tag = "3")]
    producers: Vec<Producer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Producer {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int32, tag = "2")]
    epoch: i32,
    #[prost(sint64, tag = "3")]
    last_seen_ms: i64,
    /// Oldest first.
    #[prost(message, repeated, tag = "4")]
    batches: Vec<Batch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Batch {
    #[prost(int32, tag = "1")]
    first_sequence: i32,
    #[prost(int32, tag = "2")]
    last_sequence: i32,
    #[prost(int64, tag = "3")]
    base_offset: i64,
    #[prost(sint64, tag = "4")]
    timestamp_ms: i64,
}

/// The parts of a state as bytes.
pub(super) fn encode(log_time: TimestampMs, producers: &BTreeMap<ProducerId, ProducerEntry>) -> Bytes {
    let producers = producers.iter().map(|(id, entry)| write(*id, entry)).collect();
    Snapshot { version: VERSION, log_time_ms: log_time.0, producers }.encode_to_vec().into()
}

/// The inverse of [`encode`].
pub(super) fn decode(
    bytes: &[u8],
) -> Result<(TimestampMs, BTreeMap<ProducerId, ProducerEntry>), ProducerSnapshotError> {
    let snapshot = Snapshot::decode(bytes).map_err(|error| malformed(error.to_string()))?;
    match snapshot.version {
        VERSION => {}
        0 => return Err(malformed("it states no version")),
        version => {
            return Err(ProducerSnapshotError::UnknownVersion { version, newest: VERSION });
        }
    }
    let mut producers = BTreeMap::new();
    let mut offsets = BTreeSet::new();
    for producer in &snapshot.producers {
        let (id, entry) = read(producer, snapshot.log_time_ms)?;
        if !entry.batches().all(|batch| offsets.insert(batch.base_offset)) {
            return Err(malformed(format!("producer {id} has a batch at another's offset")));
        }
        if producers.insert(id, entry).is_some() {
            return Err(malformed(format!("producer {id} is there twice")));
        }
    }
    Ok((TimestampMs(snapshot.log_time_ms), producers))
}

fn write(id: ProducerId, entry: &ProducerEntry) -> Producer {
    let batch = |batch: &Written| Batch {
        first_sequence: batch.first.0,
        last_sequence: batch.last.0,
        base_offset: batch.base_offset.0,
        timestamp_ms: batch.timestamp.0,
    };
    Producer {
        id: id.0,
        epoch: entry.epoch.0.into(),
        last_seen_ms: entry.last_seen.0,
        batches: entry.batches().map(batch).collect(),
    }
}

fn read(producer: &Producer, log_time_ms: i64) -> Result<(ProducerId, ProducerEntry), ProducerSnapshotError> {
    let id = producer.id;
    let epoch = i16::try_from(producer.epoch).ok().filter(|epoch| *epoch >= 0);
    let Some(epoch) = epoch.filter(|_| id >= 0 && producer.last_seen_ms <= log_time_ms) else {
        return Err(malformed(format!("producer {id} has an impossible epoch or time")));
    };
    let in_order = producer.batches.is_sorted_by(|a, b| a.base_offset < b.base_offset);
    let [first, rest @ ..] = producer.batches.as_slice() else {
        return Err(malformed(format!("producer {id} has no batches")));
    };
    if rest.len() >= PRODUCER_WINDOW_BATCHES || !in_order {
        return Err(malformed(format!("producer {id} has too many batches, or not in order")));
    }
    let last_seen = TimestampMs(producer.last_seen_ms);
    let mut entry = ProducerEntry::new(ProducerEpoch(epoch), last_seen, read_batch(first)?);
    for batch in rest {
        entry.push(read_batch(batch)?);
    }
    Ok((ProducerId(id), entry))
}

fn read_batch(batch: &Batch) -> Result<Written, ProducerSnapshotError> {
    if batch.first_sequence < 0 || batch.last_sequence < 0 || batch.base_offset < 0 {
        return Err(malformed(format!("a batch is impossible: {batch:?}")));
    }
    Ok(Written {
        first: Sequence(batch.first_sequence),
        last: Sequence(batch.last_sequence),
        base_offset: Offset(batch.base_offset),
        timestamp: TimestampMs(batch.timestamp_ms),
    })
}

fn malformed(detail: impl Into<String>) -> ProducerSnapshotError {
    ProducerSnapshotError::Malformed { detail: detail.into() }
}
