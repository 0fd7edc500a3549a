//! LZ4 in its frame format, as far as Kafka's clients write and read it: one frame of
//! independent blocks that fills the payload exactly.
//!
//! ```text
//! byte  0          4     5     6                          7 or 15
//!       +----------+-----+-----+--------------------------+------+-------+=======+
//!       |04 22 4d18| FLG | BD  | content size (8), if FLG | HC   | length| block | … 00 00 00 00
//!       +----------+-----+-----+--------------------------+------+-------+=======+
//! FLG  bits 7-6 version 01 · 5 independent blocks · 4 block checksums · 3 content size
//!      2 content checksum · 0 dictionary id
//! ```
//!
//! Lengths are little-endian; their highest bit marks a block that is not compressed. The
//! decoder takes a frame that just stops for a whole one, and Kafka's Java client does not,
//! so the outline of the frame is checked before it is decoded.

use std::io::{self, Read, Write};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

const MAGIC: u32 = 0x184d_2204;
const FLG_VERSION_MASK: u8 = 0b1100_0000;
const FLG_VERSION: u8 = 0b0100_0000;
const FLG_INDEPENDENT: u8 = 1 << 5;
const FLG_BLOCK_CHECKSUMS: u8 = 1 << 4;
const FLG_CONTENT_SIZE: u8 = 1 << 3;
const FLG_CONTENT_CHECKSUM: u8 = 1 << 2;
const BLOCK_UNCOMPRESSED: u32 = 1 << 31;
const CHECKSUM_LEN: usize = 4;

pub(super) fn compress(records: &[u8]) -> io::Result<Vec<u8>> {
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(records)?;
    encoder.finish().map_err(io::Error::from)
}

/// Decompresses one whole frame.
pub(super) struct Frame(Box<FrameDecoder<Reader<Bytes>>>);

impl Frame {
    pub(super) fn new(compressed: Bytes) -> io::Result<Self> {
        check_outline(compressed.clone())?;
        Ok(Self(Box::new(FrameDecoder::new(compressed.reader()))))
    }
}

impl Read for Frame {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

/// Walks from block to block without decoding any, up to the end mark.
fn check_outline(mut frame: Bytes) -> io::Result<()> {
    if take_u32(&mut frame)? != MAGIC {
        return Err(damaged("the frame's magic number is missing".to_owned()));
    }
    let flags = frame.try_get_u8().map_err(|_| ends_early())?;
    if flags & FLG_VERSION_MASK != FLG_VERSION || flags & FLG_INDEPENDENT == 0 {
        return Err(damaged(format!(
            "frame flags {flags:#04x}: version 1 with independent blocks is supported"
        )));
    }
    let content_size = if flags & FLG_CONTENT_SIZE == 0 { 0 } else { 8 };
    skip(&mut frame, 1 + content_size + 1)?;
    let block_checksum = if flags & FLG_BLOCK_CHECKSUMS == 0 { 0 } else { CHECKSUM_LEN };
    loop {
        let length = take_u32(&mut frame)?;
        if length == 0 {
            break;
        }
        let length = usize::try_from(length & !BLOCK_UNCOMPRESSED).map_err(|_| ends_early())?;
        skip(&mut frame, length.saturating_add(block_checksum))?;
    }
    let content_checksum = if flags & FLG_CONTENT_CHECKSUM == 0 { 0 } else { CHECKSUM_LEN };
    skip(&mut frame, content_checksum)?;
    if frame.is_empty() {
        Ok(())
    } else {
        Err(damaged(format!("{} bytes after the end of the frame", frame.len())))
    }
}

fn take_u32(frame: &mut Bytes) -> io::Result<u32> {
    frame.try_get_u32_le().map_err(|_| ends_early())
}

fn skip(frame: &mut Bytes, len: usize) -> io::Result<()> {
    if len > frame.len() {
        return Err(ends_early());
    }
    frame.advance(len);
    Ok(())
}

fn ends_early() -> io::Error {
    damaged("the frame ends early".to_owned())
}

fn damaged(detail: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}
