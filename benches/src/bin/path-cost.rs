//! What a produce costs through a running node: throughput, CPU, latency, start time,
//! memory. See the README beside for what the numbers mean.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use highwater_benches::{BenchError, Node, Place, Quantiles};
use highwater_client::{Client, ProducerConfig, ProducerRecord, v1};

/// CPU time is given for so many bytes of values.
const UNIT_BYTES: usize = 64 << 10;

/// Measures the path of a produce through a node.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Mebibytes of values in each measurement
    #[arg(long, default_value_t = 128)]
    mebibytes: usize,
    /// Partitions of each topic
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    /// Sizes of values, in bytes
    #[arg(long, value_delimiter = ',', default_value = "100,1024")]
    sizes: Vec<usize>,
    /// Single records whose time to the acknowledgement is taken
    #[arg(long, default_value_t = 2000)]
    singles: usize,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let (binary, directory) = (arguments.place.binary()?, arguments.place.temporary_directory()?);
    let node = Node::start(&binary, directory.path())?;
    let usage = node.usage()?;
    println!("start to ready {:.1?}, CPU {:.0?}", node.start_time(), usage.cpu);
    println!(
        "idle memory    {} KiB own, {} KiB resident",
        usage.anonymous_bytes >> 10,
        usage.resident_bytes >> 10
    );

    let client = Client::connect([node.address()])?;
    println!();
    println!("durability  value B    records/s     MiB/s   node CPU per 64 KiB   records/batch");
    for durability in ["fsync", "memory"] {
        for &size in &arguments.sizes {
            throughput(&arguments, &node, &client, durability, size).await?;
        }
    }
    println!();
    for durability in ["fsync", "memory"] {
        let times = latency(&client, durability, arguments.singles).await?;
        println!("single records, {durability:<6}: {times}");
    }
    let usage = node.usage()?;
    println!(
        "memory after   {} KiB own, {} KiB resident",
        usage.anonymous_bytes >> 10,
        usage.resident_bytes >> 10
    );
    Ok(())
}

/// Produces as fast as one producer can, and prints a line.
async fn throughput(
    arguments: &Arguments,
    node: &Node,
    client: &Client,
    durability: &str,
    size: usize,
) -> Result<(), BenchError> {
    let topic = format!("throughput-{durability}-{size}");
    create_topic(client, &topic, durability, arguments.partitions).await?;
    let producer = client.producer(ProducerConfig::default())?;
    let value = Bytes::from(vec![b'x'; size]);
    let records = (arguments.mebibytes << 20) / size.max(1);
    let cpu_before = node.usage()?.cpu;
    let began = Instant::now();
    for _ in 0..records {
        drop(producer.send(&topic, ProducerRecord::value(value.clone())).await?);
    }
    producer.flush().await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = node.usage()?.cpu.saturating_sub(cpu_before);
    let stats = producer.stats();
    producer.close().await?;

    let mebibytes = (records * size) as f64 / f64::from(1 << 20);
    let cpu_per_unit = cpu.div_f64((records * size) as f64 / UNIT_BYTES as f64);
    println!(
        "{durability:<10}  {size:>7}  {:>11.0}  {:>8.1}  {:>20}  {:>14.0}",
        records as f64 / seconds,
        mebibytes / seconds,
        format!("{cpu_per_unit:.1?}"),
        stats.records_acked as f64 / stats.batches_acked.max(1) as f64,
    );
    Ok(())
}

/// Sends records one at a time, each after the acknowledgement of the one before.
async fn latency(client: &Client, durability: &str, records: usize) -> Result<Quantiles, BenchError> {
    let topic = format!("latency-{durability}");
    create_topic(client, &topic, durability, 1).await?;
    let producer = client.producer(ProducerConfig { linger: Duration::ZERO, ..ProducerConfig::default() })?;
    let value = Bytes::from(vec![b'x'; 100]);
    let mut times = Vec::with_capacity(records);
    for _ in 0..records {
        let began = Instant::now();
        producer.send(&topic, ProducerRecord::value(value.clone())).await?.await?;
        times.push(began.elapsed());
    }
    producer.close().await?;
    Ok(Quantiles::of(times))
}

async fn create_topic(
    client: &Client,
    name: &str,
    durability: &str,
    partitions: u32,
) -> Result<(), BenchError> {
    let request = v1::CreateTopicRequest {
        name: name.to_owned(),
        partitions,
        configs: [("durability".to_owned(), durability.to_owned())].into(),
        ..v1::CreateTopicRequest::default()
    };
    client.admin().create_topic(request).await?;
    Ok(())
}
