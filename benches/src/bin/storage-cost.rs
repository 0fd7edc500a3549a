//! What the store costs without a node around it: making appends on many partitions
//! durable through one journal, and putting committed batches into segments.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use highwater_benches::{BenchError, Quantiles};
use highwater_records::{Batch, BatchBuilder};
use highwater_storage::disk::RealDisk;
use highwater_storage::journal::JournalOptions;
use highwater_storage::{
    Applied, Applier, Durability, Entry, GroupLog, GroupOptions, LogId, NewEntry, NewPayload, RestoreError,
    SegmentOptions, Store, StoreOptions,
};
use highwater_types::{
    Clock, GroupId, PartitionId, PartitionIndex, RaftIndex, SystemClock, SystemRandom, Term, TopicId, limits,
};
use tokio::sync::oneshot;

/// Measures journal and segments.
#[derive(Parser)]
struct Arguments {
    /// Where the data goes, in a directory of its own that is removed afterwards
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Numbers of partitions that append at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,16,256")]
    partitions: Vec<u32>,
    /// Rounds of appends for each of these numbers
    #[arg(long, default_value_t = 300)]
    rounds: u64,
    /// Mebibytes of batches that are put into segments
    #[arg(long, default_value_t = 512)]
    mebibytes: u64,
}

/// A state machine without a state.
struct Nothing;

impl Applier for Nothing {
    fn apply(&mut self, _entry: &Entry) -> Applied {
        Applied::default()
    }

    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(&mut self, _state: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let directory =
        tempfile::tempdir_in(&arguments.directory).map_err(BenchError::io("creating a temporary directory"))?;
    let options = StoreOptions {
        journal: JournalOptions::default(),
        mapped_segments_max: limits::MAPPED_SEGMENTS_MAX,
        unreadable: Vec::new(),
        power_lost: false,
        on_failure: Arc::new(|error| panic!("the journal failed: {error}")),
    };
    let disk = Arc::new(RealDisk::new(directory.path().to_path_buf()));
    let store = Store::open(disk, &options, &SystemRandom)?;
    let checkpoints = tokio::spawn(checkpoint_when_due(store.clone()));

    println!("one durable 4 KiB append on each of n partitions");
    for &partitions in &arguments.partitions {
        let topic = TopicId::draw(&SystemRandom);
        let logs = (0..partitions)
            .map(|index| open_group(&store, topic, index, Durability::Fsync))
            .collect::<Result<Vec<_>, _>>()?;
        println!("{partitions:>6}  {}", append_rounds(&logs, arguments.rounds).await?);
    }
    let log = open_group(&store, TopicId::draw(&SystemRandom), 0, Durability::Memory)?;
    fill_segments(&log, arguments.mebibytes).await?;
    checkpoints.abort();
    store.close().await?;
    Ok(())
}

async fn checkpoint_when_due(store: Arc<Store>) -> Result<(), BenchError> {
    loop {
        store.checkpoint_due().await;
        store.checkpoint().await?;
    }
}

fn open_group(
    store: &Store,
    topic: TopicId,
    index: u32,
    durability: Durability,
) -> Result<Arc<GroupLog>, BenchError> {
    let segments = SegmentOptions { segment_bytes: 1 << 30, segment_ms: i64::MAX, index_interval_bytes: 4096 };
    let id = PartitionId { topic, index: PartitionIndex(index) };
    let options = GroupOptions { durability, segments: Some(segments) };
    let log = store.create_group(GroupId::Partition(id), options)?;
    log.install(Box::new(Nothing))?;
    Ok(log)
}

fn batch(bytes: usize) -> Result<Batch, BenchError> {
    let mut builder = BatchBuilder::new();
    builder.append(None, Some(&vec![b'x'; bytes]), &[], SystemClock.now())?;
    Ok(builder.build()?)
}

fn entry(index: u64, batch: &Batch) -> NewEntry {
    let id = LogId { term: Term(1), index: RaftIndex(index) };
    NewEntry { id, payload: NewPayload::Proposed(batch.clone()) }
}

/// In each round all logs append one batch; the round ends when all are durable.
async fn append_rounds(logs: &[Arc<GroupLog>], rounds: u64) -> Result<Quantiles, BenchError> {
    let batch = batch(4 << 10)?;
    let mut times: Vec<Duration> = Vec::new();
    for index in 0..rounds {
        let began = Instant::now();
        let mut waiting = Vec::with_capacity(logs.len());
        for log in logs {
            let (sender, receiver) = oneshot::channel();
            log.append([entry(index, &batch)], move |result| drop(sender.send(result)))?;
            waiting.push(receiver);
        }
        for receiver in waiting {
            receiver.await.map_err(|_| BenchError::Gone)??;
        }
        times.push(began.elapsed());
        // Committed at once, so that the tails stay short.
        for log in logs {
            apply(log, index)?;
        }
    }
    Ok(Quantiles::of(times))
}

fn apply(log: &Arc<GroupLog>, index: u64) -> Result<(), BenchError> {
    let entry = log.entry(RaftIndex(index))?;
    log.apply(vec![entry], SystemClock.now())?;
    Ok(())
}

/// Appends batches of 64 KiB to one log and applies them; prints how long the applying alone took.
async fn fill_segments(log: &Arc<GroupLog>, mebibytes: u64) -> Result<(), BenchError> {
    let batch = batch(64 << 10)?;
    let batches = (mebibytes << 20) / batch.bytes().len() as u64;
    let mut spent = Duration::ZERO;
    for index in 0..batches {
        let (sender, receiver) = oneshot::channel();
        log.append([entry(index, &batch)], move |result| drop(sender.send(result)))?;
        receiver.await.map_err(|_| BenchError::Gone)??;
        let began = Instant::now();
        apply(log, index)?;
        spent += began.elapsed();
    }
    let seconds = spent.as_secs_f64().max(f64::EPSILON);
    let each = spent.div_f64(batches.max(1) as f64);
    println!("batches of 64 KiB into segments: {:.0} MiB/s, {each:.1?} each", mebibytes as f64 / seconds);
    Ok(())
}
