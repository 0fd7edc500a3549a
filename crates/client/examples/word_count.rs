//! Counts the words of a topic as a consumer group, then sets the group back to the start and counts again: the same comes out.
//!
//! ```sh
//! highwater dev --nodes 3       # in another terminal; it says where its nodes are
//! cargo run -p highwater-client --example word_count -- 127.0.0.1:7400
//! ```
#![allow(clippy::print_stdout, reason = "it is for people to look at")]

use std::collections::BTreeMap;

use highwater_client::v1::{CreateTopicRequest, OffsetPlace};
use highwater_client::{
    Client, ClientError, GroupConsumerConfig, ProducerConfig, ProducerRecord, TopicPartition,
};
use highwater_types::{ErrorCode, Offset, PartitionIndex};

const TOPIC: &str = "word-count";
const GROUP: &str = "word-count";
const PARTITIONS: u32 = 4;
const TEXT: [&str; 4] = [
    "the river rises and the river falls",
    "the mark on the wall says how high the water was",
    "what is below the mark stays",
    "and what is above it the river takes",
];

type Counts = BTreeMap<String, u64>;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7400".to_owned());
    let client = Client::connect([server])?;
    write(&client).await?;
    replay(&client).await?;
    let first = count(&client).await?;
    replay(&client).await?;
    let second = count(&client).await?;
    for (word, count) in &first {
        println!("{count:6} {word}");
    }
    println!("{}", if first == second { "a replay counts the same" } else { "a replay counts something else" });
    Ok(())
}

/// Makes the topic, unless it is there, and writes the text to it.
async fn write(client: &Client) -> Result<(), ClientError> {
    let request =
        CreateTopicRequest { name: TOPIC.to_owned(), partitions: PARTITIONS, ..CreateTopicRequest::default() };
    match client.admin().create_topic(request).await {
        Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => return Err(error),
        _ => {}
    }
    let producer = client.producer(ProducerConfig::default())?;
    for line in TEXT {
        drop(producer.send(TOPIC, ProducerRecord::value(line)).await?);
    }
    producer.close().await
}

/// Sets the group back to the first record of each partition. It has no members now, which that needs.
async fn replay(client: &Client) -> Result<(), ClientError> {
    let starts = places(client, OffsetPlace::Earliest).await?;
    let starts: Vec<_> = starts.into_iter().collect();
    for outcome in client.admin().reset_offsets(GROUP, &starts).await? {
        outcome?;
    }
    Ok(())
}

/// Counts from where the group is to the ends as they are now, and commits that.
async fn count(client: &Client) -> Result<Counts, ClientError> {
    let mut left = places(client, OffsetPlace::Latest).await?;
    let starts = places(client, OffsetPlace::Earliest).await?;
    left.retain(|partition, end| starts.get(partition).is_some_and(|start| start < end));
    let mut consumer = client.group_consumer(GroupConsumerConfig::new(GROUP, [TOPIC]), ())?;
    let mut counts = Counts::new();
    while !left.is_empty() {
        let batch = consumer.next_batch().await?;
        let values = batch.records.iter().filter_map(|record| record.value.as_deref());
        for word in values.flat_map(|value| value.split(|byte| *byte == b' ')) {
            *counts.entry(String::from_utf8_lossy(word).into_owned()).or_default() += 1;
        }
        let partition = TopicPartition::new(TOPIC, batch.partition);
        if left.get(&partition).is_some_and(|end| *end <= batch.next_offset) {
            left.remove(&partition);
        }
    }
    // The last batch is counted as well.
    consumer.commit().await?;
    consumer.close().await?;
    Ok(counts)
}

/// Where each partition begins or ends.
async fn places(client: &Client, place: OffsetPlace) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
    let partitions: Vec<PartitionIndex> = (0..PARTITIONS).map(PartitionIndex).collect();
    let offsets = client.admin().offsets(TOPIC, &partitions, place).await?;
    let named = partitions.into_iter().map(|partition| TopicPartition::new(TOPIC, partition));
    Ok(named.zip(offsets).filter_map(|(partition, offset)| Some((partition, offset?))).collect())
}
