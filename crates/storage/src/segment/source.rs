//! Where a walk over batches gets its bytes: from a mapping (hot reads, no copy) or by
//! pread (recovery, rebuild, verification: a bad sector is an error there, not a signal).
//!
//! Both hold one window of the file at a time, so that memory stays bounded whatever the
//! segment's size.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{DiskFile, Mapping};

/// Bytes that one window holds, unless a single request is larger.
const WINDOW_BYTES: usize = 128 << 10;

/// Random access to the first `size` bytes of a segment's file.
pub(crate) trait Source {
    /// The bytes `at .. at + length`, which lie below the size.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]>;
}

/// Bytes of a mapping.
pub(crate) struct MappedSource {
    mapping: Arc<dyn Mapping>,
    size: u64,
    window: Bytes,
    window_at: u64,
}

impl MappedSource {
    /// Reads the first `size` bytes of a mapping, which covers them.
    pub(crate) fn new(mapping: Arc<dyn Mapping>, size: u64) -> Self {
        assert!(size <= mapping.len(), "a mapping of {} bytes does not cover {size}", mapping.len());
        Self { mapping, size, window: Bytes::new(), window_at: 0 }
    }
}

impl Source for MappedSource {
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        if !covers(self.window_at, self.window.len(), at, length) {
            let end = window_end(at, length, self.size)?;
            self.window = Arc::clone(&self.mapping).slice(at..end);
            self.window_at = at;
        }
        Ok(within(&self.window, self.window_at, at, length))
    }
}

/// Bytes of a file, by pread.
pub(crate) struct FileSource {
    file: Arc<dyn DiskFile>,
    size: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl FileSource {
    /// Reads the first `size` bytes of a file.
    pub(crate) fn new(file: Arc<dyn DiskFile>, size: u64) -> Self {
        Self { file, size, window: Vec::new(), window_at: 0 }
    }
}

impl FileSource {
    fn fill(&mut self, at: u64, bytes: usize) -> io::Result<()> {
        self.window.clear();
        self.window.resize(bytes, 0);
        self.window_at = at;
        let read = self.file.read_exact_at(&mut self.window, at);
        if read.is_err() {
            self.window.clear();
        }
        read
    }
}

impl Source for FileSource {
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        if !covers(self.window_at, self.window.len(), at, length) {
            let end = window_end(at, length, self.size)?;
            // At most the larger of the window and the request, which callers bound.
            let bytes = usize::try_from(end - at).map_err(|_| io::ErrorKind::InvalidInput)?;
            // What cannot be read may lie in the window behind what is asked for.
            if self.fill(at, bytes).is_err() {
                self.fill(at, length)?;
            }
        }
        Ok(within(&self.window, self.window_at, at, length))
    }
}

/// Either of the two: a mapping where the segment is whole as far as is known, a file where it is not.
pub(crate) enum AnySource {
    /// See [`MappedSource`].
    Mapped(MappedSource),
    /// See [`FileSource`].
    File(FileSource),
}

impl Source for AnySource {
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        match self {
            Self::Mapped(source) => source.bytes(at, length),
            Self::File(source) => source.bytes(at, length),
        }
    }
}

fn covers(window_at: u64, window: usize, at: u64, length: usize) -> bool {
    window_at <= at && at + length as u64 <= window_at + window as u64
}

fn window_end(at: u64, length: usize, size: u64) -> io::Result<u64> {
    let needed = at.saturating_add(length as u64);
    if needed > size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(needed.max(size.min(at.saturating_add(WINDOW_BYTES as u64))))
}

fn within(window: &[u8], window_at: u64, at: u64, length: usize) -> &[u8] {
    // `covers` holds here, so the difference is below the window's length.
    let from = (at - window_at) as usize;
    &window[from..from + length]
}
