//! The checks beyond a batch's frame. They only read, and keep nothing.

use std::io::BufReader;

use bytes::Bytes;
use highwater_types::{TimestampMs, TimestampType};

use crate::attributes::Compression;
use crate::compression::{Decompressor, READ_BYTES};
use crate::decode;
use crate::error::RecordsError;
use crate::header::BatchHeader;
use crate::input::{self, CheckInput, RecordInput};

/// The checksum first: of a damaged batch no other field is worth a word.
/// `covered` is what the checksum covers: the batch from its attributes on.
pub(crate) fn batch(header: &BatchHeader, covered: &[u8]) -> Result<(), RecordsError> {
    let computed = crc32c::crc32c(covered);
    if computed != header.crc {
        return Err(RecordsError::ChecksumMismatch { stated: header.crc, computed });
    }
    for timestamp in [header.base_timestamp, header.max_timestamp] {
        if timestamp < TimestampMs::NONE {
            return Err(RecordsError::TimestampOutOfRange { timestamp: timestamp.0 });
        }
    }
    producer_fields(header)
}

/// Without a producer id the other two fields mean nothing, and clients differ in what they
/// write there. With one they must be there too; only the cluster's markers have no sequence.
pub(crate) fn producer_fields(header: &BatchHeader) -> Result<(), RecordsError> {
    let transactional = header.attributes.is_transactional();
    let consistent = match header.producer_id.0 {
        -1 => !transactional,
        0.. => {
            let sequenced = header.base_sequence.0 >= 0 || header.attributes.is_control();
            header.producer_epoch.0 >= 0 && sequenced
        }
        _ => false,
    };
    if consistent {
        return Ok(());
    }
    Err(RecordsError::ProducerFields {
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        base_sequence: header.base_sequence.0,
        transactional,
    })
}

pub(crate) fn allowed_from_producer(header: &BatchHeader) -> Result<(), RecordsError> {
    if header.attributes.is_control() {
        return Err(RecordsError::ControlFromProducer);
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(RecordsError::LogAppendTimeFromProducer);
    }
    Ok(())
}

pub(crate) fn records(header: &BatchHeader, payload: &Bytes, bytes_max: usize) -> Result<(), RecordsError> {
    let compression = header.compression();
    if compression == Compression::None {
        return walk(header, &mut CheckInput::new(&payload[..], compression, payload.len()));
    }
    let stream = Decompressor::new(compression, payload.clone(), bytes_max)?;
    let buffered = BufReader::with_capacity(READ_BYTES, stream);
    walk(header, &mut CheckInput::new(buffered, compression, input::UNKNOWN))
}

fn walk(header: &BatchHeader, input: &mut impl RecordInput) -> Result<(), RecordsError> {
    let count = usize::try_from(header.record_count).expect("a parsed header has a positive count");
    let mut latest = TimestampMs::NONE;
    for index in 0..count {
        latest = latest.max(decode::record(header, index, input)?.timestamp);
    }
    if !input.at_end()? {
        return Err(RecordsError::BytesAfterRecords { count });
    }
    if latest != header.max_timestamp {
        return Err(RecordsError::MaxTimestampMismatch { stated: header.max_timestamp.0, actual: latest.0 });
    }
    Ok(())
}
