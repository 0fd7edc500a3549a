//! A producer: sends values, each once, and books what it is told about them.

use std::sync::Arc;
use std::time::Duration;

use highwater_client::{ClientError, Delivery, Producer, ProducerConfig, ProducerRecord};
use tokio::time::sleep;

use super::Shared;
use crate::chance::Chance;
use crate::history::Value;

/// How long a value may take.
const DELIVERY_WITHIN: Duration = Duration::from_secs(8);
/// Most bytes of a value beside its name.
const PADDING_MAX: u64 = 200;

/// Sends until the load is over.
pub(super) async fn run(shared: Arc<Shared>, number: u32) {
    let name = format!("producer {number}");
    let chance = shared.chance(&name);
    // Most people leave the default.
    let is_idempotent = !chance.one_in(4);
    let client = shared.client(&name);
    let places = shared.load.places();
    let start = || client.producer(config(&chance, is_idempotent)).expect("the settings are possible");
    let mut producer = start();
    let mut sequence = 0;
    while shared.is_loading() {
        if chance.one_in(300) {
            // As when a process ends in the middle of its work: what it had on its way may or may not arrive.
            producer = start();
        }
        for _ in 0..burst(&chance) {
            let value = Value { producer: number, number: sequence };
            sequence += 1;
            let place = chance.pick(&places);
            shared.history.sending(value, place, is_idempotent);
            let bytes = value.encode(usize::try_from(chance.below(PADDING_MAX)).unwrap_or(0));
            let record = ProducerRecord { partition: Some(place.partition), ..ProducerRecord::value(bytes) };
            // A producer whose buffer is full takes a value later than it was given one.
            shared.on_their_way.send_modify(|count| *count += 1);
            match producer.send(&place.topic, record).await {
                Ok(delivery) => drop(tokio::spawn(book(shared.clone(), value, delivery))),
                Err(error) => {
                    failed(&shared, value, &error);
                    shared.on_their_way.send_modify(|count| *count -= 1);
                }
            }
        }
        sleep(Duration::from_millis(chance.within(5..80))).await;
    }
    finish(&producer).await;
}

fn config(chance: &Chance, idempotence: bool) -> ProducerConfig {
    ProducerConfig {
        batch_bytes: *chance.pick(&[200, 2 << 10, 16 << 10]),
        linger: Duration::from_millis(chance.below(10)),
        delivery_timeout: DELIVERY_WITHIN,
        idempotence,
        ..ProducerConfig::default()
    }
}

fn burst(chance: &Chance) -> u64 {
    if chance.one_in(10) { chance.within(2..30) } else { 1 }
}

async fn finish(producer: &Producer) {
    // Each value's own outcome is booked; the first failure alone says nothing more.
    let _ = producer.flush().await;
}

async fn book(shared: Arc<Shared>, value: Value, delivery: Delivery) {
    match delivery.wait().await {
        Ok(delivered) => {
            shared.trace.note(format_args!("{value} at {}-{}", delivered.partition, delivered.offset));
            shared.history.acked(value, delivered.offset);
        }
        Err(error) => failed(&shared, value, &error),
    }
    shared.on_their_way.send_modify(|count| *count -= 1);
}

fn failed(shared: &Shared, value: Value, error: &ClientError) {
    let is_unknown = match error {
        ClientError::DeliveryTimeout { outcome_unknown, .. } => *outcome_unknown,
        ClientError::OutcomeUnknown(_)
        | ClientError::Connection { .. }
        | ClientError::Protocol { .. }
        | ClientError::Refused { .. }
        | ClientError::Closed => true,
        _ => false,
    };
    let what = if is_unknown { "unknown" } else { "refused" };
    shared.trace.note(format_args!("{value} {what}: {error}"));
    if !is_unknown {
        shared.history.refused(value);
    }
}
