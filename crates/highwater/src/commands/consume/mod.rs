//! `highwater consume`: prints the records of a topic, of all partitions at once, or of those that its group gives it.
//!
//! Only records go to stdout. What is printed is flushed as soon as nothing more is there.

mod group;
mod hand_overs;
mod interrupt;
mod print;
pub(crate) mod start;

use std::io::{self, BufWriter, Write};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use clap::{Args, ValueEnum};
use highwater_client::v1::OffsetPlace;
use highwater_client::{Client, ClientError, ConsumedBatch, Consumer, ConsumerConfig, StartPosition};
use highwater_types::{Offset, PartitionIndex};

use crate::error::CliError;

/// Bytes that are written to stdout at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What to print.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic
    topic: String,
    /// Where to begin: earliest, latest, an offset, a time (RFC 3339, or milliseconds since 1970) or how long ago (-1h); with --group only
    /// where the group has committed nothing [default: latest, with --group earliest]
    #[arg(long, value_name = "POSITION", value_parser = start::parse, allow_hyphen_values = true)]
    from: Option<StartPosition>,
    #[command(flatten)]
    shared: group::GroupArgs,
    /// Only this partition; may be repeated
    #[arg(long = "partition", value_name = "N", conflicts_with = "group")]
    partitions: Vec<u32>,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop where each partition ends now
    #[arg(long, conflicts_with = "group")]
    until_end: bool,
    /// How long to try to get back to a node that went away; a consumer of a group goes on trying
    #[arg(long, conflicts_with = "group", default_value = "2m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    retry_for: Duration,
    /// How to print a record
    #[arg(long, value_enum, default_value_t = RecordFormat::Value)]
    format: RecordFormat,
}

/// How to print a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordFormat {
    /// The value's bytes and a newline
    Value,
    /// An object on a line: partition, offset, timestamp, key, value, headers; bytes that are not UTF-8 as
    /// key_base64 and value_base64
    Json,
}

/// When to stop.
struct Limits {
    /// Records that may still be printed.
    left: Option<u64>,
    /// The end of each partition that has not reached it; by partition.
    ends: Option<Vec<(PartitionIndex, Offset)>>,
}

/// Runs the command.
pub(crate) async fn run(args: ConsumeArgs, client: &Client) -> Result<(), CliError> {
    if let Some(group) = args.shared.group.clone() {
        return group::run(args, group, client).await;
    }
    let mut partitions: Vec<_> = args.partitions.iter().copied().map(PartitionIndex).collect();
    if partitions.is_empty() {
        let topic = client.admin().describe_topic(&args.topic, false).await?;
        partitions = topic.partitions.iter().map(|partition| PartitionIndex(partition.partition)).collect();
    }
    let mut limits = Limits { left: args.count, ends: None };
    if args.until_end {
        let ends = client.admin().offsets(&args.topic, &partitions, OffsetPlace::Latest).await?;
        limits.ends =
            Some(partitions.iter().copied().zip(ends.into_iter().map(Option::unwrap_or_default)).collect());
    }
    let start = args.from.unwrap_or(StartPosition::Latest);
    let config = ConsumerConfig { retry_for: Some(args.retry_for), ..ConsumerConfig::starting_at(start) };
    let mut consumer = client.consumer(&args.topic, &partitions, config).await?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let printed = print_all(&mut consumer, &mut limits, args.format, &mut out).await;
    // What was read before an error is shown all the same.
    out.flush()?;
    printed
}

async fn print_all(
    consumer: &mut Consumer,
    limits: &mut Limits,
    format: RecordFormat,
    out: &mut impl Write,
) -> Result<(), CliError> {
    while !limits.are_reached() {
        let batch = match poll_once(consumer).await {
            Some(batch) => batch,
            None => {
                out.flush()?;
                consumer.next_batch().await
            }
        };
        let Some(batch) = batch? else { break };
        for record in limits.allowed(&batch) {
            match format {
                RecordFormat::Value => print::value(out, record)?,
                RecordFormat::Json => print::json(out, batch.partition, record)?,
            }
        }
        limits.advance(&batch);
    }
    Ok(())
}

/// The next batch if it is there already.
async fn poll_once(consumer: &mut Consumer) -> Option<Result<Option<ConsumedBatch>, ClientError>> {
    let mut next = pin!(consumer.next_batch());
    std::future::poll_fn(|context| match next.as_mut().poll(context) {
        Poll::Ready(batch) => Poll::Ready(Some(batch)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

impl Limits {
    fn are_reached(&self) -> bool {
        self.left == Some(0) || self.ends.as_ref().is_some_and(Vec::is_empty)
    }

    /// The records of a batch that are still to be printed.
    fn allowed<'a>(&mut self, batch: &'a ConsumedBatch) -> &'a [highwater_client::Record] {
        let mut records = &batch.records[..];
        if let Some(ends) = &self.ends {
            let end = ends.iter().find(|(partition, _)| *partition == batch.partition).map(|(_, end)| *end);
            let before_end = end.map_or(0, |end| records.partition_point(|record| record.offset < end));
            records = &records[..before_end];
        }
        if let Some(left) = &mut self.left {
            records = &records[..records.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
            *left -= u64::try_from(records.len()).unwrap_or(*left);
        }
        records
    }

    /// Notes how far a partition is.
    fn advance(&mut self, batch: &ConsumedBatch) {
        if let Some(ends) = &mut self.ends {
            ends.retain(|(partition, end)| *partition != batch.partition || batch.next_offset < *end);
        }
    }
}
