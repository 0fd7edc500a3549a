//! Several batches one after the other, as a fetch returns them or a segment holds them.

use std::fmt;
use std::iter::FusedIterator;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::RecordsError;
use crate::header::BatchHeader;

/// Iterates over the batches in `bytes`, each a slice of them. Every one is parsed, not
/// verified. The iterator ends after its first error: behind a damaged length nothing is certain.
pub fn split_batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// See [`split_batches`].
#[derive(Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Bytes that were not yet given out; after an error, none.
    pub fn remaining_bytes(&self) -> usize {
        self.rest.len()
    }

    fn split_first(&mut self) -> Result<Batch, RecordsError> {
        let stated = BatchHeader::peek_size(&self.rest)?;
        let available = self.rest.len();
        if stated > available {
            return Err(RecordsError::BatchTruncated { stated, available });
        }
        Batch::parse(self.rest.split_to(stated))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = self.split_first();
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

impl FusedIterator for Batches {}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("remaining_bytes", &self.rest.len()).finish()
    }
}
