//! Where the bytes of records come from: a slice that is handed out piece by piece, or a
//! stream that is only checked and passes through a fixed buffer.

use std::io::{self, BufRead};

use bytes::{Buf, Bytes};

use crate::attributes::Compression;
use crate::error::RecordsError;

/// How much may come out of a stream is for the stream to limit.
pub(crate) const UNKNOWN: usize = usize::MAX;

/// A source of record bytes. `None` means that the source ends before what was asked for.
pub(crate) trait RecordInput {
    /// What a run of bytes becomes.
    type Chunk;

    /// The next byte.
    fn byte(&mut self) -> Result<Option<u8>, RecordsError>;

    /// The next `len` bytes.
    fn take(&mut self, len: usize) -> Result<Option<Self::Chunk>, RecordsError>;

    /// No more bytes than these can come: exact for a slice, [`UNKNOWN`] for a stream.
    fn remaining_max(&self) -> usize;

    /// Whether nothing is left.
    fn at_end(&mut self) -> Result<bool, RecordsError>;
}

/// Hands out slices that share the memory of the whole.
impl RecordInput for Bytes {
    type Chunk = Bytes;

    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, RecordsError> {
        Ok(self.try_get_u8().ok())
    }

    fn take(&mut self, len: usize) -> Result<Option<Bytes>, RecordsError> {
        Ok((len <= self.len()).then(|| self.split_to(len)))
    }

    fn remaining_max(&self) -> usize {
        self.len()
    }

    fn at_end(&mut self) -> Result<bool, RecordsError> {
        Ok(self.is_empty())
    }
}

/// Passes over the bytes without keeping any.
pub(crate) struct CheckInput<R> {
    source: R,
    compression: Compression,
    remaining_max: usize,
}

impl<R: BufRead> CheckInput<R> {
    /// Checks what comes from `source`, at most `remaining_max` bytes.
    pub(crate) fn new(source: R, compression: Compression, remaining_max: usize) -> Self {
        Self { source, compression, remaining_max }
    }

    fn consume(&mut self, len: usize) {
        self.source.consume(len);
        self.remaining_max = self.remaining_max.saturating_sub(len);
    }

    fn error(&self, error: io::Error) -> RecordsError {
        from_io(self.compression, error)
    }
}

impl<R: BufRead> RecordInput for CheckInput<R> {
    type Chunk = ();

    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, RecordsError> {
        let byte = match self.source.fill_buf() {
            Ok(buffer) => buffer.first().copied(),
            Err(error) => return Err(self.error(error)),
        };
        self.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<Option<()>, RecordsError> {
        let mut missing = len;
        while missing > 0 {
            let step = match self.source.fill_buf() {
                Ok(buffer) => buffer.len().min(missing),
                Err(error) => return Err(self.error(error)),
            };
            if step == 0 {
                return Ok(None);
            }
            self.consume(step);
            missing -= step;
        }
        Ok(Some(()))
    }

    fn remaining_max(&self) -> usize {
        self.remaining_max
    }

    fn at_end(&mut self) -> Result<bool, RecordsError> {
        match self.source.fill_buf() {
            Ok(buffer) => Ok(buffer.is_empty()),
            Err(error) => Err(self.error(error)),
        }
    }
}

/// Errors of ours travel through `Read` inside an `io::Error`; all others are the codec's.
pub(crate) fn from_io(compression: Compression, error: io::Error) -> RecordsError {
    match error.downcast::<RecordsError>() {
        Ok(ours) => ours,
        Err(codec) => RecordsError::Decompress { compression, detail: codec.to_string() },
    }
}
