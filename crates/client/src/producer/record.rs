//! What goes into a producer, and what comes back for it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use highwater_records::Header;
use highwater_types::{Offset, PartitionIndex, TimestampMs};
use tokio::sync::watch;

use crate::error::ClientError;

/// A record to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Decides the partition unless `partition` is set.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers, in order.
    pub headers: Vec<Header>,
    /// The time now, unless set.
    pub timestamp: Option<TimestampMs>,
    /// The partition, whatever the key.
    pub partition: Option<PartitionIndex>,
}

impl ProducerRecord {
    /// A record of a value alone.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record of a key and a value.
    pub fn key_value(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::value(value) }
    }
}

/// Where a record is, durable as its topic promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset in it.
    pub offset: Offset,
}

/// How a whole batch ended: the offset of its first record.
pub(crate) type BatchOutcome = Result<Offset, ClientError>;

/// A record on its way: await it to learn how that ended. Dropping it changes nothing for the
/// record; [`crate::Producer::flush`] reports its failure all the same.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) partition: PartitionIndex,
    pub(crate) index: i64,
    pub(crate) outcome: watch::Receiver<Option<BatchOutcome>>,
}

impl Delivery {
    /// Waits for the acknowledgement or the failure. Cancel-safe in that the record goes on.
    pub async fn wait(mut self) -> Result<Delivered, ClientError> {
        let outcome = match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let base_offset = outcome.unwrap_or(Err(ClientError::Closed))?;
        Ok(Delivered { partition: self.partition, offset: base_offset.plus(self.index) })
    }
}

impl IntoFuture for Delivery {
    type Output = Result<Delivered, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}
