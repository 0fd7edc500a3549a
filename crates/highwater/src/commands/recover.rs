//! `highwater recover`: the way out when the majority of a cluster is lost for good. It works on the data directory of a stopped
//! node: it shows where that stands, and makes it the only voter of everything it has.

mod report;
mod stopped_node;

use std::path::PathBuf;

use clap::Args;
use highwater_types::{Clock as _, ClusterId, SystemClock, SystemRandom};
use serde_json::json;

use self::report::Report;
use self::stopped_node::StoppedNode;
use crate::cli::OutputFormat;
use crate::commands::confirm::confirm_by_word;
use crate::error::CliError;
use crate::output::{print_json, print_text, say};

/// What to do with which directory.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct RecoverArgs {
    /// The data directory of the stopped node
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Show how far the node has each partition, to choose the survivor that has most. The directory is recovered as a start of
    /// the node would, and nothing else is changed
    #[arg(long, group = "what")]
    inspect: bool,
    /// Let the cluster go on from what this node has, as another cluster. What only the others have is lost
    #[arg(long = "unsafe", group = "what")]
    is_unsafe: bool,
    /// Do not ask
    #[arg(long, requires = "is_unsafe")]
    yes: bool,
}

/// Shows the node, and recovers it if that was asked for.
pub(crate) async fn run(args: &RecoverArgs, format: OutputFormat) -> Result<(), CliError> {
    let mut node = StoppedNode::open(&args.data)?;
    let done = work(args, format, &mut node).await;
    let closed = node.close().await;
    done.and(closed)
}

async fn work(args: &RecoverArgs, format: OutputFormat, node: &mut StoppedNode) -> Result<(), CliError> {
    let report = Report::of(node)?;
    if args.inspect {
        return match format {
            OutputFormat::Json => print_json(&report.to_json()),
            OutputFormat::Table => print_text(&report.render()),
        };
    }
    // What is asked about is shown to whoever is asked; standard output has the result.
    let shown = format!("{}{}", report.render(), report.warning());
    match format {
        OutputFormat::Json => say(&shown),
        OutputFormat::Table => print_text(&shown)?,
    }
    node.check()?;
    let what = format!("Node {} becomes the only voter of all that it has.", report.node);
    confirm_by_word(&what, &format!("node {}", report.node), args.yes)?;
    let (fresh, now) = (ClusterId::draw(&SystemRandom), SystemClock.now());
    let record = node.recover(fresh, now).await?;
    if format == OutputFormat::Json {
        return print_json(&json!({
            "cluster_id": record.cluster.to_string(),
            "cluster_id_before": report.cluster.to_string(),
            "groups": report.to_json()["groups"],
        }));
    }
    print_text(&format!(
        "done: node {} goes on alone as cluster {}\n\n\
         Start it. Then, for each other node: keep a copy of its data directory, empty the directory, and start the node with \
         node {} as its seed; it joins as a new member and gets its replicas back. A node of before that is started with its \
         data is refused and ends.\n",
        report.node, record.cluster, report.node
    ))
}
