//! `highwater group lag`: how far groups lag behind, once or again and again.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, SystemTime};

use clap::Args;
use highwater_client::{Client, ClientError};
use highwater_types::{Clock as _, ErrorCode, SystemClock};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::look::{check_complete, look_at};
use super::say_no_groups;
use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Screen, print_json, print_text, say};
use crate::views::{GroupPartitionView, GroupStateView, GroupView, LagView, lag_table};

/// Which groups, and how often.
#[derive(Debug, Args)]
pub(crate) struct LagArgs {
    /// The group, with each of its partitions; without it, all groups
    group: Option<String>,
    /// Show it again and again, until Ctrl-C: on a terminal in one place, elsewhere a table (or with --output json a line for each group)
    /// every time
    #[arg(long)]
    watch: bool,
    /// The time between two looks
    #[arg(long, requires = "watch", default_value = "2s", value_name = "DURATION", value_parser = parse_interval)]
    interval: Duration,
}

/// What `group lag --output json` prints of a group.
#[derive(Debug, Serialize)]
struct GroupLag<'a> {
    at_ms: i64,
    group: &'a str,
    state: GroupStateView,
    members: usize,
    #[serde(flatten)]
    lag: LagView,
    partitions: &'a [GroupPartitionView],
}

/// What a look found.
struct Looked {
    groups: Vec<GroupView>,
    /// Why some groups may be missing.
    errors: Vec<ClientError>,
}

/// Shows it, and with --watch until something ends it.
pub(super) async fn run(args: LagArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let one = args.group.as_deref();
    if args.watch {
        return watch(one, args.interval, client, format).await;
    }
    let looked = look(one, client).await?;
    match format {
        OutputFormat::Json => {
            let lags = json_of(&looked.groups);
            match (one, lags.as_slice()) {
                (Some(_), [lag]) => print_json(lag)?,
                (_, lags) => print_json(&lags)?,
            }
        }
        OutputFormat::Table if looked.groups.is_empty() => say_no_groups(""),
        OutputFormat::Table => print_text(&text_of(one, &looked.groups, &Screen::stdout()))?,
    }
    check_complete(looked.errors)
}

async fn look(one: Option<&str>, client: &Client) -> Result<Looked, CliError> {
    if let Some(group) = one {
        return Ok(Looked { groups: vec![look_at(group, client).await?], errors: Vec::new() });
    }
    let list = client.admin().list_groups("").await?;
    let mut groups = Vec::with_capacity(list.groups.len());
    for listed in list.groups {
        match look_at(&listed.group, client).await {
            Ok(group) => groups.push(group),
            // It was deleted meanwhile.
            Err(CliError::Client(error)) if error.code() == Some(ErrorCode::UnknownGroup) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Looked { groups, errors: list.errors })
}

async fn watch(
    one: Option<&str>,
    every: Duration,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let in_place = format == OutputFormat::Table && io::stdout().is_terminal();
    loop {
        ticks.tick().await;
        let (text, notices) = match look(one, client).await {
            Ok(looked) => {
                let missing = looked.errors.iter().map(|error| format!("there may be more groups: {error}"));
                (one_of_many(one, &looked.groups, format).map_err(io::Error::from)?, missing.collect())
            }
            // It may be over at the next look.
            Err(error) if error.is_passing() => (String::new(), vec![error.to_string()]),
            Err(error) => return Err(error),
        };
        show(text, &notices, in_place)?;
    }
}

/// What a look found, as it is shown among others.
fn one_of_many(
    one: Option<&str>,
    groups: &[GroupView],
    format: OutputFormat,
) -> Result<String, serde_json::Error> {
    if format == OutputFormat::Json {
        return json_of(groups).iter().map(|lag| Ok(serde_json::to_string(lag)? + "\n")).collect();
    }
    let time = humantime::format_rfc3339_seconds(SystemTime::now());
    Ok(format!("{time}\n{}\n", text_of(one, groups, &Screen::stdout())))
}

/// With what there is to know beside it: in the same place, where anything else would be written over.
fn show(mut text: String, notices: &[String], in_place: bool) -> Result<(), CliError> {
    if in_place {
        let screen = Screen::stdout();
        text.extend(notices.iter().map(|notice| screen.wrap(notice, 0)));
        return print_text(&screen.in_place(&text));
    }
    notices.iter().for_each(|notice| say(notice));
    print_text(&text)
}

fn text_of(one: Option<&str>, groups: &[GroupView], screen: &Screen) -> String {
    match (one, groups) {
        (Some(_), [group]) => group.render_lag(screen),
        (_, []) => "no groups\n".to_owned(),
        (_, groups) => lag_table(groups).render_on(screen),
    }
}

fn json_of(groups: &[GroupView]) -> Vec<GroupLag<'_>> {
    let at_ms = SystemClock.now().0;
    let lags = groups.iter().map(|group| GroupLag {
        at_ms,
        group: &group.group,
        state: group.state,
        members: group.members.len(),
        lag: group.lag,
        partitions: &group.partitions,
    });
    lags.collect()
}

/// Faster than this it would be work for every leader, and nobody reads it.
fn parse_interval(text: &str) -> Result<Duration, String> {
    const INTERVAL_MIN: Duration = Duration::from_millis(100);
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < INTERVAL_MIN { Err("at least 100ms".to_owned()) } else { Ok(interval) }
}
