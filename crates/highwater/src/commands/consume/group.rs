//! `highwater consume --group`: prints this consumer's share of a topic, and commits what it printed.
//!
//! Only what has left this process counts as printed: asking for more records says that those before are done, so each batch is
//! flushed before that.

use std::io::{self, BufWriter, Write};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use highwater_client::{
    Client, ClientError, CommitMode, GroupBatch, GroupConsumer, GroupConsumerConfig, OffsetCommit, Record,
    StartPosition, TopicPartition,
};
use highwater_types::Offset;
use tokio::time::{sleep, timeout};

use super::hand_overs::{HandOvers, Printed};
use super::interrupt::Interrupt;
use super::{BUFFER_BYTES, ConsumeArgs, RecordFormat, print};
use crate::error::CliError;
use crate::output::{say, span};

/// How long a commit and the handing over may take at the end.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// After how long it is said that this goes on.
const PATIENCE: Duration = Duration::from_millis(500);

/// With whom to share a topic.
#[derive(Debug, Args)]
pub(super) struct GroupArgs {
    /// Share the topic's partitions with the other consumers of this group, begin where it stopped, and commit what was printed
    #[arg(long)]
    pub(super) group: Option<String>,
    /// This consumer's place in the group, which outlives it: when it ends, its partitions wait for it as long as a session
    #[arg(long, requires = "group", value_name = "ID")]
    instance: Option<String>,
    /// How often to commit what was printed
    #[arg(long, requires = "group", default_value = "1s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    commit_interval: Duration,
}

/// A consumer that prints.
struct Printing<'a> {
    consumer: GroupConsumer,
    format: RecordFormat,
    /// Records that may still be printed.
    left: Option<u64>,
    printed: &'a Printed,
    interrupt: Interrupt,
}

/// Prints until there were enough records, or somebody ends it.
pub(super) async fn run(args: ConsumeArgs, group: String, client: &Client) -> Result<(), CliError> {
    // A member would wait for a topic that does not exist, and a mistyped one never does.
    client.admin().describe_topic(&args.topic, false).await?;
    let start = args.from.unwrap_or(StartPosition::Earliest);
    let config = GroupConsumerConfig {
        instance_id: args.shared.instance.clone(),
        client_id: format!("highwater consume, process {}", std::process::id()),
        start,
        commit: CommitMode::OnNext { interval: args.shared.commit_interval },
        ..GroupConsumerConfig::new(&group, [&args.topic])
    };
    let printed = Printed::default();
    let interrupt = Interrupt::start()?;
    let hand_overs = HandOvers::new(client.admin(), group.clone(), start, printed.clone());
    let consumer = client.group_consumer(config, hand_overs)?;
    let mut printing =
        Printing { consumer, format: args.format, left: args.count, printed: &printed, interrupt };
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    match printing.print_all(&mut out).await {
        Ok(last) => printing.leave(last, &group, args.shared.instance.is_some()).await,
        Err(error) => {
            // What was printed before it is committed, and others go on at once; the error says more than how that went.
            printed.leaves();
            let _ = printing.consumer.close().await;
            Err(error)
        }
    }
}

impl Printing<'_> {
    /// Returns what is to be committed of the last batch when it was not printed to its end.
    async fn print_all(&mut self, out: &mut impl Write) -> Result<Option<OffsetCommit>, CliError> {
        while self.left != Some(0) {
            let batch = tokio::select! {
                biased;
                () = self.interrupt.wait() => break,
                batch = self.consumer.next_batch() => batch?,
            };
            let records = self.allowed(&batch);
            for record in records {
                match self.format {
                    RecordFormat::Value => print::value(out, record)?,
                    RecordFormat::Json => print::json(out, batch.partition, record)?,
                }
            }
            out.flush()?;
            let is_whole = records.len() == batch.records.len();
            let next = match records.last() {
                Some(last) if !is_whole => Offset(last.offset.0 + 1),
                _ => batch.next_offset,
            };
            let partition = TopicPartition::new(batch.topic, batch.partition);
            self.printed.note(partition.clone(), next);
            if !is_whole {
                return Ok(Some(OffsetCommit::new(partition, next)));
            }
        }
        Ok(None)
    }

    /// The records of a batch that are still to be printed.
    fn allowed<'b>(&mut self, batch: &'b GroupBatch) -> &'b [Record] {
        let mut records = &batch.records[..];
        if let Some(left) = &mut self.left {
            records = &records[..records.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
            *left -= u64::try_from(records.len()).unwrap_or(*left);
        }
        records
    }

    /// Commits all that was printed, hands the partitions over and says so.
    async fn leave(
        mut self,
        last: Option<OffsetCommit>,
        group: &str,
        for_a_while: bool,
    ) -> Result<(), CliError> {
        let committed = self.printed.leaves();
        let leaving = async {
            match last {
                Some(last) => self.consumer.committer().commit(&[last]).await?,
                None => self.consumer.commit().await?,
            }
            match for_a_while {
                true => self.consumer.close_for_a_while().await,
                false => self.consumer.close().await,
            }
        };
        in_time(leaving, group).await?;
        let for_a_while = if for_a_while { " for a while" } else { "" };
        say(&format!("left group {group}{for_a_while}; {committed}"));
        Ok(())
    }
}

/// Leaving takes no longer than somebody waits for it: without it, the end of the session does the same.
async fn in_time(leaving: impl Future<Output = Result<(), ClientError>>, group: &str) -> Result<(), CliError> {
    let not_committed = |cause: String| CliError::NotCommitted { group: group.to_owned(), cause };
    let mut leaving = pin!(timeout(LEAVE_MAX, leaving));
    let left = tokio::select! {
        left = &mut leaving => left,
        () = sleep(PATIENCE) => {
            say(&format!("leaving group {group}; press Ctrl-C again to stop at once"));
            leaving.await
        }
    };
    match left {
        Ok(left) => left.map_err(|error| not_committed(error.to_string())),
        Err(_) => Err(not_committed(format!("no answer in {}", span(LEAVE_MAX)))),
    }
}
