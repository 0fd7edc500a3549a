//! `highwater dev --nodes N`: runs the nodes until it is told to stop.

use super::cluster::{Ended, LocalCluster};
use super::control::{Control, Question};
use super::layout::Layout;
use crate::commands::node_process::{INTERRUPTED, StopSignals, StopWhen};
use crate::error::CliError;
use crate::output::{Table, print_text, say};

/// See the module.
pub(super) async fn run(layout: Layout) -> Result<(), CliError> {
    let mut signals = StopSignals::new(StopWhen::Told).map_err(CliError::Start)?;
    let mut cluster = LocalCluster::take(layout)?;
    let data = cluster.layout().data().to_path_buf();
    let control = Control::listen(&data)
        .map_err(|cause| cluster.layout().failed("listen on a socket in", data.clone(), cause))?;
    let started = tokio::select! {
        started = cluster.start_all() => started.and_then(|()| print_text(&banner(cluster.layout()))).map(|()| true),
        // Nobody waits for the nodes any more.
        () = signals.received() => Ok(false),
    };
    let outcome = match started {
        Ok(true) => serve(&mut cluster, &control, &mut signals).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    say("stopping; press Ctrl-C again to stop at once");
    tokio::select! {
        () = cluster.stop() => say("stopped"),
        () = signals.received() => {
            cluster.kill().await;
            drop(control);
            std::process::exit(INTERRUPTED);
        }
    }
    outcome
}

/// Watches the nodes until the process is told to stop.
async fn serve(
    cluster: &mut LocalCluster,
    control: &Control,
    signals: &mut StopSignals,
) -> Result<(), CliError> {
    loop {
        tokio::select! {
            ended = cluster.ended() => say(&obituary(cluster, &ended)),
            connection = control.connection() => {
                let stream = connection.map_err(CliError::Start)?;
                tokio::select! {
                    () = answer(cluster, stream) => {}
                    () = signals.received() => return Ok(()),
                }
            }
            () = signals.received() => return Ok(()),
        }
    }
}

/// Starts a node for somebody who asks for it.
async fn answer(cluster: &mut LocalCluster, stream: tokio::net::UnixStream) {
    let Some(question) = Question::read(stream).await else { return };
    let node = question.node;
    match cluster.start(node).await {
        Ok(process) => {
            say(&format!("node {node} was started again"));
            question.answer(Ok(process)).await;
        }
        Err(error) => question.answer(Err(error.to_string())).await,
    }
}

/// What to know of a node that ended.
fn obituary(cluster: &LocalCluster, ended: &Ended) -> String {
    let layout = cluster.layout();
    format!(
        "{}\n  start it again with: highwater dev start {} --data {}",
        cluster.why(ended),
        ended.node,
        layout.data().display()
    )
}

/// What to know and to type next.
fn banner(layout: &Layout) -> String {
    let mut nodes = Table::new(&["  NODE", "GRPC", "HTTP", "LOG"]);
    for node in layout.ids() {
        let (grpc, http, log) = (layout.grpc(node), layout.http(node), layout.log(node));
        nodes.row(vec![
            format!("  {node}"),
            grpc.to_string(),
            format!("http://{http}/readyz"),
            log.display().to_string(),
        ]);
    }
    let (count, data, server) = (layout.nodes(), layout.data().display(), layout.servers().join(","));
    let replicas = count.min(3);
    format!(
        "highwater {} runs {count} nodes; Ctrl-C stops them\n\n{}\n\
         Try, in another terminal:\n\
         \n  export HIGHWATER_SERVER={server}\
         \n  highwater topic create greetings --partitions 4 --replication-factor {replicas}\
         \n  highwater cluster status\
         \n  highwater dev kill {count} --data {data}\
         \n  highwater cluster status\
         \n  highwater dev start {count} --data {data}\n",
        env!("CARGO_PKG_VERSION"),
        nodes.render(),
    )
}
