//! `highwater partition`: one partition in full, and who leads it.

use clap::Subcommand;
use highwater_client::{Client, ClientError, v1};
use serde::Serialize;
use serde_json::json;

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Screen, print_json, print_text};
use crate::views::{PartitionName, PartitionView};

/// What to do with a partition.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// Show a partition with its replicas: who leads, who is behind and by how much, who is damaged
    Describe {
        /// The partition, such as orders-0
        #[arg(value_name = "TOPIC-N")]
        partition: PartitionName,
    },
    /// Let another replica lead a partition, now and whenever it can
    Transfer {
        /// The partition, such as orders-0
        #[arg(value_name = "TOPIC-N")]
        partition: PartitionName,
        /// The node whose replica is to lead
        #[arg(long, value_name = "NODE")]
        to: u64,
    },
}

/// What `partition describe --output json` prints.
#[derive(Debug, Serialize)]
struct Described {
    topic: String,
    topic_id: String,
    #[serde(flatten)]
    partition: PartitionView,
    /// What its move waits for, if it moves.
    waits_for: Option<String>,
}

/// Runs a partition command.
pub(crate) async fn run(
    command: PartitionCommand,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    match command {
        PartitionCommand::Describe { partition } => describe(&partition, client, format).await,
        PartitionCommand::Transfer { partition, to } => transfer(&partition, to, client, format).await,
    }
}

async fn describe(name: &PartitionName, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let topic = client.admin().describe_topic(&name.topic, true).await?;
    let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
    let Some(partition) = topic.partitions.into_iter().find(|found| found.partition == name.partition) else {
        let (topic, partition) = (name.topic.clone(), name.partition);
        return Err(ClientError::NoSuchPartition { topic, partition, partitions }.into());
    };
    let moves = client.admin().list_reassignments().await?.reassignments;
    let waits_for = moves
        .into_iter()
        .find(|moved| moved.topic_id == topic.topic_id && moved.partition == name.partition)
        .map(|moved| moved.waits_for);
    let view = PartitionView::from(partition);
    match format {
        OutputFormat::Json => {
            print_json(&Described { topic: topic.name, topic_id: topic.topic_id, partition: view, waits_for })
        }
        OutputFormat::Table => {
            print_text(&view.render(&name.to_string(), waits_for.as_deref(), &Screen::stdout()))
        }
    }
}

async fn transfer(
    name: &PartitionName,
    to: u64,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    let request = v1::TransferLeaderRequest {
        topic: name.topic.clone(),
        topic_id: String::new(),
        partition: name.partition,
        to_node_id: to,
    };
    client.admin().transfer_leader(request).await?;
    match format {
        OutputFormat::Json => {
            print_json(&json!({ "topic": name.topic, "partition": name.partition, "leader_node_id": to }))
        }
        OutputFormat::Table => print_text(&format!("{name} is led by node {to}\n")),
    }
}
