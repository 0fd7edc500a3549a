//! One fault at a time against a real node: a full disk, a sync that fails, a directory that must not be used, very many
//! topics, a clock that jumps, a signal.
//!
//! Each scenario says what it needs of the machine; [`needs`] finds out whether it is there, so that a caller can
//! print the reason of a skip.

pub mod clock;
pub mod disk_error;
pub mod disk_full;
pub mod many_topics;
pub mod needs;
pub mod refused;
pub mod stop;

use std::process::{ExitStatus, Output};
use std::time::Duration;

use highwater_client::Client;
use highwater_client::v1::{CreateTopicRequest, DeleteTopicRequest};
use tokio::time::Instant;

use crate::CrashError;

/// How long a condition that must come may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(60);

/// Holds a promise.
fn check(kept: bool, broken: impl FnOnce() -> String) -> Result<(), CrashError> {
    if kept { Ok(()) } else { Err(CrashError::Broken(broken())) }
}

/// Holds that a process ended with this code.
fn check_exit(status: ExitStatus, code: i32, said: &str) -> Result<(), CrashError> {
    check(status.code() == Some(code), || format!("ended with {status} instead of {code}:\n{said}"))
}

/// Holds that a text says all of this.
fn check_says(text: &str, wanted: &[&str]) -> Result<(), CrashError> {
    for part in wanted {
        check(text.contains(part), || format!("does not say {part:?}:\n{text}"))?;
    }
    Ok(())
}

/// All that a command printed.
fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asks again and again until the answer is yes.
async fn comes<F, Fut>(what: &str, mut condition: F) -> Result<(), CrashError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<bool, CrashError>>,
{
    let deadline = Instant::now() + COMES_WITHIN;
    while !condition().await? {
        check(Instant::now() < deadline, || format!("it never came that {what}"))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn create_topic(
    client: &Client,
    name: &str,
    partitions: u32,
    configs: &[(&str, &str)],
) -> Result<(), CrashError> {
    let request = CreateTopicRequest {
        name: name.to_owned(),
        partitions,
        replication_factor: 1,
        configs: configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..CreateTopicRequest::default()
    };
    client.admin().create_topic(request).await?;
    Ok(())
}

async fn delete_topic(client: &Client, name: &str) -> Result<(), CrashError> {
    let request = DeleteTopicRequest { topic: name.to_owned(), ..DeleteTopicRequest::default() };
    client.admin().delete_topic(request).await?;
    Ok(())
}

/// The first and the next offset of a topic's partition 0.
async fn bounds(client: &Client, topic: &str) -> Result<(i64, i64), CrashError> {
    let topic = client.admin().describe_topic(topic, true).await?;
    let offsets = topic.partitions.first().and_then(|partition| partition.offsets);
    let offsets = offsets.ok_or_else(|| CrashError::Broken(format!("no offsets of topic {}", topic.name)))?;
    Ok((offsets.log_start_offset, offsets.high_watermark))
}
