//! One node in this process.

use std::net::SocketAddr;
use std::path::PathBuf;

use highwater_server::{GRPC_PORT, HTTP_PORT, Node, NodeConfig};

use crate::commands::node_process::{self, StopWhen, Voice};
use crate::error::CliError;
use crate::output::print_text;

/// Runs a node until it is told to stop, or fails.
pub(super) async fn run(data: PathBuf, grpc: Option<u16>, http: Option<u16>) -> Result<(), CliError> {
    let mut config = NodeConfig::local(data);
    config.grpc.set_port(grpc.unwrap_or(GRPC_PORT));
    config.http.set_port(http.unwrap_or(HTTP_PORT));
    // It is a cluster of its own: nobody looks for it there, and several can run at one time.
    config.peer.set_port(0);
    node_process::run(config, Voice::Words, StopWhen::Told, |node| print_text(&banner(node))).await
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
