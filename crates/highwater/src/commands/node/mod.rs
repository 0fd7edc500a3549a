//! `highwater node`: the cluster's nodes, and what is wanted of them.
//!
//! A mode is a wish that the cluster remembers and works on, whoever waits for it: every command here may be interrupted and
//! typed again.

mod mode;
mod remove;

use clap::{Args, Subcommand};
use highwater_client::{Client, v1};
use highwater_types::NodeId;
use serde::Serialize;

use crate::cli::OutputFormat;
use crate::commands::waiting::WaitArgs;
use crate::error::CliError;
use crate::output::{Screen, Tone, print_json, print_text};
use crate::views::{ClusterStatus, NodeProgress, NodeView, node_table, reassignment_table};

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes with their state, leaders, replicas and disks
    List,
    /// Show a node, what its mode still waits for, and what moves to or from it
    Describe {
        /// The node's id
        #[arg(value_name = "NODE")]
        node: u64,
    },
    /// Move all replicas and leaders off a node, so that it can be removed
    Drain(ModeArgs),
    /// Move all leaders off a node, so that it can be restarted unnoticed; its replicas stay
    Maintenance(MaintenanceArgs),
    /// End a maintenance or a drain: the node takes replicas and leads again
    Activate(ModeArgs),
    /// Take a drained node out of the cluster for good
    Remove(remove::RemoveArgs),
}

/// Which node, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct ModeArgs {
    /// The node's id
    #[arg(value_name = "NODE")]
    node: u64,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Which node, and whether it begins or ends.
#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// End it, as `highwater node activate` does
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    mode: ModeArgs,
}

/// What `node describe --output json` prints.
#[derive(Debug, Serialize)]
struct Described {
    #[serde(flatten)]
    node: NodeView,
    progress: NodeProgress,
}

/// Runs a node command.
pub(crate) async fn run(command: NodeCommand, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    match command {
        NodeCommand::List => list(client, format).await,
        NodeCommand::Describe { node } => describe(node, client, format).await,
        NodeCommand::Drain(args) => mode::set(&args, v1::NodeMode::Draining, client, format).await,
        NodeCommand::Maintenance(args) => {
            let mode = if args.off { v1::NodeMode::Active } else { v1::NodeMode::Maintenance };
            mode::set(&args.mode, mode, client, format).await
        }
        NodeCommand::Activate(args) => mode::set(&args, v1::NodeMode::Active, client, format).await,
        NodeCommand::Remove(args) => remove::run(&args, client, format).await,
    }
}

async fn list(client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let status = ClusterStatus::from(client.admin().cluster_status().await?);
    match format {
        OutputFormat::Json => print_json(&status.nodes),
        OutputFormat::Table => print_text(&node_table(&status.nodes).render_on(&Screen::stdout())),
    }
}

/// A node and how far its mode is carried out.
async fn look_at(node: u64, client: &Client) -> Result<Described, CliError> {
    let described = client.admin().describe_node(NodeId(node)).await?;
    let missing = || CliError::IncompleteAnswer { what: "a description of a node" };
    Ok(Described {
        node: described.node.ok_or_else(missing)?.into(),
        progress: described.progress.unwrap_or_default().into(),
    })
}

async fn describe(node: u64, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let described = look_at(node, client).await?;
    if format == OutputFormat::Json {
        return print_json(&described);
    }
    let screen = Screen::stdout();
    let Described { node, progress } = &described;
    let mut text = node.render(&screen);
    if !progress.is_done {
        text.push_str(&format!("{:<13}  {}\n", "to do", progress.summary()));
    }
    for stuck in &progress.stuck {
        let line = screen.wrap(&format!("{} cannot move: {}", stuck.name(), stuck.reason), 0);
        text.push_str(&format!("\n{}\n", screen.paint(line.trim_end(), Some(Tone::Bad))));
    }
    if !progress.moves.is_empty() {
        text.push('\n');
        text.push_str(&reassignment_table(&progress.moves).render_on(&screen));
    }
    print_text(&text)
}
