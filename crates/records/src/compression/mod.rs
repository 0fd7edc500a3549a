//! The codecs as Kafka frames them. Decompression is a stream with a limit on what comes
//! out of it: a bomb costs no more than the limit, and no buffer is sized by what the
//! compressed bytes say about themselves.

mod gzip;
mod lz4;
mod snappy;

use std::io::{self, Read, Write};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::write::GzEncoder;

use crate::attributes::Compression;
use crate::error::RecordsError;
use crate::input::from_io;

/// The largest window a Zstandard frame may ask for, as a power of two: what the highest
/// level that Kafka allows (22) uses. The memory is touched only as far as output fills it.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// What is asked of a codec at one time, whether its output is kept or only checked: some damage to a Zstandard frame is noticed or not
/// by how much room for output there is.
pub(crate) const READ_BYTES: usize = 16 << 10;
/// Kafka's default levels.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

/// Compresses with the codec's default level.
pub(crate) fn compress(compression: Compression, records: &[u8]) -> Result<Vec<u8>, RecordsError> {
    let compressed = match compression {
        Compression::None => Ok(records.to_vec()),
        Compression::Gzip => gzip(records),
        Compression::Snappy => snappy::compress(records),
        Compression::Lz4 => lz4::compress(records),
        Compression::Zstd => zstd::stream::encode_all(records, ZSTD_LEVEL),
    };
    compressed.map_err(|error| RecordsError::Compress { compression, detail: error.to_string() })
}

fn gzip(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(records)?;
    encoder.finish()
}

/// Decompresses all of `compressed`, which must come to at most `bytes_max`.
pub(crate) fn decompress(
    compression: Compression,
    compressed: Bytes,
    bytes_max: usize,
) -> Result<Bytes, RecordsError> {
    if compression == Compression::None {
        return Ok(compressed);
    }
    let mut stream = Decompressor::new(compression, compressed, bytes_max)?;
    let (mut records, mut len) = (Vec::new(), 0);
    loop {
        records.resize(len + READ_BYTES, 0);
        match stream.read(&mut records[len..]).map_err(|error| from_io(compression, error))? {
            0 => break,
            more => len += more,
        }
    }
    records.truncate(len);
    Ok(Bytes::from(records))
}

/// A stream of decompressed bytes that fails once it exceeds its limit.
pub(crate) struct Decompressor {
    codec: Codec,
    compression: Compression,
    compressed_bytes: usize,
    bytes_max: usize,
    /// What may still come: `bytes_max` less what came.
    bytes_left: usize,
}

enum Codec {
    None(Reader<Bytes>),
    Gzip(Box<gzip::Members>),
    Snappy(snappy::Blocks),
    Lz4(lz4::Frame),
    Zstd(zstd::stream::read::Decoder<'static, Reader<Bytes>>),
}

impl Decompressor {
    pub(crate) fn new(
        compression: Compression,
        compressed: Bytes,
        bytes_max: usize,
    ) -> Result<Self, RecordsError> {
        let compressed_bytes = compressed.len();
        let codec = Codec::open(compression, compressed).map_err(|error| from_io(compression, error))?;
        Ok(Self { codec, compression, compressed_bytes, bytes_max, bytes_left: bytes_max })
    }

    fn too_large(&self) -> io::Error {
        io::Error::other(RecordsError::DecompressedTooLarge {
            compression: self.compression,
            compressed_bytes: self.compressed_bytes,
            max: self.bytes_max,
        })
    }
}

impl Codec {
    fn open(compression: Compression, compressed: Bytes) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(compressed.reader()),
            Compression::Gzip => Self::Gzip(Box::new(gzip::Members::new(compressed))),
            Compression::Snappy => Self::Snappy(snappy::Blocks::new(compressed)),
            Compression::Lz4 => Self::Lz4(lz4::Frame::new(compressed)?),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed.reader())?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }
}

impl Read for Decompressor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // One byte more than is allowed is enough to see that there is more.
        let room = out.len().min(self.bytes_left.saturating_add(1));
        let out = &mut out[..room];
        let len = match &mut self.codec {
            Codec::None(source) => source.read(out)?,
            Codec::Gzip(decoder) => decoder.read(out)?,
            Codec::Snappy(blocks) => match blocks.read(out, self.bytes_left) {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(self.too_large());
                }
                read => read?,
            },
            Codec::Lz4(frame) => frame.read(out)?,
            Codec::Zstd(decoder) => decoder.read(out)?,
        };
        match self.bytes_left.checked_sub(len) {
            Some(left) => self.bytes_left = left,
            None => return Err(self.too_large()),
        }
        Ok(len)
    }
}
