//! Reads partitions of a topic as they grow, batch by batch, through breaks of the connection.

mod config;
mod push_stream;
mod reading;
mod subscription;
mod taken;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use highwater_proto::v1::SubscribePush;
use highwater_records::{Record, split_batches};
use highwater_types::{Offset, PartitionIndex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;

use crate::cluster::Cluster;
use crate::error::ClientError;

use subscription::{Pushed, Subscription};
use taken::Taken;

pub use config::{ConsumerConfig, OutOfRange, StartPosition};

/// Pushes that wait for the user; the credit bounds their bytes.
const PUSHES_MAX: usize = 64;

/// Records of one partition, in order, as they were stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedBatch {
    /// The partition.
    pub partition: PartitionIndex,
    /// The records. Empty when the partition only tells where it is: once at its start, and when there is news.
    pub records: Vec<Record>,
    /// The offset after these records: where to resume.
    pub next_offset: Offset,
    /// The first offset that was not committed when the records were sent.
    pub high_watermark: Offset,
}

/// A push that is being handed out, batch by batch.
#[derive(Debug)]
struct Current {
    partition: PartitionIndex,
    /// Stored bytes, each with one or more batches.
    bytes: VecDeque<Bytes>,
    /// Where the user is.
    next_offset: Offset,
    /// Where the user is after all of the push.
    end_offset: Offset,
    high_watermark: Offset,
    charged_bytes: u64,
}

/// Reads some partitions of a topic. A [`Stream`] of batches; in order and without gaps or repeats within each
/// partition. Dropping it ends it.
///
/// Each partition is read from its leader. When that moves or its node dies, reading goes on at the next one where it
/// stopped, without an error; a partition without a leader is waited for, as long as [`ConsumerConfig::retry_for`] says.
///
/// An error with a partition ends that partition, and the others go on. The stream ends after the last one.
#[derive(Debug)]
pub struct Consumer {
    pushes: mpsc::Receiver<Pushed>,
    current: Option<Current>,
    /// Where the user is in each partition, by number.
    positions: Vec<Option<Offset>>,
    partitions: Vec<PartitionIndex>,
    taken: Arc<Taken>,
    task: JoinHandle<()>,
}

impl Consumer {
    pub(crate) async fn start(
        cluster: Arc<Cluster>,
        topic: &str,
        partitions: &[PartitionIndex],
        config: ConsumerConfig,
    ) -> Result<Self, ClientError> {
        if config.credit_bytes == 0 {
            return Err(ClientError::InvalidSetting { name: "credit_bytes", value: 0, min: 1 });
        }
        let topic = cluster.topic(topic).await?;
        let mut partitions: Vec<_> = partitions.iter().map(|p| topic.check(*p)).collect::<Result<_, _>>()?;
        if partitions.is_empty() {
            partitions = (0..topic.partitions).map(PartitionIndex).collect();
        }
        partitions.sort_unstable();
        partitions.dedup();
        let (out, pushes) = mpsc::channel(PUSHES_MAX);
        let taken = Arc::new(Taken::default());
        let positions = vec![None; usize::try_from(topic.partitions).unwrap_or(usize::MAX)];
        let subscription = Subscription::new(cluster, config, topic, &partitions, out, Arc::clone(&taken));
        let task = tokio::spawn(subscription.run());
        Ok(Self { pushes, current: None, positions, partitions, taken, task })
    }

    /// The partitions that this consumer was told to read.
    pub fn partitions(&self) -> &[PartitionIndex] {
        &self.partitions
    }

    /// The offset after the last record that was handed out of this partition, or where it starts. `None` until
    /// the cluster said where that is.
    pub fn position(&self, partition: PartitionIndex) -> Option<Offset> {
        self.positions.get(usize::try_from(partition.0).ok()?).copied().flatten()
    }

    /// The next batch; `None` when all partitions have ended. Cancel-safe.
    ///
    /// # Errors
    /// What ended a partition (the others go on), or, if the error names none, the consumer.
    pub async fn next_batch(&mut self) -> Result<Option<ConsumedBatch>, ClientError> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await.transpose()
    }

    /// Starts on the next push.
    fn take_push(&mut self, push: SubscribePush) {
        let data = push.data.unwrap_or_default();
        let end_offset = Offset(data.next_offset);
        let partition = PartitionIndex(push.partition);
        // A push without records says where the partition is, even if that is elsewhere than expected.
        let position = if data.batches.is_empty() { Some(end_offset) } else { self.position(partition) };
        self.current = Some(Current {
            partition,
            bytes: data.batches.into(),
            next_offset: position.unwrap_or(Offset::ZERO),
            end_offset,
            high_watermark: Offset(data.high_watermark),
            charged_bytes: push.charged_bytes,
        });
    }

    /// The next batch of the current push. `None` when there is none left.
    fn next_of_current(&mut self) -> Option<Result<ConsumedBatch, ClientError>> {
        let mut current = self.current.take()?;
        let records = match current.next_records() {
            Ok(records) => records,
            Err(error) => {
                // What is behind damage cannot be trusted; the consumer ends.
                self.pushes.close();
                return Some(Err(error));
            }
        };
        let batch = ConsumedBatch {
            partition: current.partition,
            records,
            next_offset: current.next_offset,
            high_watermark: current.high_watermark,
        };
        if let Some(position) =
            usize::try_from(current.partition.0).ok().and_then(|i| self.positions.get_mut(i))
        {
            *position = Some(current.next_offset);
        }
        if current.bytes.is_empty() {
            self.taken.add(current.partition, current.charged_bytes);
        } else {
            self.current = Some(current);
        }
        Some(Ok(batch))
    }
}

impl Current {
    /// Decodes one batch. Leaves `next_offset` after it.
    fn next_records(&mut self) -> Result<Vec<Record>, ClientError> {
        let (partition, from) = (self.partition.0, self.next_offset);
        let corrupt = |source| ClientError::CorruptBatch { partition, offset: from, source };
        let mut records = Vec::new();
        if let Some(bytes) = self.bytes.pop_front() {
            let length = bytes.len();
            let mut batches = split_batches(bytes.clone());
            if let Some(batch) = batches.next().transpose().map_err(corrupt)? {
                batch.verify().map_err(corrupt)?;
                if length > batch.size_in_bytes() {
                    self.bytes.push_front(bytes.slice(batch.size_in_bytes()..));
                }
                if !batch.is_control() && batch.next_offset() > from {
                    let is_new =
                        |record: &Result<Record, _>| record.as_ref().map_or(true, |r| r.offset >= from);
                    records = batch.records().filter(is_new).collect::<Result<_, _>>().map_err(corrupt)?;
                }
                self.next_offset = from.max(batch.next_offset());
            }
        }
        if self.bytes.is_empty() {
            self.next_offset = self.end_offset.max(self.next_offset);
        }
        Ok(records)
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedBatch, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(batch) = self.next_of_current() {
                return Poll::Ready(Some(batch));
            }
            match ready!(self.pushes.poll_recv(context)) {
                Some(Ok(push)) => self.take_push(push),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
