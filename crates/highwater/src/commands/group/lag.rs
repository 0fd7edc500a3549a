//! `highwater group lag`: how far groups lag behind, once or again and again.

use std::io::{self, IsTerminal as _, Write as _};
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
    loop {
        ticks.tick().await;
        match look(one, client).await {
            Ok(looked) => {
                show(one, &looked, format)?;
                // It is told of, and may be over at the next look.
                looked.errors.iter().for_each(|error| say(&format!("some groups may be missing: {error}")));
            }
            Err(error) if error.is_passing() => show_outage(&error, format)?,
            Err(error) => return Err(error),
        }
    }
}

/// One of many looks.
fn show(one: Option<&str>, looked: &Looked, format: OutputFormat) -> Result<(), CliError> {
    if format == OutputFormat::Json {
        let mut lines = Vec::new();
        for lag in json_of(&looked.groups) {
            serde_json::to_writer(&mut lines, &lag).map_err(io::Error::from)?;
            lines.push(b'\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(&lines)?;
        return Ok(out.flush()?);
    }
    let screen = Screen::stdout();
    let text = format!("{}\n{}\n", time(), text_of(one, &looked.groups, &screen));
    print_text(&if io::stdout().is_terminal() { screen.in_place(&text) } else { text })
}

/// A look that failed, and the next one may not.
fn show_outage(error: &CliError, format: OutputFormat) -> Result<(), CliError> {
    let screen = Screen::stdout();
    if format == OutputFormat::Table && io::stdout().is_terminal() {
        return print_text(&screen.in_place(&format!("{}\n{}", time(), screen.wrap(&error.to_string(), 0))));
    }
    say(&error.to_string());
    Ok(())
}

fn time() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(SystemTime::now())
}

fn text_of(one: Option<&str>, groups: &[GroupView], screen: &Screen) -> String {
    match (one, groups) {
        (Some(_), [group]) => group.render_lag(screen),
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
