//! What idle partitions cost a node: memory of its own and CPU, while they are new and after they were used.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use highwater_benches::{BenchError, LocalCluster, Place, Usage};
use highwater_client::{Client, ProducerConfig, ProducerRecord, v1};
use highwater_types::PartitionIndex;
use tokio::time::sleep;

const NODES: usize = 3;
/// Partitions of a topic: a topic is created in one call, which has to have an answer in time.
const TOPIC_PARTITIONS_MAX: u32 = 1000;

/// Measures partitions that nobody uses.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Partitions, each with three replicas
    #[arg(long, default_value_t = 1000)]
    partitions: u32,
    /// Small batches that each partition gets before the second look; 0 leaves it out
    #[arg(long, default_value_t = 5000)]
    batches: u32,
    /// How long the nodes rest before a look, in seconds
    #[arg(long, default_value_t = 15)]
    rest: u64,
    /// How long a look at the CPU takes, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let cluster = LocalCluster::start(&arguments.place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    let base = usages(&cluster)?;
    println!("                node   own KiB   KiB/partition   CPU %");
    look(&arguments, &cluster, &base, "no partitions").await?;
    for (name, partitions) in topics(arguments.partitions) {
        let request = v1::CreateTopicRequest {
            name: name.clone(),
            partitions,
            replication_factor: NODES as u32,
            // Memory and CPU of the idle do not depend on it, and the use before is faster.
            configs: [("durability".to_owned(), "memory".to_owned())].into(),
            ..v1::CreateTopicRequest::default()
        };
        client.admin().create_topic(request).await?;
        wait_for_leaders(&client, &name).await?;
    }
    look(&arguments, &cluster, &base, "new").await?;
    if arguments.batches > 0 {
        use_them(&arguments, &client).await?;
        look(&arguments, &cluster, &base, "used").await?;
    }
    Ok(())
}

/// The topics' names, and how many partitions each has.
fn topics(partitions: u32) -> Vec<(String, u32)> {
    let rest = |number: u32| partitions.saturating_sub(number * TOPIC_PARTITIONS_MAX);
    let topics = (0..partitions.div_ceil(TOPIC_PARTITIONS_MAX)).map(|number| (number, rest(number)));
    topics.map(|(number, rest)| (format!("idle-{number}"), rest.min(TOPIC_PARTITIONS_MAX))).collect()
}

async fn wait_for_leaders(client: &Client, topic: &str) -> Result<(), BenchError> {
    loop {
        let topic = client.admin().describe_topic(topic, false).await?;
        if topic.partitions.iter().all(|partition| partition.leader_node_id.is_some()) {
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Sends every partition its batches, each with one record.
async fn use_them(arguments: &Arguments, client: &Client) -> Result<(), BenchError> {
    let config = ProducerConfig { batch_bytes: 1, linger: Duration::ZERO, ..ProducerConfig::default() };
    let producer = client.producer(config)?;
    let value = Bytes::from_static(b"x");
    let topics = topics(arguments.partitions);
    for _ in 0..arguments.batches {
        for (topic, partitions) in &topics {
            for partition in (0..*partitions).map(PartitionIndex) {
                let record =
                    ProducerRecord { partition: Some(partition), ..ProducerRecord::value(value.clone()) };
                drop(producer.send(topic, record).await?);
            }
        }
    }
    producer.flush().await?;
    producer.close().await?;
    Ok(())
}

fn usages(cluster: &LocalCluster) -> Result<Vec<Usage>, BenchError> {
    cluster.ids().map(|node| cluster.usage(node)?.ok_or(BenchError::Gone)).collect()
}

/// Prints a line for each node.
async fn look(
    arguments: &Arguments,
    cluster: &LocalCluster,
    base: &[Usage],
    when: &str,
) -> Result<(), BenchError> {
    sleep(Duration::from_secs(arguments.rest)).await;
    let before = usages(cluster)?;
    sleep(Duration::from_secs(arguments.seconds)).await;
    for (((node, base), before), after) in cluster.ids().zip(base).zip(before).zip(usages(cluster)?) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / arguments.seconds.max(1) as f64;
        let more = after.anonymous_bytes.saturating_sub(base.anonymous_bytes);
        println!(
            "{when:<14}  {node:>4}  {:>8}  {:>14.1}  {:>6.1}",
            after.anonymous_bytes >> 10,
            more as f64 / 1024.0 / f64::from(arguments.partitions.max(1)),
            cpu * 100.0
        );
    }
    Ok(())
}
