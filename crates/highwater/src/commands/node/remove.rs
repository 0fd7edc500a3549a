//! `highwater node remove`: takes a node out of the cluster for good. Typed again it finds the node removed, which is no error.

use clap::Args;
use highwater_client::{Client, ClientError, v1};
use highwater_types::ErrorCode;
use serde_json::json;

use super::look_at;
use crate::cli::OutputFormat;
use crate::commands::confirm::confirm;
use crate::error::CliError;
use crate::output::{print_json, print_text};

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The node's id
    #[arg(value_name = "NODE")]
    node: u64,
    /// Also when it is alive and was not drained, as long as no partition is placed on it
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Removes the node.
pub(super) async fn run(args: &RemoveArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let node = args.node;
    // What is asked about and removed is the node as it is now, not one that takes its place meanwhile.
    let seen = match look_at(node, client).await {
        Ok(found) => found.node,
        Err(CliError::Client(ClientError::Api(detail))) if detail.code == ErrorCode::InvalidRequest.name() => {
            return say_removed_already(node, client, format).await;
        }
        Err(error) => return Err(error),
    };
    if args.force {
        let alive = if seen.is_reachable { "answers" } else { "does not answer" };
        let what = format!(
            "Node {node} ({}, {alive}) leaves the cluster for good: its data directory never comes back.",
            seen.address
        );
        confirm(&what, args.yes)?;
    }
    let request =
        v1::RemoveNodeRequest { node_id: node, incarnation: seen.incarnation.clone(), force: args.force };
    client.admin().remove_node(request).await?;
    match format {
        OutputFormat::Json => {
            print_json(&json!({ "node_id": node, "incarnation": seen.incarnation, "removed": true }))
        }
        OutputFormat::Table => {
            let running = if seen.is_reachable { "; its process ends" } else { "" };
            print_text(&format!("node {node} is removed{running}\n"))
        }
    }
}

/// Of a node that the cluster does not have: whether it was removed, the cluster knows. It is not forced, for one that joins meanwhile is
/// not meant.
async fn say_removed_already(node: u64, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    client.admin().remove_node(v1::RemoveNodeRequest { node_id: node, ..Default::default() }).await?;
    match format {
        OutputFormat::Json => print_json(&json!({ "node_id": node, "incarnation": null, "removed": true })),
        OutputFormat::Table => print_text(&format!("node {node} was removed already\n")),
    }
}
