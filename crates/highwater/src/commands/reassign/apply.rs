//! `highwater reassign apply`: carries a plan out, and waits until its partitions are where it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use highwater_client::{Client, v1};
use serde_json::json;

use super::{moves_under_way, plan_file};
use crate::cli::OutputFormat;
use crate::commands::waiting::{Look, Wait, WaitArgs};
use crate::error::CliError;
use crate::output::{counted, print_json, print_text, say};
use crate::views::{Plan, ReassignmentView};

/// Which plan, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The plan, as `reassign plan --file` wrote it; `-` reads it from standard input
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    /// Only check whether it would work
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Applies the plan.
pub(super) async fn run(args: &ApplyArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let plan = plan_file::read(&args.plan)?;
    let count = counted(plan.moves.len() as u64, "partition");
    if plan.moves.is_empty() {
        say("the plan has no moves");
        return done(&plan, format, true, "");
    }
    let validate_only = args.validate_only;
    let request = v1::ApplyReassignmentRequest { plan: Some((&plan).into()), validate_only };
    let hint = "the cluster goes on with it: `highwater reassign status` shows how far, `highwater reassign cancel` \
                turns it around";
    let wait = Wait::new(&args.wait, "the plan is not carried out".to_owned(), hint.to_owned());
    wait.answer(async { Ok(client.admin().apply_reassignment(request).await?) }).await?;
    if validate_only {
        return done(&plan, format, false, &format!("would move {count}\n"));
    }
    if !args.wait.is_wanted() {
        let text = format!("moving {count}; `highwater reassign status` shows how far\n");
        return done(&plan, format, false, &text);
    }
    wait.until(async || look(&plan, client).await).await?;
    let rest = plan.rest().map(|rest| format!("{rest}\n")).unwrap_or_default();
    done(&plan, format, true, &format!("moved {count}\n{rest}"))
}

async fn look(plan: &Plan, client: &Client) -> Result<Look<()>, CliError> {
    let moving: Vec<ReassignmentView> = moves_under_way(client)
        .await?
        .into_iter()
        .filter(|moved| plan.has(&moved.topic, moved.partition))
        .collect();
    if moving.is_empty() {
        arrived(plan, client).await?;
        return Ok(Look::Done(()));
    }
    let total = plan.moves.len();
    let mut state =
        format!("{} of {} moved", total.saturating_sub(moving.len()), counted(total as u64, "partition"));
    let first = moving.iter().find(|moved| !moved.behind().is_empty()).or(moving.first());
    if let Some(first) = first {
        let behind = first.behind();
        let waits = match (behind.as_str(), first.waits_for.as_str()) {
            ("", "") => String::new(),
            ("", waits_for) => format!(": {waits_for}"),
            (behind, _) => format!(" is {behind} behind"),
        };
        state.push_str(&format!("; {}{waits}", first.name()));
    }
    Ok(Look::NotYet(state))
}

/// Whether every partition is placed as the plan says: somebody may have turned it around.
async fn arrived(plan: &Plan, client: &Client) -> Result<(), CliError> {
    let topics: BTreeSet<&str> = plan.moves.iter().map(|moved| moved.topic.as_str()).collect();
    let mut placed = BTreeMap::new();
    for topic in topics {
        for partition in client.admin().describe_topic(topic, false).await?.partitions {
            placed.insert((topic, partition.partition), partition.replica_node_ids);
        }
    }
    for moved in &plan.moves {
        if placed.get(&(moved.topic.as_str(), moved.partition)) != Some(&moved.replica_node_ids) {
            return Err(CliError::MovedElsewhere { partition: moved.name() });
        }
    }
    Ok(())
}

fn done(plan: &Plan, format: OutputFormat, is_done: bool, text: &str) -> Result<(), CliError> {
    match format {
        OutputFormat::Json => {
            print_json(&json!({ "partitions": plan.moves.len(), "more": plan.more, "is_done": is_done }))
        }
        OutputFormat::Table => print_text(text),
    }
}
