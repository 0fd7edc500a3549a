//! Reading a topic in a group beside reading it alone, in turns.

use std::time::Duration;

use highwater_benches::{BenchError, LocalCluster, Place, create_topic, fill};
use highwater_client::v1::OffsetPlace;
use highwater_client::{Client, ConsumerConfig, GroupConsumerConfig, StartPosition};
use highwater_types::{Offset, PartitionIndex};
use tokio::time::Instant;

const TOPIC: &str = "consume";
const NODES: usize = 3;
const PARTITIONS: u32 = 4;
const VALUE_BYTES: usize = 1024;
const BYTES: usize = 1 << 30;

/// See the module.
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
pub(crate) async fn measure(place: &Place, pairs: usize) -> Result<(), BenchError> {
    let cluster = LocalCluster::start(place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    create_topic(&client, TOPIC, PARTITIONS, NODES).await?;
    fill(&client, TOPIC, BYTES, VALUE_BYTES).await?;
    let partitions: Vec<PartitionIndex> = (0..PARTITIONS).map(PartitionIndex).collect();
    let ends = client.admin().offsets(TOPIC, &partitions, OffsetPlace::Latest).await?;
    let records: i64 = ends.into_iter().flatten().map(|end| end.0).sum();
    let mut ratios = Vec::new();
    for pair in 0..=pairs {
        let alone = alone(&client, records).await?;
        let grouped = grouped(&client, &format!("group-{pair}"), records).await?;
        let rate = |took: Duration| (BYTES >> 20) as f64 / took.as_secs_f64();
        let ratio = rate(grouped) / rate(alone);
        // The first is a warm-up.
        if pair > 0 {
            println!(
                "alone {:>6.0} MiB/s   in a group {:>6.0} MiB/s   {:.2}",
                rate(alone),
                rate(grouped),
                ratio
            );
            ratios.push(ratio);
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "reading in a group, to reading alone: {:.2}",
        ratios.get(ratios.len() / 2).copied().unwrap_or_default()
    );
    Ok(())
}

async fn alone(client: &Client, records: i64) -> Result<Duration, BenchError> {
    let began = Instant::now();
    let mut consumer =
        client.consumer(TOPIC, &[], ConsumerConfig::starting_at(StartPosition::Offset(Offset::ZERO))).await?;
    let mut read = 0;
    while read < records {
        let Some(batch) = consumer.next_batch().await? else { return Err(BenchError::Gone) };
        read += i64::try_from(batch.records.len()).unwrap_or(0);
    }
    Ok(began.elapsed())
}

/// From the first record on: joining takes its time once, reading every time.
async fn grouped(client: &Client, group: &str, records: i64) -> Result<Duration, BenchError> {
    let mut consumer = client.group_consumer(GroupConsumerConfig::new(group, [TOPIC]), ())?;
    let (mut read, mut began) = (0, None);
    while read < records {
        let batch = consumer.next_batch().await?;
        began.get_or_insert_with(Instant::now);
        read += i64::try_from(batch.records.len()).unwrap_or(0);
    }
    let took = began.map_or(Duration::ZERO, |began| began.elapsed());
    consumer.close().await?;
    Ok(took)
}
