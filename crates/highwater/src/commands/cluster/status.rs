//! `highwater cluster status`: the cluster on one screen, and in the exit code.

use std::time::Duration;

use clap::{Args, ValueEnum};
use highwater_client::Client;

use crate::cli::OutputFormat;
use crate::commands::waiting::{Look, Wait};
use crate::error::CliError;
use crate::output::{Screen, print_json, print_text};
use crate::views::ClusterStatus;

/// What to show, and when.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Wait until the cluster is so, then show it
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Awaited>,
    /// How long to wait, for an answer too
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Awaited {
    /// Every node answers, every partition has a leader and all of its replicas
    Healthy,
}

/// Shows the status; fails unless the cluster is healthy.
pub(super) async fn run(args: StatusArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    match args.wait {
        None => {
            let (unfinished, hint) =
                ("how the cluster is, is not known", "name more servers with --server, or give it more time");
            let wait = Wait::within(Some(args.timeout), unfinished.to_owned(), hint.to_owned());
            show(&wait.answer(ask(client)).await?, format)
        }
        Some(Awaited::Healthy) => wait(args.timeout, client, format).await,
    }
}

async fn ask(client: &Client) -> Result<ClusterStatus, CliError> {
    Ok(client.admin().cluster_status().await?.into())
}

async fn wait(timeout: Duration, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let (unfinished, hint) =
        ("the cluster is not healthy", "`highwater cluster status` shows what to do about it");
    let wait = Wait::within(Some(timeout), unfinished.to_owned(), hint.to_owned());
    let mut last = None;
    let outcome = wait
        .until(async || {
            let status = ask(client).await?;
            let summary = status.summary();
            let is_healthy = status.is_healthy;
            last = Some(status);
            Ok(if is_healthy { Look::Done(()) } else { Look::NotYet(summary) })
        })
        .await;
    if let Some(status) = &last {
        print(status, format)?;
    }
    outcome
}

fn show(status: &ClusterStatus, format: OutputFormat) -> Result<(), CliError> {
    print(status, format)?;
    match status.problems.len() {
        0 => Ok(()),
        problems => Err(CliError::Unhealthy { problems }),
    }
}

fn print(status: &ClusterStatus, format: OutputFormat) -> Result<(), CliError> {
    match format {
        OutputFormat::Json => print_json(status),
        OutputFormat::Table => print_text(&status.render(&Screen::stdout())),
    }
}
