//! `highwater topic`: create, list, describe, change and delete topics.

mod describe;

use std::collections::HashMap;

use clap::{Args, Subcommand};
use highwater_client::{Client, v1};
use serde_json::{Value, json};

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Table, counted, print_json, print_text, say};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create(CreateArgs),
    /// List topics
    List(ListArgs),
    /// Show a topic's partitions, offsets and configs
    Describe {
        /// The topic
        name: String,
    },
    /// Change a topic's configs
    Alter(AlterArgs),
    /// Raise a topic's number of partitions
    AddPartitions {
        /// The topic
        name: String,
        /// How many partitions there are to be in the end
        #[arg(long, value_name = "N")]
        total: u32,
    },
    /// Delete the first records of a partition
    DeleteRecords {
        /// The topic
        name: String,
        /// The partition
        #[arg(long, value_name = "N")]
        partition: u32,
        /// The first offset to keep; "end" deletes all
        #[arg(long, value_name = "OFFSET", value_parser = parse_before)]
        before: i64,
    },
    /// Delete a topic and all of its records
    Delete {
        /// The topic
        name: String,
    },
}

/// A topic to create.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The topic: ASCII letters, digits, '.', '_' and '-'
    name: String,
    /// How many partitions; the cluster's default if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// How many replicas of each partition; the cluster's default if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replication_factor: Option<u32>,
    /// A config that differs from its default, such as retention.ms=86400000; may be repeated
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = parse_config)]
    configs: Vec<(String, String)>,
    /// Only check whether it would work
    #[arg(long)]
    validate_only: bool,
}

/// Which topics to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only topics whose names begin with this
    #[arg(default_value = "")]
    prefix: String,
    /// The cluster's own topics too
    #[arg(long)]
    internal: bool,
}

/// How to change configs.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct AlterArgs {
    /// The topic
    name: String,
    /// A config to set; may be repeated
    #[arg(long, group = "change", value_name = "NAME=VALUE", value_parser = parse_config)]
    set: Vec<(String, String)>,
    /// A config to take back to its default; may be repeated
    #[arg(long, group = "change", value_name = "NAME")]
    reset: Vec<String>,
}

/// Runs a topic command.
pub(crate) async fn run(command: TopicCommand, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    match command {
        TopicCommand::Create(args) => create(args, client, format).await,
        TopicCommand::List(args) => list(args, client, format).await,
        TopicCommand::Describe { name } => describe::run(&name, client, format).await,
        TopicCommand::Alter(args) => alter(args, client, format).await,
        TopicCommand::AddPartitions { name, total } => add_partitions(name, total, client, format).await,
        TopicCommand::DeleteRecords { name, partition, before } => {
            delete_records(name, partition, before, client, format).await
        }
        TopicCommand::Delete { name } => delete(name, client, format).await,
    }
}

async fn create(args: CreateArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let request = v1::CreateTopicRequest {
        name: args.name.clone(),
        partitions: args.partitions.unwrap_or(0),
        replication_factor: args.replication_factor.unwrap_or(0),
        configs: args.configs.into_iter().collect::<HashMap<_, _>>(),
        validate_only: args.validate_only,
    };
    let created = client.admin().create_topic(request).await?;
    if format == OutputFormat::Json {
        return print_json(&json!({
            "name": args.name,
            "topic_id": created.topic_id,
            "partitions": created.partitions,
            "replication_factor": created.replication_factor,
            "partitions_pending": created.partitions_pending,
            "validate_only": args.validate_only,
        }));
    }
    let did = if args.validate_only { "would create" } else { "created" };
    print_text(&format!(
        "{did} topic {} with {}, replication factor {}\n{}",
        args.name,
        counted(created.partitions.into(), "partition"),
        created.replication_factor,
        pending(created.partitions_pending)
    ))
}

/// What is not usable yet of a topic that was created or grew.
fn pending(partitions: u32) -> String {
    match partitions {
        0 => String::new(),
        partitions => format!(
            "{} of it take no records yet and come up by themselves: `highwater cluster status` shows what is missing\n",
            counted(partitions.into(), "partition")
        ),
    }
}

