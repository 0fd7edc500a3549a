//! `highwater produce`: sends records from files or stdin, and says how many arrived.
//!
//! Reading, encoding and sending run side by side with bounded queues between them; no record waits for the
//! acknowledgement of the one before.

mod acks;
mod input;
pub(crate) mod json_record;
mod progress;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use highwater_client::{Client, Compression, Producer, ProducerConfig};
use tokio::time::Instant;

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{bytes, counted, say};

use acks::Acks;
use input::Input;
use progress::Progress;

/// Records between two looks at whether any has failed.
const FAILURE_CHECK_RECORDS: u64 = 256;

/// What to send where.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic
    topic: String,
    /// Files to read, one after another; stdin if there are none, or for "-"
    files: Vec<PathBuf>,
    /// What the input is made of
    #[arg(long, value_enum, default_value_t = InputFormat::Lines)]
    format: InputFormat,
    /// How long to try to deliver a record, through errors and restarts of the node
    #[arg(long, default_value = "2m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    delivery_timeout: Duration,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value = "none", value_name = "CODEC", value_parser = parse_compression)]
    compression: Compression,
    /// Print a line for each record once it is acknowledged: its partition and offset; with --output json as an object
    #[arg(long)]
    pub(crate) print_acks: bool,
    /// Print nothing but errors, and what --print-acks asks for
    #[arg(long, short)]
    quiet: bool,
}

/// What the input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Each line is a value, without its newline
    Lines,
    /// Each line is an object: "value" (a string, or null) or "value_base64"; if wanted "key" or "key_base64",
    /// "headers" (an object of strings, or a list of objects with key and value), "timestamp" (milliseconds or RFC
    /// 3339), "partition"
    Json,
}

/// Runs the command.
pub(crate) async fn run(args: ProduceArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    // Tells at once when the topic does not exist or nobody answers; only from here on it is worth waiting.
    client.admin().describe_topic(&args.topic, false).await?;
    let config = ProducerConfig {
        delivery_timeout: args.delivery_timeout,
        compression: args.compression,
        ..ProducerConfig::default()
    };
    let producer = client.producer(config)?;
    let mut progress = Progress::new(args.quiet);
    let started = Instant::now();
    let mut input = Input::open(args.files, args.format);
    let acks = if args.print_acks { Acks::print(args.topic.clone(), format) } else { Acks::none() };
    let sent = send_all(&producer, &args.topic, &mut input, &acks, &mut progress).await;
    // What was read before an error is delivered all the same.
    let flushed = progress.while_waiting(&producer, producer.flush()).await;
    let printed = progress.while_waiting(&producer, acks.finish()).await;
    progress.finish();
    let stats = producer.stats();
    if !args.quiet {
        let seconds = started.elapsed().as_secs_f64();
        let (acked, read) = (counted(stats.records_acked, "record"), bytes(progress.bytes()));
        // Only when all went well are the bytes that were read also those that arrived.
        match flushed.is_ok() && sent.is_ok() {
            true => say(&format!("{acked}, {read} in {seconds:.1} s")),
            false => say(&format!("{acked} acknowledged, {read} read, in {seconds:.1} s")),
        }
    }
    if let Err(cause) = flushed {
        let total = stats.records_acked + stats.records_failed;
        return Err(CliError::Undelivered { failed: stats.records_failed, total, cause });
    }
    sent.and(printed)
}

/// Hands everything to the producer; stops at the first record that failed.
async fn send_all(
    producer: &Producer,
    topic: &str,
    input: &mut Input,
    acks: &Acks,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let mut count: u64 = 0;
    while let Some(record) = progress.while_waiting(producer, input.next()).await {
        let record = record?;
        progress.count(&record);
        let delivery = progress.while_waiting(producer, producer.send(topic, record)).await?;
        progress.while_waiting(producer, acks.take(delivery)).await;
        count += 1;
        if count.is_multiple_of(FAILURE_CHECK_RECORDS) && producer.stats().records_failed > 0 {
            break;
        }
    }
    Ok(())
}

fn parse_compression(name: &str) -> Result<Compression, String> {
    Compression::from_name(name).ok_or_else(|| "expected none, gzip, snappy, lz4 or zstd".to_owned())
}
