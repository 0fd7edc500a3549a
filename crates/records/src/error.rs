//! Everything that can be wrong with a batch, with the numbers that tell an operator
//! what was found, where, and what was expected.

use highwater_types::ErrorCode;

use crate::attributes::Compression;

/// Why bytes are not a valid batch, or records do not fit into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// Fewer bytes than the header of a batch.
    #[error("{available} bytes cannot hold a batch header of {needed} bytes")]
    HeaderTruncated {
        /// Bytes there are.
        available: usize,
        /// Bytes a header takes.
        needed: usize,
    },
    /// The batch claims more bytes than there are.
    #[error("the batch header states {stated} bytes in all, but only {available} are there")]
    BatchTruncated {
        /// Length of the batch as its header states it, header included.
        stated: usize,
        /// Bytes there are.
        available: usize,
    },
    /// Bytes after the end of the one batch that was expected.
    #[error("the batch header states {stated} bytes in all, but {available} were given")]
    BytesAfterBatch {
        /// Length of the batch as its header states it, header included.
        stated: usize,
        /// Bytes there are.
        available: usize,
    },
    /// The length field is negative, shorter than a header, or beyond the limit.
    #[error("batch length field is {length}; {min} to {max} is possible")]
    LengthOutOfRange {
        /// The length field as found; it counts the bytes after itself.
        length: i64,
        /// Smallest possible value.
        min: usize,
        /// Largest allowed value.
        max: usize,
    },
    /// Not the batch format of this log.
    #[error("batch has magic {magic}; only magic 2 (Kafka 0.11 and later) is supported")]
    UnsupportedMagic {
        /// The magic byte as found.
        magic: i8,
    },
    /// The offset field is negative or so large that the batch's end overflows.
    #[error("base offset {base_offset} with {count} records is not a possible offset range")]
    OffsetOutOfRange {
        /// The base offset field.
        base_offset: i64,
        /// The record count field.
        count: i32,
    },
    /// The record count is not possible.
    #[error("batch states {count} records; 1 to {max} is possible for its {payload_bytes} payload bytes")]
    CountOutOfRange {
        /// The record count field.
        count: i32,
        /// Most records such a batch may have.
        max: usize,
        /// Bytes after the header.
        payload_bytes: usize,
    },
    /// The last offset delta contradicts the record count.
    #[error("last offset delta is {last_offset_delta} in a batch of {count} records; {} was expected", .count - 1)]
    OffsetDeltaMismatch {
        /// The last offset delta field.
        last_offset_delta: i32,
        /// The record count field.
        count: i32,
    },
    /// The compression bits name no known codec.
    #[error("compression type {id} is not known (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd)")]
    UnknownCompression {
        /// The compression bits.
        id: u8,
    },
    /// Attribute bits that no supported feature uses.
    #[error("batch attributes {attributes:#06x} set reserved bits {reserved:#06x}")]
    ReservedAttributes {
        /// All attribute bits.
        attributes: u16,
        /// Those of them that are reserved.
        reserved: u16,
    },
    /// The checksum does not match: the batch was damaged.
    #[error(
        "batch checksum (CRC32C) is {computed:#010x}, its header states {stated:#010x}: the batch is damaged"
    )]
    ChecksumMismatch {
        /// The CRC field.
        stated: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// Producer id, epoch and sequence contradict each other.
    #[error("producer id {producer_id}, epoch {producer_epoch} and base sequence {base_sequence} contradict each other{}", if *.transactional { " in a transactional batch" } else { "" })]
    ProducerFields {
        /// The producer id field.
        producer_id: i64,
        /// The producer epoch field.
        producer_epoch: i16,
        /// The base sequence field.
        base_sequence: i32,
        /// Whether the batch says it is part of a transaction.
        transactional: bool,
    },
    /// A timestamp that is neither −1 (none) nor after the epoch, or that overflows.
    #[error("timestamp {timestamp} is not possible; −1 (none) and up is")]
    TimestampOutOfRange {
        /// The timestamp in milliseconds.
        timestamp: i64,
    },
    /// A record's timestamp cannot be stated relative to its batch's first.
    #[error("record {index}: timestamp delta {delta} from {base_timestamp} is not possible")]
    TimestampDelta {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// The base timestamp of the batch.
        base_timestamp: i64,
        /// The record's distance from it.
        delta: i64,
    },
    /// The header's maximal timestamp is not that of the records.
    #[error("batch states max timestamp {stated}, the latest of its records is {actual}")]
    MaxTimestampMismatch {
        /// The max timestamp field.
        stated: i64,
        /// The latest timestamp of the records.
        actual: i64,
    },
    /// A producer may not write control batches.
    #[error("control batches are written by the cluster only")]
    ControlFromProducer,
    /// A producer may not claim the log's time.
    #[error("timestamp type LogAppendTime is set by the log only")]
    LogAppendTimeFromProducer,
    /// A record, or a part of it, reaches beyond what contains it.
    #[error("record {index}: {needed} bytes are needed where {remaining} remain")]
    RecordTruncated {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// Bytes that the part claims.
        needed: usize,
        /// Bytes that remain of the record or the batch.
        remaining: usize,
    },
    /// There is no more data, but there should be more records.
    #[error("the data ends at or within record {index}; the batch states {count} records")]
    RecordsEndEarly {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// The record count field.
        count: i32,
    },
    /// A record's stated length is longer than its contents.
    #[error("record {index}: {extra} bytes are left over at its end")]
    RecordLeftover {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// Bytes that nothing explains.
        extra: usize,
    },
    /// A variable-length integer with more bits than its type.
    #[error("record {index}: a variable-length integer does not end within {bytes_max} bytes")]
    VarintOverflow {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// Most bytes that the integer may take.
        bytes_max: usize,
    },
    /// A negative length where none is possible, or one below −1 (null).
    #[error("record {index}: length {length} is not possible")]
    NegativeLength {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// The length as found.
        length: i32,
    },
    /// The records of a batch count 0, 1, 2, … from its base offset.
    #[error("record {index} states offset delta {offset_delta}; {index} was expected")]
    RecordOffsetDelta {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// The delta as found.
        offset_delta: i32,
    },
    /// More headers than allowed, or than the record's bytes can hold.
    #[error("record {index}: {count} headers; at most {max} are possible")]
    HeaderCount {
        /// Number of the record within the batch, from 0.
        index: usize,
        /// The number of headers as found.
        count: i64,
        /// Most that are possible.
        max: usize,
    },
    /// Bytes after the last record.
    #[error("bytes are left over after all {count} records of the batch")]
    BytesAfterRecords {
        /// The record count field.
        count: usize,
    },
    /// The compressed bytes are damaged.
    #[error("{compression} data is damaged: {detail}")]
    Decompress {
        /// The codec.
        compression: Compression,
        /// What the codec says.
        detail: String,
    },
    /// The records decompress to more than allowed.
    #[error("{compression} data of {compressed_bytes} bytes decompresses to more than {max} bytes")]
    DecompressedTooLarge {
        /// The codec.
        compression: Compression,
        /// Bytes before decompression.
        compressed_bytes: usize,
        /// Most that is allowed after it.
        max: usize,
    },
    /// The codec refused to compress.
    #[error("{compression} compression failed: {detail}")]
    Compress {
        /// The codec.
        compression: Compression,
        /// What the codec says.
        detail: String,
    },
    /// A batch to be built has no records.
    #[error("a batch needs at least one record")]
    EmptyBatch,
    /// A batch to be built has its most records already.
    #[error("a batch holds at most {max} records")]
    TooManyRecords {
        /// Most records of a batch.
        max: usize,
    },
    /// A batch to be built would exceed the limit.
    #[error("the batch would have {bytes} bytes; at most {max} are possible")]
    BatchTooLarge {
        /// Bytes it would have.
        bytes: usize,
        /// Most it may have.
        max: usize,
    },
}

