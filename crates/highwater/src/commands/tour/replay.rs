//! Reads back everything that the cluster has.

use std::time::Duration;

use highwater_client::{Client, ConsumerConfig, StartPosition};
use highwater_types::{Offset, PartitionIndex};
use tokio::time::timeout;

use super::record;
use super::workload::Ledger;
use crate::error::CliError;

/// How long nothing may come of a partition that was not read to its end. All of them are within a step's time.
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) offset: Offset,
    /// Which it is; `None` when it is none that was sent, or not byte for byte.
    pub(super) number: Option<u64>,
}

/// Reads each partition from its first record to its end, and at least as far as it was acknowledged. One result for each
/// ledger, in their order.
pub(super) async fn read_back(
    client: &Client,
    topic: &str,
    ledgers: &[Ledger],
) -> Result<Vec<Vec<Seen>>, CliError> {
    let mut read = Vec::new();
    for ledger in ledgers {
        let partition = ledger.partition;
        let acked_end = ledger.acked.iter().map(|acked| acked.offset.plus(1)).max().unwrap_or(Offset::ZERO);
        let config = ConsumerConfig::starting_at(StartPosition::Earliest);
        let mut consumer = client.consumer(topic, &[PartitionIndex(partition)], config).await?;
        let mut seen = Vec::new();
        // What does not come is for the judge to miss.
        while let Ok(batch) = timeout(SILENCE_MAX, consumer.next_batch()).await {
            let Some(batch) = batch? else { break };
            seen.extend(batch.records.iter().map(|read| Seen {
                offset: read.offset,
                number: record::number_of(partition, read.key.as_deref(), read.value.as_deref()),
            }));
            // An end below what was acknowledged would be a loss; a replica that is only behind catches up.
            if batch.next_offset >= batch.high_watermark && batch.next_offset >= acked_end {
                break;
            }
        }
        read.push(seen);
    }
    Ok(read)
}