async fn list(args: ListArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let topics = client.admin().list_topics(&args.prefix, args.internal).await?;
    if format == OutputFormat::Json {
        let topic = |topic: &v1::TopicSummary| {
            json!({
                "name": topic.name,
                "topic_id": topic.topic_id,
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
                "internal": topic.internal,
            })
        };
        return print_json(&topics.iter().map(topic).collect::<Vec<_>>());
    }
    if topics.is_empty() {
        match args.prefix.as_str() {
            "" => say("no topics; create one with `highwater topic create NAME`"),
            prefix => say(&format!("no topic's name begins with '{prefix}'; `highwater topic list` shows all")),
        }
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "PARTITIONS", "REPLICAS", "ID"]);
    for topic in topics {
        let (partitions, replicas) = (topic.partitions.to_string(), topic.replication_factor.to_string());
        table.row(vec![topic.name, partitions, replicas, topic.topic_id]);
    }
    print_text(&table.render())
}

async fn alter(args: AlterArgs, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let request = v1::AlterTopicConfigsRequest {
        topic: args.name.clone(),
        topic_id: String::new(),
        set: args.set.into_iter().collect::<HashMap<_, _>>(),
        reset: args.reset,
        validate_only: false,
    };
    let altered = client.admin().alter_topic_configs(request).await?;
    done(
        format,
        &format!("changed topic {}", args.name),
        json!({
            "name": args.name,
            "metadata_version": altered.metadata_version,
        }),
    )
}

async fn add_partitions(
    name: String,
    total: u32,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    let request = v1::AddPartitionsRequest {
        topic: name.clone(),
        topic_id: String::new(),
        total_partitions: total,
        validate_only: false,
    };
    let added = client.admin().add_partitions(request).await?;
    let text = format!("topic {name} has {total} partitions\n{}", pending(added.partitions_pending));
    let json = json!({ "name": name, "partitions": total, "partitions_pending": added.partitions_pending });
    done(format, text.trim_end(), json)
}

async fn delete_records(
    name: String,
    partition: u32,
    before: i64,
    client: &Client,
    format: OutputFormat,
) -> Result<(), CliError> {
    let request = v1::DeleteRecordsRequest {
        topic: name.clone(),
        topic_id: String::new(),
        partitions: vec![v1::DeleteRecordsPartition { partition, before_offset: before }],
    };
    let results = client.admin().delete_records(request).await?.results;
    let mut log_start = None;
    for result in results {
        match result.result {
            Some(v1::delete_records_result::Result::LogStartOffset(offset)) => log_start = Some(offset),
            Some(v1::delete_records_result::Result::Error(detail)) => {
                return Err(highwater_client::ClientError::from(detail).into());
            }
            None => {}
        }
    }
    let place = log_start.map_or_else(|| "?".to_owned(), |offset| offset.to_string());
    done(
        format,
        &format!("topic {name} partition {partition} now starts at offset {place}"),
        json!({
            "name": name,
            "partition": partition,
            "log_start_offset": log_start,
        }),
    )
}

async fn delete(name: String, client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let request = v1::DeleteTopicRequest { topic: name.clone(), topic_id: String::new() };
    client.admin().delete_topic(request).await?;
    done(format, &format!("deleted topic {name}"), json!({ "name": name, "deleted": true }))
}

fn done(format: OutputFormat, text: &str, json: Value) -> Result<(), CliError> {
    match format {
        OutputFormat::Json => print_json(&json),
        OutputFormat::Table => print_text(&format!("{text}\n")),
    }
}

fn parse_config(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as retention.ms=86400000".to_owned()),
    }
}

/// The API's number for "all" is −1.
fn parse_before(text: &str) -> Result<i64, String> {
    if text == "end" {
        return Ok(-1);
    }
    text.parse().ok().filter(|offset| *offset >= 0).ok_or_else(|| "expected an offset or \"end\"".to_owned())
}
