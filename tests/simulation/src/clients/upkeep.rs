//! What administrators do meanwhile: records are deleted, topics come and go.

use std::sync::Arc;
use std::time::Duration;

use highwater_client::v1::{
    CreateTopicRequest, DeleteRecordsPartition, DeleteRecordsRequest, DeleteTopicRequest, delete_records_result,
};
use highwater_client::{Client, ClientError, ConsumerConfig, ProducerConfig, ProducerRecord, StartPosition};
use highwater_types::Offset;
use tokio::time::{sleep, timeout};

use super::{CALL_WITHIN, Shared};

/// Deletes records, up to some offset that was acknowledged.
pub(super) async fn delete_records(shared: Arc<Shared>) {
    let chance = shared.chance("delete records");
    let client = shared.client("delete records");
    let places = shared.load.places();
    while shared.is_loading() {
        sleep(Duration::from_millis(chance.within(500..4000))).await;
        let place = chance.pick(&places);
        let acked = u64::try_from(shared.history.acked_end(place).0).unwrap_or(0);
        let before_offset = i64::try_from(chance.below(acked + 1)).unwrap_or(0);
        shared.history.deleting(place, Offset(before_offset));
        let request = DeleteRecordsRequest {
            topic: place.topic.clone(),
            partitions: vec![DeleteRecordsPartition { partition: place.partition.0, before_offset }],
            ..DeleteRecordsRequest::default()
        };
        let answer = timeout(CALL_WITHIN, client.admin().delete_records(request)).await;
        let Ok(Ok(answer)) = answer else { continue };
        if let Some(delete_records_result::Result::LogStartOffset(start)) =
            answer.results.into_iter().next().and_then(|result| result.result)
        {
            shared.trace.note(format_args!("{place} starts at {start}"));
            if start < before_offset {
                shared.history.violation(format!(
                    "watermark: {place} starts at {start} after {before_offset} was deleted"
                ));
            }
            shared.saw(place, Offset::ZERO, Offset(start));
        }
    }
}

/// Makes topics, writes to them, reads it back, and deletes them.
pub(super) async fn churn(shared: Arc<Shared>) {
    let chance = shared.chance("churn");
    let client = shared.client("churn");
    let mut number = 0;
    while shared.is_loading() {
        // A topic may come again under the name of one that is gone.
        let topic = format!("churn{}", number % 2);
        number += 1;
        let values = chance.within(1..20);
        match timeout(CALL_WITHIN * 2, one_topic(&shared, &client, &topic, (number, values))).await {
            Ok(Ok(())) => shared.trace.note(format_args!("{topic} came, took {values} values and is to go")),
            Ok(Err(error)) => shared.trace.note(format_args!("{topic}: {error}")),
            Err(_) => shared.trace.note(format_args!("{topic} takes too long")),
        }
        let request = DeleteTopicRequest { topic: topic.clone(), ..DeleteTopicRequest::default() };
        let _ = timeout(CALL_WITHIN, client.admin().delete_topic(request)).await;
        sleep(Duration::from_millis(chance.within(50..2000))).await;
    }
}

async fn one_topic(
    shared: &Shared,
    client: &Client,
    topic: &str,
    (number, values): (u64, u64),
) -> Result<(), ClientError> {
    let request = CreateTopicRequest {
        name: topic.to_owned(),
        partitions: 1,
        replication_factor: 3,
        configs: [("file.delete.delay.ms".to_owned(), "500".to_owned())].into(),
        ..CreateTopicRequest::default()
    };
    client.admin().create_topic(request).await?;
    let producer = client.producer(ProducerConfig::default())?;
    for value in 0..values {
        let record = ProducerRecord::value(format!("{number} {value}"));
        producer.send(topic, record).await?.wait().await?;
    }
    let mut consumer =
        client.consumer(topic, &[], ConsumerConfig::starting_at(StartPosition::Earliest)).await?;
    let mut next = 0;
    while next < values {
        let Some(batch) = consumer.next_batch().await? else { return Err(ClientError::Closed) };
        for record in batch.records {
            if record.value.as_deref() != Some(format!("{number} {next}").as_bytes()) {
                let found = record.value.as_deref().map(String::from_utf8_lossy);
                let what =
                    format!("lost-write: {topic} has {found:?} at {}, not {number} {next}", record.offset);
                shared.history.violation(what);
            }
            next += 1;
        }
    }
    Ok(())
}
