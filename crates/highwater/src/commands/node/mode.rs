//! `highwater node drain`, `maintenance` and `activate`: says what is wanted of a node, and waits until it is so.

use std::time::Duration;

use highwater_client::{Client, v1};
use serde::Serialize;
use tokio::time::Instant;

use super::{Described, ModeArgs, look_at};
use crate::cli::OutputFormat;
use crate::commands::waiting::{Look, Wait};
use crate::error::CliError;
use crate::output::{print_json, print_text};
use crate::views::{NodeMode, NodeProgress, NodeView};

/// For how long nothing may move before it is said that nothing can: a plan is made anew every few seconds.
const STUCK_FOR: Duration = Duration::from_secs(10);

/// What to type for a node that holds nothing.
const REFILL_HINT: &str = "it holds no replicas: `highwater reassign plan --balance --file plan.json` plans which are to move to it, and \
     `highwater reassign apply plan.json` moves them\n";

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    node_id: u64,
    mode: NodeMode,
    #[serde(flatten)]
    progress: NodeProgress,
}

/// Sets the mode, and waits until it is carried out if that is wanted.
pub(super) async fn set(
    args: &ModeArgs,
    mode: v1::NodeMode,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    let node = args.node;
    let words = Words::of(node, mode);
    let wait = Wait::new(&args.wait, words.unfinished.clone(), words.hint.clone());
    let described = wait.answer(begin(node, mode, client)).await?;
    // A node that does not answer cannot lead again before it is started, which nobody here can wait for.
    let waits = args.wait.is_wanted() && (mode != v1::NodeMode::Active || described.node.is_reachable);
    let mut progress = described.progress;
    if waits {
        progress = until_done(&wait, node, client).await?;
    }
    if format == OutputFormat::Json {
        return print_json(&Outcome { node_id: node, mode: mode.into(), progress });
    }
    match (progress.is_done, described.node.is_reachable) {
        (false, false) if mode == v1::NodeMode::Active => {
            print_text(&format!("node {node} is active, and does not answer: it leads again when it is up\n"))
        }
        (true, _) => match progress.unavailable() {
            None => {
                let rest = if mode == v1::NodeMode::Active {
                    refill_hint(&described.node, &wait, client).await
                } else {
                    ""
                };
                print_text(&format!("{}\n{rest}", words.done))
            }
            Some(unavailable) => print_text(&format!(
                "node {node} has handed over what others can lead, and can be restarted; {unavailable}\n\
                 when it is up again: `highwater node activate {node}`\n"
            )),
        },
        (false, _) => print_text(&format!("{}: {}\n{}\n", words.wanted, progress.summary(), words.hint)),
    }
}

/// A node that was drained stays empty until replicas are moved to it: says so where there are some.
async fn refill_hint(node: &NodeView, wait: &Wait, client: &Client) -> &'static str {
    if node.replicas > 0 {
        return "";
    }
    // Without an answer nothing is said: the node is active all the same.
    let status = wait.answer(async { Ok(client.admin().cluster_status().await?) }).await;
    if status.is_ok_and(|status| status.partitions > 0) { REFILL_HINT } else { "" }
}

/// Says what is wanted of the node, and looks how far it is.
async fn begin(node: u64, mode: v1::NodeMode, client: &Client) -> Result<Described, CliError> {
    client.admin().set_node_mode(v1::SetNodeModeRequest { node_id: node, mode: mode.into() }).await?;
    look_at(node, client).await
}

async fn until_done(wait: &Wait, node: u64, client: &Client) -> Result<NodeProgress, CliError> {
    let mut stuck_since: Option<Instant> = None;
    wait.until(async || {
        let progress = look_at(node, client).await?.progress;
        if progress.is_done {
            return Ok(Look::Done(progress));
        }
        if !progress.is_stuck() {
            stuck_since = None;
        } else if stuck_since.get_or_insert_with(Instant::now).elapsed() >= STUCK_FOR {
            return Err(CliError::DrainStuck { node, stuck: progress.stuck });
        }
        Ok(Look::NotYet(format!("node {node}: {}", progress.summary())))
    })
    .await
}

/// What is said about a mode.
struct Words {
    wanted: String,
    unfinished: String,
    done: String,
    hint: String,
}

impl Words {
    fn of(node: u64, mode: v1::NodeMode) -> Self {
        let back = format!("`highwater node activate {node}`");
        match mode {
            v1::NodeMode::Draining => Self {
                wanted: format!("node {node} is being drained"),
                unfinished: format!("node {node} is not drained"),
                done: format!(
                    "node {node} is drained: it holds nothing any more; take it out with `highwater node remove {node}`"
                ),
                hint: format!(
                    "the cluster goes on with it: `highwater node drain {node}` shows how far, {back} keeps the node"
                ),
            },
            v1::NodeMode::Maintenance => Self {
                wanted: format!("node {node} is in maintenance"),
                unfinished: format!("node {node} still leads"),
                done: format!("node {node} leads nothing and can be restarted; when it is up again: {back}"),
                hint: format!(
                    "the cluster goes on with it: `highwater node maintenance {node}` shows how far, {back} ends it"
                ),
            },
            v1::NodeMode::Active | v1::NodeMode::Unspecified => Self {
                wanted: format!("node {node} is active"),
                unfinished: format!("node {node} does not lead yet what it should"),
                done: format!("node {node} is active and leads what prefers it"),
                hint: format!("the cluster goes on with it: `highwater node describe {node}` shows how far"),
            },
        }
    }
}
