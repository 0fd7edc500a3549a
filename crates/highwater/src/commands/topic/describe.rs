//! One topic in full: its partitions with their watermarks, and every config with its source.

use highwater_client::{Client, v1};
use serde_json::{Map, Value, json};

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Table, bytes, print_json, print_text};

/// Describes the topic.
pub(super) async fn run(name: &str, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let topic = client.admin().describe_topic(name, true).await?;
    match format {
        OutputFormat::Json => print_json(&topic_json(&topic)),
        OutputFormat::Table => print_text(&topic_text(&topic)),
    }
}

fn topic_json(topic: &v1::TopicDescription) -> Value {
    let partition = |partition: &v1::PartitionDescription| {
        json!({
            "partition": partition.partition,
            "leader_node_id": partition.leader_node_id,
            "leader_epoch": partition.leader_epoch,
            "replica_node_ids": partition.replica_node_ids,
            "log_start_offset": partition.offsets.map(|offsets| offsets.log_start_offset),
            "high_watermark": partition.offsets.map(|offsets| offsets.high_watermark),
            "size_bytes": partition.offsets.map(|offsets| offsets.size_bytes),
            "error": partition.error.as_ref().map(|error| json!({ "code": error.code, "message": error.message })),
        })
    };
    let config = |config: &v1::ConfigEntry| {
        let value = json!({ "value": config.value, "source": source_name(config.source()) });
        (config.name.clone(), value)
    };
    json!({
        "name": topic.name,
        "topic_id": topic.topic_id,
        "replication_factor": topic.replication_factor,
        "internal": topic.internal,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        "configs": topic.configs.iter().map(config).collect::<Map<_, _>>(),
    })
}

fn topic_text(topic: &v1::TopicDescription) -> String {
    let mut partitions =
        Table::new(&["PARTITION", "LEADER", "REPLICAS", "LOG START", "HIGH WATERMARK", "SIZE", "ERROR"]);
    let unknown = || "?".to_owned();
    for partition in &topic.partitions {
        let replicas: Vec<_> = partition.replica_node_ids.iter().map(u64::to_string).collect();
        let offsets = partition.offsets.as_ref();
        partitions.row(vec![
            partition.partition.to_string(),
            partition.leader_node_id.map_or_else(|| "none".to_owned(), |id| id.to_string()),
            replicas.join(","),
            offsets.map_or_else(unknown, |offsets| offsets.log_start_offset.to_string()),
            offsets.map_or_else(unknown, |offsets| offsets.high_watermark.to_string()),
            offsets.map_or_else(unknown, |offsets| bytes(offsets.size_bytes)),
            partition
                .error
                .as_ref()
                .map_or_else(String::new, |error| format!("{} ({})", error.message, error.code)),
        ]);
    }
    let mut configs = Table::new(&["CONFIG", "VALUE", "SOURCE"]);
    for config in &topic.configs {
        configs.row(vec![config.name.clone(), config.value.clone(), source_name(config.source()).to_owned()]);
    }
    format!(
        "topic              {}\nid                 {}\nreplication factor {}\n\n{}\n{}",
        topic.name,
        topic.topic_id,
        topic.replication_factor,
        partitions.render(),
        configs.render()
    )
}

fn source_name(source: v1::ConfigSource) -> &'static str {
    match source {
        v1::ConfigSource::Default => "default",
        v1::ConfigSource::Cluster => "cluster",
        v1::ConfigSource::Topic => "topic",
        v1::ConfigSource::Unspecified => "unknown",
    }
}
