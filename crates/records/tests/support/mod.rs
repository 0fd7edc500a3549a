//! What the tests of this crate share: seeds that are printed and can be given back, the
//! description of batches that `golden/Golden.java` prints too, and resealing of batches
//! that a test damaged below their checksum.
#![allow(dead_code)] // Every test binary uses its own part.

use std::env;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use highwater_records::{Batch, BatchBuilder, Compression, Header, Record, RecordsError, field};
use highwater_types::{TimestampMs, TimestampType};
use proptest::test_runner::{Config, RngSeed};

/// A test configuration whose seed is printed when the test fails, and that
/// `HIGHWATER_SEED` replays.
pub(crate) fn seeded(cases: u32) -> Config {
    let seed = match env::var("HIGHWATER_SEED") {
        Ok(seed) => seed.parse().expect("HIGHWATER_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64),
    };
    println!("replay with HIGHWATER_SEED={seed}");
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}

pub(crate) fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Names and bytes of the golden files, in order.
pub(crate) fn golden_files() -> Vec<(String, Bytes)> {
    let mut files: Vec<_> = std::fs::read_dir(golden_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, Bytes::from(std::fs::read(path).unwrap()))
        })
        .collect();
    files.sort();
    assert!(files.len() >= 20, "the golden files are where they should be");
    files
}

/// A batch of a bit of everything.
pub(crate) fn sample(compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new().compression(compression);
    let headers = [Header::new("trace", Some(Bytes::from_static(b"abc"))), Header::new("trace", None)];
    let at = |ms: i64| TimestampMs(1_700_000_000_000 + ms);
    builder.append(Some(b"key"), Some(b"value"), &headers, at(0)).unwrap();
    builder.append(None, Some(b"no key, earlier"), &[], at(-5000)).unwrap();
    builder.append(Some(b"no value"), None, &[], at(7)).unwrap();
    builder.append(Some(b""), Some(&[b'x'; 300]), &[], at(3)).unwrap();
    builder.build().unwrap()
}

/// Everything a broker checks before it trusts a batch, and then the records.
pub(crate) fn read_fully(bytes: Bytes) -> Result<Vec<Record>, RecordsError> {
    let batch = Batch::parse(bytes)?;
    batch.verify()?;
    batch.verify_records()?;
    batch.records().collect()
}

/// Makes the checksum right again, so that what is below it gets tested.
pub(crate) fn reseal(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&bytes[field::ATTRIBUTES..]);
    bytes[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

/// The lines that `Golden.java` prints for the same batch.
pub(crate) fn describe(batch: &Batch) -> String {
    let timestamp_type = match batch.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    let mut out = format!(
        "batch base_offset={} last_offset={} leader_epoch={} codec={} timestamp_type={timestamp_type} \
         max_timestamp={} producer_id={} producer_epoch={} base_sequence={} transactional={} control={} count={}\n",
        batch.base_offset(),
        batch.last_offset(),
        batch.partition_leader_epoch(),
        batch.compression(),
        batch.max_timestamp(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.base_sequence(),
        batch.is_transactional(),
        batch.is_control(),
        batch.record_count(),
    );
    for record in batch.records() {
        let record = record.unwrap();
        let (key, value) = (show(record.key.as_ref()), show(record.value.as_ref()));
        let (offset, timestamp) = (record.offset, record.timestamp);
        write!(out, "record offset={offset} timestamp={timestamp} key={key} value={value}").unwrap();
        for header in &record.headers {
            write!(out, " header={}:{}", show(Some(&header.key)), show(header.value.as_ref())).unwrap();
        }
        out.push('\n');
    }
    out
}

fn show(bytes: Option<&Bytes>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    if bytes.len() > 64 {
        return format!("crc32c({},{:08x})", bytes.len(), crc32c::crc32c(bytes));
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hex({hex})")
}
