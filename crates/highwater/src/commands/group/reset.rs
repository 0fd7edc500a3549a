//! `highwater group reset`: sets what a group has committed to another place. Without --execute it only shows what that means.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use highwater_client::v1::OffsetPlace;
use highwater_client::{Client, ClientError, StartPosition, TopicPartition};
use highwater_types::{ErrorCode, Offset, PartitionIndex};

use super::target::{self, Target};
use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Screen, counted, print_json, print_text, say};
use crate::views::{OffsetChange, PartitionName, ResetPlan};

/// Which offsets, and where to.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The group
    group: String,
    /// Where to: earliest, latest, an offset, a time (RFC 3339, or milliseconds since 1970), how long ago (-1h), or so many records on
    /// or back from what is committed (+100, -100)
    #[arg(long, value_name = "POSITION", value_parser = target::parse, allow_hyphen_values = true)]
    to: Target,
    /// Only this topic; without it, all topics of which the group has committed something
    #[arg(long)]
    topic: Option<String>,
    /// Only this partition of the topic; may be repeated
    #[arg(long = "partition", value_name = "N", requires = "topic")]
    partitions: Vec<u32>,
    /// Do it
    #[arg(long)]
    execute: bool,
}

/// What the group has committed, by partition.
type Committed = BTreeMap<(String, u32), i64>;

/// Shows the plan, and carries it out if that is wanted.
pub(super) async fn run(args: ResetArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let members = members(&args.group, client).await?;
    if args.execute && members > 0 {
        return Err(CliError::GroupInUse { group: args.group, members });
    }
    let committed = committed(&args.group, client).await?;
    let topics: BTreeSet<&str> = match &args.topic {
        Some(topic) => [topic.as_str()].into(),
        None => committed.keys().map(|(topic, _)| topic.as_str()).collect(),
    };
    if topics.is_empty() {
        return Err(CliError::NothingCommitted { group: args.group });
    }
    let mut plan = ResetPlan { group: args.group.clone(), is_executed: false, changes: Vec::new() };
    for topic in topics {
        plan.changes.extend(changes(topic, &args, &committed, client).await?);
    }
    if args.execute {
        execute(&plan, client).await?;
        plan.is_executed = true;
    }
    match format {
        OutputFormat::Json => print_json(&plan)?,
        OutputFormat::Table => print_text(&plan.render(&Screen::stdout()))?,
    }
    if members > 0 {
        let have = counted(members as u64, "member");
        say(&format!("it is refused while the group has {have}: `highwater group describe {}`", args.group));
    }
    Ok(())
}

/// How many members the group has. One that does not exist has none.
async fn members(group: &str, client: &Client) -> Result<usize, CliError> {
    match client.admin().describe_group(group, false).await {
        Ok(group) => Ok(group.members.len()),
        Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

async fn committed(group: &str, client: &Client) -> Result<Committed, CliError> {
    let offsets = client.admin().fetch_offsets(group, &[]).await?;
    // What is left of topics that are gone goes by itself.
    let known = offsets.into_iter().filter(|offset| !offset.partition.topic.is_empty());
    let known = known.filter_map(|offset| {
        let TopicPartition { topic, partition } = offset.partition;
        Some(((topic.to_string(), partition.0), offset.offset?.0))
    });
    Ok(known.collect())
}

/// What becomes of the partitions of a topic.
async fn changes(
    topic: &str,
    args: &ResetArgs,
    committed: &Committed,
    client: &Client,
) -> Result<Vec<OffsetChange>, CliError> {
    let partitions = partitions(topic, &args.partitions, client).await?;
    let admin = client.admin();
    let starts = admin.offsets(topic, &partitions, OffsetPlace::Earliest).await?;
    let ends = admin.offsets(topic, &partitions, OffsetPlace::Latest).await?;
    let at_time = match args.to {
        Target::At(StartPosition::Time(time)) => admin.offsets_for_time(topic, &partitions, time).await?,
        _ => vec![None; partitions.len()],
    };
    let bounds = starts.into_iter().zip(ends).map(|(start, end)| (or_zero(start), or_zero(end)));
    let changes = partitions.iter().zip(bounds).zip(at_time).map(|((partition, (start, end)), at_time)| {
        let from = committed.get(&(topic.to_owned(), partition.0)).copied();
        let wanted = match args.to {
            Target::At(StartPosition::Earliest) => Some(start),
            Target::At(StartPosition::Latest) => Some(end),
            Target::At(StartPosition::Offset(offset)) => Some(offset.0),
            // Nothing is that new yet.
            Target::At(StartPosition::Time(_)) => Some(at_time.map_or(end, |offset| offset.0)),
            Target::By(records) => from.map(|from| from.saturating_add(records)),
        };
        let name = PartitionName { topic: topic.to_owned(), partition: partition.0 };
        OffsetChange::new(name, from, wanted, (start, end))
    });
    Ok(changes.collect())
}

/// The partitions that are wanted; all that the topic has if none are named.
async fn partitions(topic: &str, wanted: &[u32], client: &Client) -> Result<Vec<PartitionIndex>, CliError> {
    let described = client.admin().describe_topic(topic, false).await?;
    let count = u32::try_from(described.partitions.len()).unwrap_or(u32::MAX);
    if let Some(partition) = wanted.iter().copied().find(|partition| *partition >= count) {
        let topic = topic.to_owned();
        return Err(ClientError::NoSuchPartition { topic, partition, partitions: count }.into());
    }
    let is_wanted = |partition: &u32| wanted.is_empty() || wanted.contains(partition);
    Ok((0..count).filter(is_wanted).map(PartitionIndex).collect())
}

async fn execute(plan: &ResetPlan, client: &Client) -> Result<(), CliError> {
    let news = plan.changes.iter().filter(|change| change.is_news());
    let offsets: Vec<_> = news
        .filter_map(|change| {
            let partition = TopicPartition::new(change.topic.as_str(), PartitionIndex(change.partition));
            Some((partition, Offset(change.to_offset?)))
        })
        .collect();
    if offsets.is_empty() {
        return Ok(());
    }
    let outcomes = client.admin().reset_offsets(&plan.group, &offsets).await?;
    all_done("set", outcomes)
}

/// Of offsets that are changed each by itself, some may be while others are not.
pub(super) fn all_done(done: &'static str, outcomes: Vec<Result<(), ClientError>>) -> Result<(), CliError> {
    let total = counted(outcomes.len() as u64, "offset");
    let failures: Vec<ClientError> = outcomes.into_iter().filter_map(Result::err).collect();
    let failed = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(cause) => Err(CliError::OffsetsLeft { failed, total, done, cause }),
    }
}

fn or_zero(offset: Option<Offset>) -> i64 {
    offset.unwrap_or_default().0
}
