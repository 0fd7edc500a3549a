//! `highwater serve`: one node as a service, from a file, the environment and flags.

use std::path::PathBuf;

use clap::Args;
use highwater_server::{GRPC_PORT, Node, NodeConfig};
use serde_json::json;

use super::node_process::{self, StopWhen, Voice};
use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Table, print_json, print_text, say};
use crate::settings::{Effective, EffectiveRow, Flags, LogFormat, Origin, example};

/// Where the settings are.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The file with the settings, in TOML; `--example` prints one
    #[arg(long, env = "HIGHWATER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show every setting and where its value comes from, or everything that is wrong, and start nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Print a file with every setting, its default and what it does
    #[arg(long, conflicts_with_all = ["check", "config"])]
    example: bool,
    /// Stop, in good order, when standard input ends. It is a pipe from whoever started the node, which so is never
    /// left running alone: `dev --nodes` and `tour` start their nodes with it
    #[arg(long, hide = true)]
    stop_with_input: bool,
    #[command(flatten)]
    flags: Flags,
}

impl ServeArgs {
    /// What the sources say together.
    pub(crate) fn resolve(&self) -> Result<Effective, CliError> {
        let file = self.config.as_deref().filter(|path| !path.as_os_str().is_empty());
        Effective::resolve(file, std::env::vars_os(), &self.flags)
            .map_err(|problems| CliError::Settings { problems })
    }

    /// What ends the node.
    pub(crate) fn stop_when(&self) -> StopWhen {
        if self.stop_with_input { StopWhen::ToldOrInputEnds } else { StopWhen::Told }
    }

    /// Answers a question about settings, if one was asked.
    pub(crate) fn answer(&self, format: OutputFormat) -> Option<Result<(), CliError>> {
        if self.example {
            return Some(print_text(&example::text()));
        }
        self.check.then(|| self.resolve().and_then(|effective| show(&effective.rows, format)))
    }
}

/// Runs a node until it is told to stop, or fails.
pub(crate) async fn run(effective: Effective, stop_when: StopWhen) -> Result<(), CliError> {
    let config = effective.config;
    let voice = match config.log_format {
        LogFormat::Text => Voice::Words,
        LogFormat::Json => Voice::Log,
    };
    let exposed = exposed(&config.node);
    node_process::run(config.node, voice, stop_when, |node| {
        announce(node, voice)?;
        if let Some(warning) = exposed {
            match voice {
                Voice::Words => say(&format!("warning: {warning}")),
                Voice::Log => tracing::warn!("{warning}"),
            }
        }
        Ok(())
    })
    .await
}

fn show(rows: &[EffectiveRow], format: OutputFormat) -> Result<(), CliError> {
    if format == OutputFormat::Json {
        let rows = rows.iter().map(|row| {
            json!({ "name": row.name, "value": row.value, "source": kind_of(&row.origin), "place": row.origin.to_string() })
        });
        return print_json(&rows.collect::<Vec<_>>());
    }
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for row in rows {
        let value = row.value.as_deref().filter(|value| !value.is_empty()).unwrap_or("none");
        table.row(vec![row.name.to_owned(), value.to_owned(), row.origin.to_string()]);
    }
    print_text(&table.render())
}

fn kind_of(origin: &Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::File { .. } => "file",
        Origin::Environment(_) => "environment",
        Origin::Flag(_) => "flag",
    }
}

/// What to know and to type next.
fn announce(node: &Node, voice: Voice) -> Result<(), CliError> {
    let (id, data) = (node.id(), node.data().display());
    let (grpc, peer, http) = (node.grpc_address(), node.peer_address(), node.http_address());
    let version = env!("CARGO_PKG_VERSION");
    if voice == Voice::Log {
        tracing::info!(node = id.0, %grpc, %peer, %http, %data, version, "the node is running");
        return Ok(());
    }
    let server = if grpc.port() == GRPC_PORT && grpc.ip().is_loopback() {
        String::new()
    } else {
        format!(" --server {grpc}")
    };
    print_text(&format!(
        "highwater {version} is running as node {id}\n\
         \n  gRPC  {grpc}\
         \n  peer  {peer}\
         \n  HTTP  http://{http}/readyz\
         \n  data  {data}\n\
         \nSee `highwater cluster describe{server}` and `highwater topic list{server}`.\n"
    ))
}

/// What to say at every start when listeners can be reached from other machines.
fn exposed(config: &NodeConfig) -> Option<String> {
    let listeners = [("gRPC", config.grpc), ("peer", config.peer), ("HTTP", config.http)];
    let exposed = listeners.into_iter().filter(|(_, address)| !address.ip().is_loopback());
    let names: Vec<String> = exposed.map(|(name, address)| format!("{name} on {address}")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "insecure: there is no TLS and no authentication, and other machines can reach {}; whoever reaches them can \
             read, write and delete everything",
            names.join(", ")
        )
    })
}
