//! `highwater dev`: one whole node on this machine, for trying things out.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use highwater_server::{GRPC_PORT, HTTP_PORT, Node, NodeConfig};

use super::node_process::{self, Voice};
use crate::error::CliError;
use crate::output::print_text;

/// Where the node listens and keeps its data.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where the data is kept; created if it does not exist
    #[arg(long, value_name = "DIR", default_value = "highwater-data")]
    data: PathBuf,
    /// The port for gRPC on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = GRPC_PORT)]
    grpc_port: u16,
    /// The port for HTTP (/healthz, /readyz) on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = HTTP_PORT)]
    http_port: u16,
}

/// Runs a node until it is told to stop, or fails.
pub(crate) async fn run(args: DevArgs) -> Result<(), CliError> {
    let mut config = NodeConfig::local(args.data);
    config.grpc.set_port(args.grpc_port);
    config.http.set_port(args.http_port);
    // It is a cluster of its own: nobody looks for it there, and several can run at one time.
    config.peer.set_port(0);
    node_process::run(config, Voice::Words, |node| print_text(&banner(node))).await
}

/// What to know and to type next.
fn banner(node: &Node) -> String {
    let (grpc, http) = (node.grpc_address(), node.http_address());
    let data = node.data().display();
    let server = server_option(grpc);
    format!(
        "highwater {} is running; Ctrl-C stops it\n\
         \n  gRPC  {grpc}\
         \n  HTTP  http://{http}/healthz\
         \n  data  {data}\n\
         \nTry, in another terminal:\n\
         \n  highwater topic create greetings --partitions 4{server}\
         \n  echo 'hello, log' | highwater produce greetings{server}\
         \n  highwater consume greetings --from earliest --until-end{server}\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// What commands need to find a node that is not on the usual port.
fn server_option(grpc: SocketAddr) -> String {
    if grpc.port() == GRPC_PORT { String::new() } else { format!(" --server {grpc}") }
}
