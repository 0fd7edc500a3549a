//! `highwater reassign cancel`: turns moves around.

use clap::{ArgGroup, Args};
use highwater_client::{Client, v1};
use serde_json::json;

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{counted, print_json, print_text, say};
use crate::views::PartitionName;

/// Which moves.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(crate) struct CancelArgs {
    /// The partitions, such as orders-0
    #[arg(group = "which", value_name = "TOPIC-N")]
    partitions: Vec<PartitionName>,
    /// All moves that are under way
    #[arg(long, group = "which")]
    all: bool,
}

/// Cancels them.
pub(super) async fn run(args: CancelArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let selection = |name: PartitionName| v1::PartitionSelection {
        topic: name.topic,
        topic_id: String::new(),
        partition: name.partition,
    };
    let partitions = args.partitions.into_iter().map(selection).collect();
    let request = v1::CancelReassignmentsRequest { partitions, all: args.all };
    let cancelled = client.admin().cancel_reassignments(request).await?.cancelled;
    if format == OutputFormat::Json {
        let partition = |found: &v1::PartitionSelection| json!({ "topic": found.topic, "topic_id": found.topic_id, "partition": found.partition });
        return print_json(&json!({ "cancelled": cancelled.iter().map(partition).collect::<Vec<_>>() }));
    }
    if cancelled.is_empty() {
        say("none of them is moving");
        return Ok(());
    }
    let names: Vec<String> = cancelled
        .into_iter()
        .map(|found| PartitionName { topic: found.topic, partition: found.partition }.to_string())
        .collect();
    let count = counted(names.len() as u64, "partition");
    let verb = if names.len() == 1 { "goes" } else { "go" };
    print_text(&format!("{count} {verb} back to the replicas of before: {}\n", names.join(", ")))
}
