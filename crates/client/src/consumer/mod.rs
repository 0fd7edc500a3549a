//! Reads partitions of a topic as they grow, batch by batch, through breaks of the connection.

mod config;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use highwater_records::Record;
use highwater_types::{Offset, PartitionIndex};
use tokio_stream::Stream;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::reader::{ReadBatch, ReadEnd, ReadSet, Reader, ReadingId};

pub use config::{ConsumerConfig, OutOfRange, StartPosition};

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

/// Reads some partitions of a topic. A [`Stream`] of batches; in order and without gaps or repeats within each
/// partition. Dropping it ends it.
///
/// Each partition is read from its leader. When that moves or its node dies, reading goes on at the next one where it
/// stopped, without an error; a partition without a leader is waited for, as long as [`ConsumerConfig::retry_for`] says.
///
/// An error with a partition ends that partition, and the others go on. The stream ends after the last one.
#[derive(Debug)]
pub struct Consumer {
    reader: Reader,
    /// What is still read.
    readings: BTreeMap<ReadingId, PartitionIndex>,
    /// Where the user is in each partition, by number.
    positions: Vec<Option<Offset>>,
    partitions: Vec<PartitionIndex>,
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
        let set = Arc::new(ReadSet::default());
        let add = |partition: &PartitionIndex| (set.add(topic.key(*partition), config.start), *partition);
        let readings = partitions.iter().map(add).collect();
        let reader = Reader::start(cluster, config.reader(), set);
        let positions = vec![None; usize::try_from(topic.partitions).unwrap_or(usize::MAX)];
        Ok(Self { reader, readings, positions, partitions })
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

    fn hand_out(&mut self, batch: ReadBatch) -> Option<ConsumedBatch> {
        let partition = *self.readings.get(&batch.id)?;
        let ReadBatch { records, next_offset, high_watermark, .. } = batch;
        if let Some(position) = usize::try_from(partition.0).ok().and_then(|i| self.positions.get_mut(i)) {
            *position = Some(next_offset);
        }
        Some(ConsumedBatch { partition, records, next_offset, high_watermark })
    }

    fn end(&mut self, end: ReadEnd) -> ClientError {
        if end.error.partition().is_some() {
            for id in end.ids {
                self.readings.remove(&id);
            }
        } else {
            self.readings.clear();
        }
        end.error
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedBatch, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.readings.is_empty() {
            match ready!(self.reader.poll_next(context)) {
                Some(Ok(batch)) => {
                    if let Some(batch) = self.hand_out(batch) {
                        return Poll::Ready(Some(Ok(batch)));
                    }
                }
                Some(Err(end)) => return Poll::Ready(Some(Err(self.end(end)))),
                None => break,
            }
        }
        Poll::Ready(None)
    }
}
