//! The end of a run: every partition takes one more value, and is read from its start to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_client::v1::{OffsetPlace, PartitionProblem};
use highwater_client::{Client, ClientError, ConsumerConfig, ProducerConfig, ProducerRecord, StartPosition};
use highwater_types::Offset;
use tokio::time::{sleep, timeout};

use super::{CALL_WITHIN, Shared, groups, lone, members};
use crate::history::{Place, Value};

/// The producer of the last values.
const LAST_PRODUCER: u32 = 1_000_000;

/// Reads everything, however often that takes.
pub(super) async fn run(shared: &Shared) {
    let client = shared.client("settle");
    let (mut found, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for (number, place) in shared.load.places().into_iter().enumerate() {
        let mut attempt = 0_u64;
        let (offsets, end) = loop {
            let value = Value { producer: LAST_PRODUCER + u32::try_from(number).unwrap_or(0), number: attempt };
            attempt += 1;
            match timeout(CALL_WITHIN * 2, settle(shared, &client, &place, value)).await {
                Ok(Ok(settled)) => break settled,
                Ok(Err(error)) => shared.trace.note(format_args!("{place} is not settled: {error}")),
                Err(_) => shared.trace.note(format_args!("{place} is not settled in time")),
            }
            sleep(Duration::from_millis(100)).await;
        };
        shared.trace.note(format_args!("{place} is settled, {} values", offsets.len()));
        found.insert(place.clone(), offsets);
        ends.insert(place, end);
    }
    if shared.load.administers {
        members::finish(shared).await;
    }
    if shared.load.members > 0 {
        groups::settle(shared, &client, &ends).await;
        shared.group.finish(&shared.history, &found);
    }
    match shared.load.has_lone {
        // What has one replica is lost with its disk, and never well again.
        true => lone::check(shared, &client).await,
        false => until_healthy(shared, &client).await,
    }
    shared.history.finish(&found);
    shared.progress.lock().is_settled = true;
}

/// Waits until the cluster itself finds nothing wrong: every node serves, every replica is in sync, and none is damaged.
pub(super) async fn until_healthy(shared: &Shared, client: &Client) {
    loop {
        match timeout(CALL_WITHIN, client.admin().cluster_status()).await {
            Ok(Ok(status)) if status.is_healthy => return,
            Ok(Ok(status)) => {
                let problems = [&status.unavailable, &status.under_replicated, &status.quarantined];
                let counts = problems.map(|problems| problems.as_ref().map_or(0, |problems| problems.count));
                let [unavailable, under_replicated, quarantined] = counts;
                shared.trace.note(format_args!(
                    "not healthy: {unavailable} partitions unavailable, {under_replicated} under-replicated, {quarantined} quarantined"
                ));
                let first = problems.iter().filter_map(|problems| problems.as_ref()?.partitions.first()).next();
                if let Some(PartitionProblem { topic, partition, reason, .. }) = first {
                    shared.trace.note(format_args!("{topic}-{partition}: {reason}"));
                }
            }
            Ok(Err(error)) => shared.trace.note(format_args!("no status: {error}")),
            Err(_) => shared.trace.note("no status in time"),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn settle(
    shared: &Shared,
    client: &Client,
    place: &Place,
    value: Value,
) -> Result<(BTreeSet<Offset>, Offset), ClientError> {
    let producer = client.producer(ProducerConfig::default())?;
    shared.history.sending(value, place, true);
    let record = ProducerRecord { partition: Some(place.partition), ..ProducerRecord::value(value.encode(0)) };
    let delivered = producer.send(&place.topic, record).await?.wait().await?;
    shared.history.acked(value, delivered.offset);

    let ends = client.admin().offsets(&place.topic, &[place.partition], OffsetPlace::Latest).await?;
    let end = ends.first().copied().flatten().unwrap_or(Offset::ZERO);
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(&place.topic, &[place.partition], config).await?;
    let (mut next, mut offsets) = (Offset::ZERO, BTreeSet::new());
    let deleted = shared.history.deleted(place);
    while next < end {
        let Some(batch) = consumer.next_batch().await? else { return Err(ClientError::Closed) };
        for record in &batch.records {
            if record.offset != next && (record.offset < next || record.offset > deleted) {
                shared
                    .history
                    .violation(format!("poll-skip: {place} {} came, {next} was to come", record.offset));
            }
            next = record.offset.next();
            shared.history.read(place, record.offset, record.value.as_deref().unwrap_or_default());
            offsets.insert(record.offset);
        }
        next = batch.next_offset;
    }
    shared.history.settle(place, next);
    Ok((offsets, next))
}
