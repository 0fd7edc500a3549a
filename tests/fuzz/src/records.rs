//! Targets of `highwater-records`: batches and what is compressed in them.

use bytes::Bytes;
use highwater_records::{
    Attributes, Batch, BatchHeader, Compression, RecordsError, StampedBatch, field, split_batches,
};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Small, so that the fuzzer meets the limit often and each run is quick.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 10;

/// Headers, the checks on a whole batch, and several batches in a row.
pub fn batch_parse(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let header = BatchHeader::parse(data);
    if let Ok(header) = header {
        assert_eq!(BatchHeader::peek_size(data), Ok(header.size_in_bytes));
        assert_eq!(header.to_bytes(), data[..BatchHeader::LEN], "a header is all there is in its bytes");
        assert!(header.next_offset() > header.last_offset());
    }
    let mut split_bytes = 0;
    for batch in split_batches(bytes.clone()) {
        let Ok(batch) = batch else { break };
        assert_eq!(batch.bytes()[..], data[split_bytes..][..batch.size_in_bytes()]);
        split_bytes += batch.size_in_bytes();
        let _ = batch.verify_from_producer();
        let stamped = batch.clone().stamp(Offset(7), LeaderEpoch(3));
        assert_eq!(stamped.to_batch().verify(), batch.verify(), "stamps are outside the checksum");
        let (head, body) = stamped.parts();
        assert_eq!(StampedBatch::from_parts(*head, body.clone()).as_ref(), Ok(&stamped));
    }
    if let Ok(batch) = Batch::parse(bytes) {
        assert_eq!(split_bytes, data.len());
        assert_eq!(Ok(*batch.header()), header);
    }
}

/// The records of a batch, whatever its checksum says.
pub fn batch_records(data: &[u8]) {
    for batch in split_batches(Bytes::copy_from_slice(data)) {
        let Ok(batch) = batch else { break };
        readers_agree(&batch);
    }
}

/// The first byte chooses the codec, the second the number of records; the rest is the
/// payload of a batch whose header is as it should be.
pub fn decompress(data: &[u8]) {
    let [codec, count, payload @ ..] = data else {
        return;
    };
    let compression = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    let header = BatchHeader {
        base_offset: Offset::ZERO,
        size_in_bytes: BatchHeader::LEN + payload.len(),
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: Attributes::new(compression, false),
        base_timestamp: TimestampMs(0),
        max_timestamp: TimestampMs(0),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence::NONE,
        record_count: i32::from(*count),
    };
    if let Ok(batch) = Batch::parse(Bytes::from([&header.to_bytes()[..], payload].concat())) {
        readers_agree(&batch);
    }
}

/// The walk that keeps nothing and the iterator must come to the same conclusion; only the
/// walk compares the latest timestamp.
fn readers_agree(batch: &Batch) {
    let walked = batch.verify_records_within(DECOMPRESSED_BYTES_MAX);
    let mut records = Vec::new();
    let mut failed = None;
    for record in batch.records_within(DECOMPRESSED_BYTES_MAX) {
        match record {
            Ok(record) => records.push(record),
            Err(error) => failed = Some(error),
        }
    }
    match (&walked, &failed) {
        (Ok(()) | Err(RecordsError::MaxTimestampMismatch { .. }), None) => {
            assert_eq!(i32::try_from(records.len()), Ok(batch.record_count()));
        }
        (Err(_), Some(_)) => {}
        _ => panic!("the walk says {walked:?}, the iterator {failed:?}"),
    }
}

/// Batches of every codec by Kafka's client; the bulky ones would only slow the search down.
pub fn batch_seeds() -> Vec<Vec<u8>> {
    const SEED_BYTES_MAX: usize = 4000;
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/records/tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(golden)
        .expect("the golden batches are part of the checkout")
        .map(|entry| entry.expect("the directory is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("a golden batch is readable");
    paths.into_iter().map(read).filter(|batch| batch.len() <= SEED_BYTES_MAX).collect()
}

/// The payloads of [`batch_seeds`] in the form that [`decompress`] takes.
pub fn decompress_seeds() -> Vec<Vec<u8>> {
    let batches = batch_seeds().into_iter().filter_map(|bytes| Batch::parse(Bytes::from(bytes)).ok());
    batches
        .map(|batch| {
            let count = u8::try_from(batch.record_count()).unwrap_or(u8::MAX);
            [&[batch.compression() as u8, count], &batch.bytes()[field::RECORDS..]].concat()
        })
        .collect()
}
