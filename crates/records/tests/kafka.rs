//! Kafka's Java client and this crate agree on every batch, in both directions.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bytes::Bytes;
use highwater_records::{Batch, BatchBuilder, Compression, Header, split_batches};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use support::{describe, golden_dir, golden_files, sample};

#[test]
fn batches_of_kafka_decode_to_the_records_that_kafka_decodes() {
    for (name, bytes) in golden_files() {
        let mut ours = String::new();
        for batch in split_batches(bytes) {
            let batch = batch.unwrap();
            batch.verify().unwrap();
            batch.verify_records().unwrap();
            ours.push_str(&describe(&batch));
        }
        let kafkas = fs::read_to_string(golden_dir().join(&name).with_extension("txt")).unwrap();
        assert_eq!(ours, kafkas, "golden file {name}");
    }
}

#[test]
fn uncompressed_batches_are_built_to_the_very_bytes_that_kafka_builds() {
    let mut built = 0;
    for (name, bytes) in golden_files() {
        let Ok(kafkas) = Batch::parse(bytes) else {
            continue; // More than one batch.
        };
        if kafkas.compression() != Compression::None || kafkas.is_control() {
            continue;
        }
        let mut builder = BatchBuilder::new()
            .producer(kafkas.producer_id(), kafkas.producer_epoch(), kafkas.base_sequence())
            .transactional(kafkas.is_transactional());
        let times =
            if name == "none-log-append-time" { [1_700_000_000_000, 1_700_000_000_009] } else { [0; 2] };
        for (index, record) in kafkas.records().enumerate() {
            let record = record.unwrap();
            // The log's time hides the records' own: these are the ones that Golden.java wrote.
            let timestamp = if times[0] > 0 { TimestampMs(times[index]) } else { record.timestamp };
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.append(key, value, &record.headers, timestamp).unwrap();
        }
        let mut ours = builder.build().unwrap();
        if times[0] > 0 {
            ours = ours.with_log_append_time(kafkas.max_timestamp());
        }
        let ours = ours.stamp(kafkas.base_offset(), kafkas.partition_leader_epoch());
        assert_eq!(ours.to_bytes(), kafkas.bytes(), "golden file {name}");
        built += 1;
    }
    assert!(built >= 5, "{built} golden files were compared");
}

#[test]
fn kafka_reads_our_batches_of_every_codec() {
    let lib = match kafka_lib() {
        Ok(lib) => lib,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("batches-for-kafka");
    fs::create_dir_all(&dir).unwrap();
    let mut java = Command::new("java");
    java.arg("-cp").arg(lib.join("*")).arg(golden_dir().join("Golden.java")).arg("describe");
    let mut expected = String::new();
    for (name, batches) in ours() {
        let path = dir.join(&name);
        let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
        fs::write(&path, bytes).unwrap();
        java.arg(&path);
        expected.push_str(&format!("file {name}\n"));
        batches.iter().for_each(|batch| expected.push_str(&describe(batch)));
    }
    let output = java.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Kafka refuses a batch: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

/// Where Kafka's jars are, or why this cannot run.
fn kafka_lib() -> Result<PathBuf, String> {
    if Command::new("java").arg("-version").output().is_err() {
        return Err("java is not installed".to_owned());
    }
    let lib = match env::var_os("HIGHWATER_KAFKA_LIB") {
        Some(lib) => PathBuf::from(lib),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/kafka-lib"),
    };
    if lib.is_dir() {
        return Ok(lib);
    }
    Err(format!("no Kafka jars in {}: tests/kafka/fetch-jars.sh fetches them", lib.display()))
}

fn ours() -> Vec<(String, Vec<Batch>)> {
    let mut all = Vec::new();
    for compression in Compression::ALL {
        all.push((format!("sample-{compression}"), vec![sample(compression)]));
        all.push((format!("large-{compression}"), vec![large(compression)]));
        let stamped = producer(compression).stamp(Offset(1 << 40), LeaderEpoch(12));
        let log_time = sample(compression).with_log_append_time(TimestampMs(1_800_000_000_000));
        all.push((format!("two-{compression}"), vec![stamped.to_batch(), log_time]));
    }
    all
}

/// Several blocks of every codec, compressible and not.
fn large(compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new().compression(compression);
    let mut noise = Vec::new();
    let mut state = 1_u32;
    while noise.len() < 200_000 {
        state = crc32c::crc32c(&state.to_le_bytes());
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let text = "All work and no play. ".repeat(20_000);
    for (index, value) in [&noise[..], text.as_bytes(), &noise[1..], b""].into_iter().enumerate() {
        let time = TimestampMs(i64::try_from(index).unwrap());
        builder.append(None, Some(value), &[], time).unwrap();
    }
    for index in 0..20_000_i64 {
        let header = Header::new("n", Some(Bytes::from(index.to_string())));
        builder.append(Some(b"k"), Some(b"many small ones"), &[header], TimestampMs(index)).unwrap();
    }
    builder.build().unwrap()
}

fn producer(compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new()
        .compression(compression)
        .producer(ProducerId(i64::MAX), ProducerEpoch(i16::MAX), Sequence(i32::MAX))
        .transactional(true);
    builder.append(Some(b"k"), Some(b"v"), &[], TimestampMs::NONE).unwrap();
    builder.append(Some(b"k"), Some(b"v"), &[], TimestampMs(1)).unwrap();
    builder.build().unwrap()
}
