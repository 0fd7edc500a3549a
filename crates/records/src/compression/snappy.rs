//! Snappy, which has no stream format of its own: Kafka's clients use that of snappy-java,
//! and a few old ones a single raw block.
//!
//! ```text
//! byte  0                       8         12        16
//!       +-----------------------+---------+---------+--------+=======+--------+=======+
//!       | 82 53 4e 41 50 50 59 0| version | oldest  | length | block | length | block | …
//!       |     "\x82SNAPPY\0"    | (1)     | reader 1| of it  | raw   |        |       |
//!       +-----------------------+---------+---------+--------+=======+--------+=======+
//! ```
//!
//! Integers are big-endian. One block at a time is decompressed, of which
//! `decompressed ≤ EXPANSION_MAX × compressed` holds, so that a stated length that no
//! input of that size can reach is refused before memory is taken for it.

use std::io;

use bytes::{Buf, Bytes};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const STREAM_HEADER_LEN: usize = 16;
/// What snappy-java writes, and reads at the most.
const VERSION: u32 = 1;
/// Bytes per block, as snappy-java has it.
const BLOCK_BYTES: usize = 32 << 10;
/// A copy of at most 64 bytes takes at least two bytes of input.
const EXPANSION_MAX: usize = 32;

pub(super) fn compress(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(STREAM_HEADER_LEN + records.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::from)?;
        let len = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

/// Decompresses block by block.
pub(super) struct Blocks {
    compressed: Bytes,
    /// Whether the stream's header was seen: blocks with their lengths follow. Without it,
    /// one raw block is all there is.
    framed: bool,
    block: Vec<u8>,
    /// What of `block` was read.
    position: usize,
}

impl Blocks {
    pub(super) fn new(compressed: Bytes) -> Self {
        Self { compressed, framed: false, block: Vec::new(), position: 0 }
    }

    /// Reads into `out`. Fails with [`io::ErrorKind::FileTooLarge`] on a block of more than
    /// `bytes_left` bytes, before it is decompressed.
    pub(super) fn read(&mut self, out: &mut [u8], bytes_left: usize) -> io::Result<usize> {
        while self.position == self.block.len() {
            if self.compressed.is_empty() {
                return Ok(0);
            }
            let block = self.next_block()?;
            self.decompress(&block, bytes_left)?;
        }
        let len = out.len().min(self.block.len() - self.position);
        out[..len].copy_from_slice(&self.block[self.position..self.position + len]);
        self.position += len;
        Ok(len)
    }

    fn next_block(&mut self) -> io::Result<Bytes> {
        if !self.framed {
            if !self.compressed.starts_with(&MAGIC) {
                return Ok(std::mem::take(&mut self.compressed));
            }
            self.stream_header()?;
            self.framed = true;
        }
        let stated =
            self.compressed.try_get_u32().map_err(|_| damaged("the stream ends within a block's length"))?;
        match usize::try_from(stated) {
            Ok(len) if len <= self.compressed.len() => Ok(self.compressed.split_to(len)),
            _ => Err(damaged(&format!("a block of {stated} bytes where {} remain", self.compressed.len()))),
        }
    }

    fn stream_header(&mut self) -> io::Result<()> {
        if self.compressed.len() < STREAM_HEADER_LEN {
            return Err(damaged("the stream ends within its header"));
        }
        self.compressed.advance(MAGIC.len());
        let (_version, oldest_reader) = (self.compressed.get_u32(), self.compressed.get_u32());
        if oldest_reader > VERSION {
            return Err(damaged(&format!(
                "the stream needs a reader of version {oldest_reader}, this is {VERSION}"
            )));
        }
        Ok(())
    }

    fn decompress(&mut self, block: &[u8], bytes_left: usize) -> io::Result<()> {
        let stated = snap::raw::decompress_len(block).map_err(io::Error::from)?;
        if stated > bytes_left {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        if stated > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(damaged(&format!("{} bytes cannot decompress to the stated {stated}", block.len())));
        }
        self.block.resize(stated, 0);
        self.position = 0;
        let len = snap::raw::Decoder::new().decompress(block, &mut self.block).map_err(io::Error::from)?;
        self.block.truncate(len);
        Ok(())
    }
}

fn damaged(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}
