//! `highwater dev`: nodes on this machine, for trying things out. One runs in this process; several run as processes
//! of their own, and faults can be played on them.

mod cluster;
mod control;
mod faults;
mod layout;
mod run;
mod signal;
mod single;

use std::path::PathBuf;

use clap::Args;

use crate::error::CliError;

pub(crate) use cluster::LocalCluster;
pub(crate) use faults::FaultCommand;
pub(crate) use layout::Layout;
pub(crate) use signal::{Blow, strike};

/// Where a single node keeps its data unless it is told.
const NODE_DATA: &str = "highwater-data";
/// Where several nodes keep theirs.
const CLUSTER_DATA: &str = "highwater-cluster";

/// What to run, or what to do to what runs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    fault: Option<FaultCommand>,
}

/// Where the nodes listen and keep their data.
#[derive(Debug, Args)]
struct RunArgs {
    /// How many nodes: one runs in this process, several as processes of their own, which end with this one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Where the data is kept, created if it does not exist [default: highwater-data; of several nodes highwater-cluster]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The first port on 127.0.0.1: gRPC of node 1. Peers (of several nodes) have the next one, HTTP the one after that,
    /// and each further node ten more. 0 looks for free ones [default: 7400]
    #[arg(long, value_name = "PORT", conflicts_with_all = ["grpc_port", "http_port"])]
    port: Option<u16>,
    /// The port for gRPC of a single node; 0 takes a free one [default: 7400]
    #[arg(long, value_name = "PORT", conflicts_with = "nodes")]
    grpc_port: Option<u16>,
    /// The port for HTTP (/healthz, /readyz) of a single node; 0 takes a free one [default: 7402]
    #[arg(long, value_name = "PORT", conflicts_with = "nodes")]
    http_port: Option<u16>,
}

impl DevArgs {
    /// What is done to a cluster that runs already, if that was typed.
    pub(crate) fn fault(&self) -> Option<&FaultCommand> {
        self.fault.as_ref()
    }
}

/// Runs nodes until they are told to stop.
pub(crate) async fn run(args: DevArgs) -> Result<(), CliError> {
    let RunArgs { nodes, data, port, grpc_port, http_port } = args.run;
    if nodes > 1 {
        let data = data.unwrap_or_else(|| PathBuf::from(CLUSTER_DATA));
        return run::run(Layout::open(data, nodes, port)?).await;
    }
    let data = data.unwrap_or_else(|| PathBuf::from(NODE_DATA));
    if let Some(layout) = Layout::recall(&data)? {
        return Err(CliError::OtherCluster { data, nodes: layout.nodes(), port: layout.port() });
    }
    single::run(data, grpc_port.or(port), http_port.or(port.map(layout::http_port))).await
}
