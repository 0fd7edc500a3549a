//! `highwater cluster`: how the cluster is, what it is made of, and its birth.

mod describe;
mod founding;
pub(crate) mod init;
mod status;

use clap::Subcommand;
use highwater_client::Client;

use crate::cli::OutputFormat;
use crate::error::CliError;

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show how the cluster is, what is wrong first; the exit code is 1 unless it is healthy
    Status(status::StatusArgs),
    /// Show the cluster's id, its nodes and who leads it
    Describe,
    /// Found a cluster from nodes that were started without data and wait for it; safe to repeat
    Init(init::InitArgs),
}

/// Runs a cluster command.
pub(crate) async fn run(
    command: ClusterCommand,
    client: &Client,
    servers: &[String],
    format: OutputFormat,
) -> Result<(), CliError> {
    match command {
        ClusterCommand::Status(args) => status::run(args, client, format).await,
        ClusterCommand::Describe => describe::run(client, format).await,
        // Asks each node for itself.
        ClusterCommand::Init(args) => init::run(&args, servers, format).await,
    }
}
