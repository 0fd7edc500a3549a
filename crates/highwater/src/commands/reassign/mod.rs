//! `highwater reassign`: moves replicas between nodes, by a plan that is read before it is carried out.

mod apply;
mod cancel;
mod goal;
mod plan_file;

use std::path::PathBuf;

use clap::Subcommand;
use highwater_client::Client;

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Screen, print_json, print_text, say};
use crate::views::{Plan, ReassignmentView, reassignment_table};

/// What to do with moves of replicas.
#[derive(Debug, Subcommand)]
pub(crate) enum ReassignCommand {
    /// Plan moves and show what they cost; changes nothing
    Plan {
        #[command(flatten)]
        goal: goal::GoalArgs,
        /// Write the plan to this file too, for `reassign apply`; --output json prints the same
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Carry a plan out; it may be applied again
    Apply(apply::ApplyArgs),
    /// Show the moves that are under way
    Status,
    /// Turn moves around: back to the replicas of before
    Cancel(cancel::CancelArgs),
}

/// Runs a reassign command.
pub(crate) async fn run(
    command: ReassignCommand,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    match command {
        ReassignCommand::Plan { goal, file } => {
            let plan = Plan::from(client.admin().plan_reassignment(goal.into_goal()).await?);
            show_plan(&plan, file.as_deref(), format)
        }
        ReassignCommand::Apply(args) => apply::run(&args, client, format).await,
        ReassignCommand::Status => status(client, format).await,
        ReassignCommand::Cancel(args) => cancel::run(args, client, format).await,
    }
}

fn show_plan(plan: &Plan, file: Option<&std::path::Path>, format: OutputFormat) -> Result<(), CliError> {
    if let Some(file) = file {
        plan_file::write(plan, file)?;
    }
    if format == OutputFormat::Json {
        return print_json(plan);
    }
    print_text(&plan.render(&Screen::stdout()))?;
    match (plan.moves.is_empty(), file) {
        (true, _) if plan.stuck.is_empty() => say("nothing is to be moved"),
        (true, _) => {}
        (false, Some(file)) => say(&format!("carry it out with: highwater reassign apply {}", file.display())),
        (false, None) => {
            say("to carry it out, write it down with --file plan.json and `highwater reassign apply plan.json`")
        }
    }
    Ok(())
}

async fn status(client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let moves = moves_under_way(client).await?;
    if format == OutputFormat::Json {
        return print_json(&moves);
    }
    if moves.is_empty() {
        say("nothing is moving");
        return Ok(());
    }
    print_text(&reassignment_table(&moves).render_on(&Screen::stdout()))
}

async fn moves_under_way(client: &Client) -> Result<Vec<ReassignmentView>, CliError> {
    let listed = client.admin().list_reassignments().await?;
    Ok(listed.reassignments.into_iter().map(ReassignmentView::from).collect())
}
