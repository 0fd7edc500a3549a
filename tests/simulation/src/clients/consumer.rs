//! A consumer: reads topics as they grow, and holds what it is given against what must come next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_client::{ClientError, ConsumedBatch, ConsumerConfig, StartPosition};
use highwater_types::{ErrorCode, Offset};
use tokio::time::{sleep, timeout};

use super::{CALL_WITHIN, Phase, Shared};
use crate::history::Place;

/// Reads until the load is over. Now and then it begins anew.
pub(super) async fn run(shared: Arc<Shared>, number: u32) {
    let name = format!("consumer {number}");
    let chance = shared.chance(&name);
    let client = shared.client(&name);
    let topics: Vec<String> = shared.load.topics.keys().cloned().collect();
    let mut watermarks = BTreeMap::new();
    while shared.is_loading() {
        let topic = chance.pick(&topics).clone();
        let config = ConsumerConfig::starting_at(StartPosition::Earliest);
        let consumer = match timeout(CALL_WITHIN, client.consumer(&topic, &[], config)).await {
            Ok(Ok(consumer)) => consumer,
            Ok(Err(_)) | Err(_) => {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let mut reading = Reading { shared: &shared, topic, next: BTreeMap::new(), watermarks };
        let batches = chance.within(1000..6000);
        tokio::select! {
            biased;
            () = reading.read(consumer, batches) => {}
            () = shared.reach(Phase::Settle) => {}
        }
        watermarks = reading.watermarks;
    }
}

struct Reading<'a> {
    shared: &'a Shared,
    topic: String,
    /// What must come next of each partition.
    next: BTreeMap<Place, Offset>,
    /// The last watermark of each.
    watermarks: BTreeMap<Place, Offset>,
}

impl Reading<'_> {
    async fn read(&mut self, mut consumer: highwater_client::Consumer, batches: u64) {
        for _ in 0..batches {
            match consumer.next_batch().await {
                Ok(Some(batch)) => self.check(&batch),
                Ok(None) => return,
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn check(&mut self, batch: &ConsumedBatch) {
        let place = Place { topic: self.topic.clone(), partition: batch.partition };
        let history = &self.shared.history;
        let deleted = history.deleted(&place);
        // It begins where the log does, which may be anywhere up to what was deleted.
        let next = self.next.entry(place.clone()).or_insert(Offset::ZERO);
        for record in &batch.records {
            if record.offset < *next {
                history.violation(format!(
                    "nonmonotonic-poll: {place} {} came, {next} was to come",
                    record.offset
                ));
            } else if record.offset > *next && record.offset > deleted {
                history.violation(format!("poll-skip: {place} {} came, {next} was to come", record.offset));
            }
            *next = record.offset.next();
            history.read(&place, record.offset, record.value.as_deref().unwrap_or_default());
        }
        if batch.next_offset != *next && batch.next_offset > deleted {
            history
                .violation(format!("poll-skip: {place} goes on at {}, {next} was to come", batch.next_offset));
        }
        *next = batch.next_offset;
        let known = self.watermarks.entry(place.clone()).or_insert(Offset::ZERO);
        if batch.high_watermark < *known || batch.high_watermark < *next {
            let told = batch.high_watermark;
            history.violation(format!("watermark: {place} is told as {told} after {known}, read up to {next}"));
        }
        *known = batch.high_watermark.max(*known);
    }

    fn failed(&self, error: &ClientError) {
        self.shared.trace.note(format_args!("a consumer of {} ends: {error}", self.topic));
        // Who reads slower than others delete may find its place gone.
        let is_gone = error.code() == Some(ErrorCode::OffsetOutOfRange) && !self.shared.load.deletes;
        if is_gone || matches!(error, ClientError::CorruptBatch { .. }) {
            self.shared.history.violation(format!("watermark: reading {}: {error}", self.topic));
        }
    }
}
