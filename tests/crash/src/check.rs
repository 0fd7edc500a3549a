//! Reading everything back and holding it against the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_client::v1::OffsetPlace;
use highwater_client::{Client, ConsumerConfig, StartPosition};
use highwater_types::{Offset, PartitionIndex};

use crate::CrashError;
use crate::scenario::PARTITIONS;
use crate::workload::{Acked, RecordId};

/// Everything that a topic holds, by partition and offset.
pub type Stored = BTreeMap<(PartitionIndex, Offset), RecordId>;

/// Reads a topic from its start to its end as of now, and checks each record by itself: offsets dense, bytes as they
/// were sent, no record twice, each producer's records of a partition in their order.
///
/// # Errors
/// When a promise is broken.
pub async fn read_topic(client: &Client, topic: &str, seed: u64) -> Result<Stored, CrashError> {
    let partitions: Vec<PartitionIndex> = (0..PARTITIONS).map(PartitionIndex).collect();
    let ends = client.admin().offsets(topic, &partitions, OffsetPlace::Latest).await?;
    let mut ends: BTreeMap<PartitionIndex, Offset> = partitions
        .iter()
        .copied()
        .zip(ends.into_iter().flatten())
        .filter(|(_, end)| *end > Offset(0))
        .collect();
    let mut stored = Stored::new();
    if ends.is_empty() {
        return Ok(stored);
    }
    let mut order = Order::default();
    let unread: Vec<PartitionIndex> = ends.keys().copied().collect();
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(topic, &unread, config).await?;
    while !ends.is_empty() {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next_batch()).await;
        let Some(batch) =
            next.map_err(|_| CrashError::Broken(format!("{topic}: reading stopped short of {ends:?}")))??
        else {
            return Err(CrashError::Broken(format!("{topic}: the consumer ended before {ends:?}")));
        };
        for record in &batch.records {
            let value = record.value.as_deref().unwrap_or_default();
            let id = RecordId::parse(value).filter(|id| id.value(seed) == value);
            let Some(id) = id else {
                let place = format!("{topic}-{} at {}", batch.partition, record.offset);
                return Err(CrashError::Broken(format!("{place}: {} bytes that nobody sent", value.len())));
            };
            order.check(topic, batch.partition, record.offset, id, &stored)?;
            stored.insert((batch.partition, record.offset), id);
        }
        if ends.get(&batch.partition).is_some_and(|end| batch.next_offset >= *end) {
            ends.remove(&batch.partition);
        }
    }
    Ok(stored)
}

#[derive(Default)]
struct Order {
    next: BTreeMap<PartitionIndex, Offset>,
    last: BTreeMap<(PartitionIndex, u32), u64>,
}

impl Order {
    fn check(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        offset: Offset,
        id: RecordId,
        stored: &Stored,
    ) -> Result<(), CrashError> {
        let expected = self.next.insert(partition, offset.next()).unwrap_or(Offset(0));
        if offset != expected {
            return Err(CrashError::Broken(format!(
                "{topic}-{partition}: offset {offset} where {expected} must come"
            )));
        }
        let before = self.last.insert((partition, id.producer), id.number);
        if before.is_some_and(|before| before >= id.number) {
            let first = stored.iter().find(|((other, _), known)| *other == partition && **known == id);
            let what = match first {
                Some(((_, first), _)) => format!("a second time, first at {first}"),
                None => "out of order".to_owned(),
            };
            return Err(CrashError::Broken(format!(
                "{topic}-{partition} at {offset}: record {} of producer {} came after record {before:?}: {what}",
                id.number, id.producer
            )));
        }
        Ok(())
    }
}

/// Checks that every acknowledged record is at its offset. Records whose acknowledgement was lost may be there too.
///
/// # Errors
/// When one is not.
pub async fn verify(client: &Client, topics: &[String], acked: &Acked, seed: u64) -> Result<u64, CrashError> {
    let mut read = 0;
    for (number, topic) in topics.iter().enumerate() {
        let stored = read_topic(client, topic, seed).await?;
        read += stored.len() as u64;
        let own =
            acked.range((number, PartitionIndex(0), Offset(0))..(number + 1, PartitionIndex(0), Offset(0)));
        for ((_, partition, offset), id) in own {
            let found = stored.get(&(*partition, *offset));
            if found != Some(id) {
                return Err(CrashError::Broken(format!(
                    "{topic}-{partition} at {offset}: {id:?} was acknowledged, found {found:?}"
                )));
            }
        }
    }
    Ok(read)
}
