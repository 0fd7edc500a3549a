//! Faults that are played on a running cluster: `dev kill`, `pause`, `resume` and `start`.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Instant;

use clap::{Args, Subcommand};
use highwater_storage::directory::locked_by;

use super::cluster::{LOOK, PATIENCE, last_line};
use super::layout::Layout;
use super::signal::{Blow, stands_still, strike};
use super::{CLUSTER_DATA, control};
use crate::commands::health::is_ready;
use crate::error::CliError;
use crate::output::print_text;

/// What to do to a node of a running `dev --nodes`.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// End a node of a running `dev --nodes` at once, as kill -9 does
    Kill(FaultArgs),
    /// Let a node stand still: it keeps its connections and answers nothing
    Pause(FaultArgs),
    /// Let a paused node go on
    Resume(FaultArgs),
    /// Start a node that ended, and wait until it serves
    Start(FaultArgs),
}

/// To which node.
#[derive(Debug, Args)]
pub(crate) struct FaultArgs {
    /// The node's number
    #[arg(value_name = "N")]
    node: u8,
    /// The folder of the cluster
    #[arg(long, value_name = "DIR", default_value = CLUSTER_DATA)]
    data: PathBuf,
}

impl FaultCommand {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), CliError> {
        let (Self::Kill(args) | Self::Pause(args) | Self::Resume(args) | Self::Start(args)) = self;
        let node = args.node;
        let layout =
            Layout::recall(&args.data)?.ok_or_else(|| CliError::NoCluster { data: args.data.clone() })?;
        layout.check(node)?;
        let done = match self {
            Self::Kill(_) => {
                let pid = strike(&layout, node, Blow::Kill)?;
                // Its directory is free when the kernel is done with it.
                let deadline = Instant::now() + PATIENCE;
                while locked_by(&layout.folder(node)) == Some(pid) && Instant::now() < deadline {
                    sleep(LOOK);
                }
                format!("killed node {node} (process {pid})")
            }
            Self::Pause(_) => {
                let pid = strike(&layout, node, Blow::Pause)?;
                // Its threads stop one after the other. Only when all have does the kernel end it with its parent.
                let deadline = Instant::now() + PATIENCE;
                while !stands_still(pid) && Instant::now() < deadline {
                    sleep(LOOK);
                }
                format!("paused node {node} (process {pid})")
            }
            Self::Resume(_) => {
                format!("node {node} goes on (process {})", strike(&layout, node, Blow::Resume)?)
            }
            Self::Start(_) => {
                start(&layout, node)?;
                format!("node {node} serves on {}", layout.grpc(node))
            }
        };
        print_text(&format!("{done}\n"))
    }
}

/// Asks the process that runs the cluster for the node.
fn start(layout: &Layout, node: u8) -> Result<(), CliError> {
    if let Some(pid) = locked_by(&layout.folder(node)) {
        return Err(CliError::NodeRuns { node, pid });
    }
    let unheard = |_| CliError::ClusterNotRun { data: layout.data().to_path_buf(), nodes: layout.nodes() };
    let started = control::ask(layout.data(), node).map_err(unheard)?;
    let process = started.map_err(|refusal| CliError::NodeNotStarted { node, refusal })?;
    // Whoever started it waits for its end, so that nothing of it stays.
    let entry = PathBuf::from(format!("/proc/{process}"));
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(layout.http(node)) {
        if Instant::now() >= deadline {
            return Err(CliError::NodeNotReady { node, seconds: PATIENCE.as_secs(), log: layout.log(node) });
        }
        if !entry.exists() {
            let log = layout.log(node);
            return Err(CliError::NodeGone { node, last: last_line(&log), log });
        }
        sleep(LOOK);
    }
    Ok(())
}
