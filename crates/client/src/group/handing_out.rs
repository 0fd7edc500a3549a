//! Hands out what is read: record by record or batch by batch, each only while its partition is this member's.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use highwater_records::Record;
use highwater_types::{ErrorCode, Offset, PartitionId};
use tokio::sync::mpsc;

use crate::error::ClientError;
use crate::group::shared::{Inner, Shared};
use crate::group::{GroupBatch, GroupRecord};
use crate::reader::{ReadBatch, ReadEnd, Reader, ReadingId};

/// A batch that is being handed out record by record.
#[derive(Debug)]
struct Open {
    reading: ReadingId,
    partition: PartitionId,
    topic: Arc<str>,
    records: std::vec::IntoIter<Record>,
    next_offset: Offset,
    /// The version of what is owned in which this counts.
    version: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct HandingOut {
    shared: Arc<Shared>,
    reader: Reader,
    open: Option<Open>,
    /// Why this will never be a member.
    failed: mpsc::Receiver<ClientError>,
    failure: Option<ClientError>,
}

impl HandingOut {
    pub(crate) fn new(shared: Arc<Shared>, reader: Reader, failed: mpsc::Receiver<ClientError>) -> Self {
        Self { shared, reader, open: None, failed, failure: None }
    }

    pub(crate) fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Result<GroupRecord, ClientError>> {
        loop {
            if let Some(record) = self.next_of_open() {
                return Poll::Ready(Ok(record));
            }
            ready!(self.poll_open(context))?;
        }
    }

    pub(crate) fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<GroupBatch, ClientError>> {
        loop {
            if let Some(batch) = self.rest_of_open() {
                return Poll::Ready(Ok(batch));
            }
            ready!(self.poll_open(context))?;
        }
    }

    /// The next record of the open batch. `None` when there is none left.
    fn next_of_open(&mut self) -> Option<GroupRecord> {
        let mut inner = self.shared.inner();
        self.shared.settle(&mut inner);
        let open = still_owned(&mut self.open, &inner)?;
        let record = open.records.next()?;
        let is_last = open.records.as_slice().is_empty();
        let next = if is_last { open.next_offset } else { Offset(record.offset.0 + 1) };
        inner.progress.hand_out(open.partition, next);
        let (topic, partition) = (Arc::clone(&open.topic), open.partition.index);
        Some(GroupRecord { topic, partition, record })
    }

    /// All that is left of the open batch, if that is anything.
    fn rest_of_open(&mut self) -> Option<GroupBatch> {
        let mut inner = self.shared.inner();
        self.shared.settle(&mut inner);
        still_owned(&mut self.open, &inner)?;
        let open = self.open.take().filter(|open| !open.records.as_slice().is_empty())?;
        inner.progress.hand_out(open.partition, open.next_offset);
        Some(GroupBatch {
            topic: open.topic,
            partition: open.partition.index,
            records: open.records.collect(),
            next_offset: open.next_offset,
        })
    }

    /// Opens the next batch with records.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        loop {
            if let Some(error) = &self.failure {
                return Poll::Ready(Err(error.clone()));
            }
            if let Poll::Ready(failure) = self.failed.poll_recv(context) {
                self.failure = Some(failure.unwrap_or(ClientError::Closed));
                continue;
            }
            match ready!(self.reader.poll_next(context)) {
                Some(Ok(batch)) => {
                    self.open = self.shared.open(batch);
                    if self.open.is_some() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(Err(end)) => {
                    if let Some(error) = self.shared.end_readings(end) {
                        return Poll::Ready(Err(error));
                    }
                }
                None => self.failure = Some(ClientError::Closed),
            }
        }
    }
}

impl Shared {
    /// The application asks for more.
    pub(crate) fn settle(&self, inner: &mut Inner) {
        if let Some(partition) = inner.progress.settle()
            && inner.agenda.waits_for(partition)
        {
            self.changed.notify_waiters();
        }
    }

    /// Takes in what was read. None when there is nothing to hand out.
    fn open(&self, batch: ReadBatch) -> Option<Open> {
        let mut inner = self.inner();
        let (partition, owned) = inner.progress.of_reading(batch.id)?;
        let topic = Arc::clone(&owned.key.topic);
        let ReadBatch { id: reading, records, next_offset, high_watermark } = batch;
        if records.is_empty() {
            inner.progress.note(partition, next_offset, high_watermark);
            return None;
        }
        inner.progress.note_high_watermark(partition, high_watermark);
        let (records, version) = (records.into_iter(), inner.progress.version());
        Some(Open { reading, partition, topic, records, next_offset, version })
    }

    /// Some partitions cannot be read. None when that is nothing to tell: a topic that is gone is taken from the member.
    fn end_readings(&self, end: ReadEnd) -> Option<ClientError> {
        let mut inner = self.inner();
        for reading in end.ids {
            let partition = inner.progress.of_reading(reading).map(|(partition, _)| partition);
            if let Some(partition) = partition {
                inner.progress.stop(partition);
            }
        }
        let is_gone =
            matches!(end.error.code(), Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId));
        if is_gone {
            tracing::debug!(group = self.config.group, error = %end.error, "a topic is gone");
        }
        (!is_gone).then_some(end.error)
    }
}

/// The open batch, if its partition still is this member's and read as it was.
fn still_owned<'a>(open: &'a mut Option<Open>, inner: &Inner) -> Option<&'a mut Open> {
    let version = inner.progress.version();
    open.take_if(|open| {
        let is_current = open.version == version || inner.progress.of_reading(open.reading).is_some();
        open.version = version;
        !is_current
    });
    open.as_mut()
}
