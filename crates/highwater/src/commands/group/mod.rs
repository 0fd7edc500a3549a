//! `highwater group`: consumer groups, how far they lag behind, and their offsets.

mod delete_offsets;
mod lag;
mod look;
mod reset;
mod target;

use clap::Subcommand;
use highwater_client::{Client, GroupSummary};
use serde::Serialize;
use serde_json::json;

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Cell, Screen, Table, print_json, print_text, say};
use crate::views::GroupStateView;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List groups
    List {
        /// Only groups whose names begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show a group's members, what they own, what is committed and how far that lags behind
    Describe {
        /// The group
        group: String,
    },
    /// Show how far groups lag behind, once or again and again
    Lag(lag::LagArgs),
    /// Show what setting a group's offsets to another place means, and do it with --execute; the group must have no members
    Reset(reset::ResetArgs),
    /// Forget what a group has committed of a topic that nobody in it reads
    DeleteOffsets(delete_offsets::DeleteOffsetsArgs),
    /// Delete a group and its offsets; it must have no members
    Delete {
        /// The group
        group: String,
    },
}

/// What `group list --output json` prints of a group.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    group: &'a str,
    state: GroupStateView,
    members: u32,
    coordinator_node_id: u64,
}

/// Runs a group command.
pub(crate) async fn run(command: GroupCommand, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    match command {
        GroupCommand::List { prefix } => list(&prefix, client, format).await,
        GroupCommand::Describe { group } => describe(&group, client, format).await,
        GroupCommand::Lag(args) => lag::run(args, client, format).await,
        GroupCommand::Reset(args) => reset::run(args, client, format).await,
        GroupCommand::DeleteOffsets(args) => delete_offsets::run(args, client, format).await,
        GroupCommand::Delete { group } => {
            client.admin().delete_group(&group).await?;
            match format {
                OutputFormat::Json => print_json(&json!({ "group": group, "deleted": true })),
                OutputFormat::Table => print_text(&format!("deleted group {group}\n")),
            }
        }
    }
}

async fn list(prefix: &str, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let list = client.admin().list_groups(prefix).await?;
    match format {
        OutputFormat::Json => print_json(&list.groups.iter().map(Listed::from).collect::<Vec<_>>())?,
        OutputFormat::Table if list.groups.is_empty() => say_no_groups(prefix),
        OutputFormat::Table => {
            let mut table = Table::new(&["GROUP", "STATE", "MEMBERS", "COORDINATOR"]);
            for group in list.groups.iter().map(Listed::from) {
                table.row(vec![
                    Cell::from(group.group.to_owned()),
                    group.state.cell(),
                    group.members.to_string().into(),
                    group.coordinator_node_id.to_string().into(),
                ]);
            }
            print_text(&table.render_on(&Screen::stdout()))?;
        }
    }
    look::check_complete(list.errors)
}

/// Says that there is nothing to show.
fn say_no_groups(prefix: &str) {
    match prefix {
        "" => say("no groups; a group begins with `highwater consume TOPIC --group NAME`"),
        prefix => say(&format!("no group's name begins with '{prefix}'; `highwater group list` shows all")),
    }
}

async fn describe(group: &str, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let view = look::look_at(group, client).await?;
    match format {
        OutputFormat::Json => print_json(&view),
        OutputFormat::Table => print_text(&view.render(&Screen::stdout())),
    }
}

impl<'a> From<&'a GroupSummary> for Listed<'a> {
    fn from(group: &'a GroupSummary) -> Self {
        Self {
            group: &group.group,
            state: group.state.into(),
            members: group.members,
            coordinator_node_id: group.coordinator.0,
        }
    }
}
