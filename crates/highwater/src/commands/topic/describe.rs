//! One topic in full: its partitions with leaders, watermarks and who is behind, and every config with its source.

use highwater_client::{Client, v1};
use serde_json::{Map, Value, json};

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Screen, Table, print_json, print_text};
use crate::views::{PartitionView, partition_table};

/// Describes the topic.
pub(super) async fn run(name: &str, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let topic = client.admin().describe_topic(name, true).await?;
    let partitions: Vec<PartitionView> = topic.partitions.iter().cloned().map(PartitionView::from).collect();
    match format {
        OutputFormat::Json => print_json(&topic_json(&topic, &partitions)),
        OutputFormat::Table => print_text(&topic_text(&topic, &partitions, &Screen::stdout())),
    }
}

fn topic_json(topic: &v1::TopicDescription, partitions: &[PartitionView]) -> Value {
    let config = |config: &v1::ConfigEntry| {
        let value = json!({ "value": config.value, "source": source_name(config.source()) });
        (config.name.clone(), value)
    };
    json!({
        "name": topic.name,
        "topic_id": topic.topic_id,
        "replication_factor": topic.replication_factor,
        "internal": topic.internal,
        "partitions": partitions,
        "configs": topic.configs.iter().map(config).collect::<Map<_, _>>(),
    })
}

fn topic_text(topic: &v1::TopicDescription, partitions: &[PartitionView], screen: &Screen) -> String {
    let mut configs = Table::new(&["CONFIG", "VALUE", "SOURCE"]);
    for config in &topic.configs {
        configs.row(vec![config.name.clone(), config.value.clone(), source_name(config.source()).to_owned()]);
    }
    format!(
        "topic              {}\nid                 {}\nreplication factor {}\n\n{}\n{}",
        topic.name,
        topic.topic_id,
        topic.replication_factor,
        partition_table(partitions).render_on(screen),
        configs.render_on(screen)
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