impl RecordsError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownCompression { .. } => ErrorCode::UnsupportedCompressionType,
            Self::TimestampOutOfRange { .. }
            | Self::TimestampDelta { .. }
            | Self::LogAppendTimeFromProducer => ErrorCode::InvalidTimestamp,
            Self::TooManyRecords { .. } | Self::BatchTooLarge { .. } | Self::DecompressedTooLarge { .. } => {
                ErrorCode::MessageTooLarge
            }
            Self::UnsupportedMagic { .. }
            | Self::CountOutOfRange { .. }
            | Self::OffsetDeltaMismatch { .. }
            | Self::ReservedAttributes { .. }
            | Self::ProducerFields { .. }
            | Self::MaxTimestampMismatch { .. }
            | Self::ControlFromProducer
            | Self::RecordOffsetDelta { .. }
            | Self::HeaderCount { .. }
            | Self::Compress { .. }
            | Self::EmptyBatch => ErrorCode::InvalidRecord,
            Self::HeaderTruncated { .. }
            | Self::BatchTruncated { .. }
            | Self::BytesAfterBatch { .. }
            | Self::LengthOutOfRange { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::ChecksumMismatch { .. }
            | Self::RecordTruncated { .. }
            | Self::RecordsEndEarly { .. }
            | Self::RecordLeftover { .. }
            | Self::VarintOverflow { .. }
            | Self::NegativeLength { .. }
            | Self::BytesAfterRecords { .. }
            | Self::Decompress { .. } => ErrorCode::CorruptMessage,
        }
    }
}
