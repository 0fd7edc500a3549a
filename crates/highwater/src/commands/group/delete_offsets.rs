//! `highwater group delete-offsets`: forgets what a group has committed of a topic.

use clap::Args;
use highwater_client::{Client, TopicPartition};
use serde_json::json;

use super::reset::all_done;
use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{counted, print_json, print_text};

/// Which offsets.
#[derive(Debug, Args)]
pub(crate) struct DeleteOffsetsArgs {
    /// The group
    group: String,
    /// The topic
    #[arg(long)]
    topic: String,
    /// Only this partition; may be repeated
    #[arg(long = "partition", value_name = "N")]
    partitions: Vec<u32>,
}

/// Forgets them.
pub(super) async fn run(
    args: DeleteOffsetsArgs,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    let DeleteOffsetsArgs { group, topic, partitions: wanted } = args;
    let partitions = client.admin().describe_group(&group, false).await?.partitions;
    let meant: Vec<TopicPartition> = partitions
        .into_iter()
        .filter(|partition| partition.committed.is_some())
        .map(|partition| partition.partition)
        .filter(|of| *of.topic == *topic && (wanted.is_empty() || wanted.contains(&of.partition.0)))
        .collect();
    if !meant.is_empty() {
        all_done("forgotten", client.admin().delete_offsets(&group, &meant).await?)?;
    }
    let count = counted(meant.len() as u64, "offset");
    match format {
        OutputFormat::Json => {
            let partitions: Vec<u32> = meant.iter().map(|of| of.partition.0).collect();
            print_json(&json!({ "group": group, "topic": topic, "partitions": partitions }))
        }
        OutputFormat::Table => print_text(&format!("group {group} has forgotten {count} of topic {topic}\n")),
    }
}
