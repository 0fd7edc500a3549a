//! How a producer batches, retries and bounds its memory.

use std::time::Duration;

use highwater_records::Compression;
use highwater_types::limits::BATCH_BYTES_MAX;

use crate::error::ClientError;

/// Settings of a [`crate::Producer`].
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// A batch is sent when it has this many bytes before compression. One record may be larger.
    pub batch_bytes: usize,
    /// A batch that is not full is sent after so long; it waits longer only while the partition has as many
    /// batches on their way as it may have.
    pub linger: Duration,
    /// How long a record may take from [`crate::Producer::send`] to its acknowledgement, retries and
    /// reconnects included. Also bounds how long `send` waits for memory and metadata.
    pub delivery_timeout: Duration,
    /// Most bytes of records that are not acknowledged; `send` waits while there are more.
    pub buffer_bytes: usize,
    /// Whether batches carry a producer id and sequence, so that retries neither duplicate nor reorder.
    pub idempotence: bool,
    /// How batches are compressed.
    pub compression: Compression,
    /// After so long the number of partitions of a topic is asked for again.
    pub metadata_age_max: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            batch_bytes: 64 << 10,
            linger: Duration::from_millis(5),
            delivery_timeout: Duration::from_secs(120),
            buffer_bytes: 32 << 20,
            idempotence: true,
            compression: Compression::None,
            metadata_age_max: Duration::from_secs(300),
        }
    }
}

impl ProducerConfig {
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let too_small = |name, value: usize, min: usize| {
            let wide = |number| u64::try_from(number).unwrap_or(u64::MAX);
            Err(ClientError::InvalidSetting { name, value: wide(value), min: wide(min) })
        };
        if self.batch_bytes == 0 {
            return too_small("batch_bytes", 0, 1);
        }
        if self.buffer_bytes < self.batch_bytes {
            return too_small("buffer_bytes", self.buffer_bytes, self.batch_bytes);
        }
        Ok(())
    }

    /// Most bytes that a batch is filled with.
    pub(crate) fn fill_bytes(&self) -> usize {
        self.batch_bytes.min(BATCH_BYTES_MAX)
    }
}
