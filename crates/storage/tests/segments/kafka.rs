//! Kafka's own tool reads our sealed segments.
//!
//! Needs java and Kafka's jars in `HIGHWATER_KAFKA_LIB` or `target/kafka-lib`; skipped with the reason when they
//! are missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use highwater_types::Offset;

use crate::support::{Bed, Model, Rng, fill};

#[test]
fn kafka_dump_log_reads_sealed_segments_record_by_record() {
    let lib = match kafka_lib() {
        Ok(lib) => lib,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let mut bed = Bed::real();
    bed.options.segment_bytes = 4000;
    let (log, mut model) = (bed.create(Offset(100)), Model::new(Offset(100)));
    fill(&log, &mut model, &mut Rng::new(3), 60);
    log.seal_active().expect("a seal");
    let files = bed.files();
    let logs: Vec<String> =
        files.iter().map(|file| bed.absolute(file)).filter(|file| file.ends_with(".log")).collect();
    assert!(logs.len() > 1);
    let output = Command::new("java")
        .arg("-cp")
        .arg(lib.join("*"))
        .args(["kafka.tools.DumpLogSegments", "--deep-iteration", "--files", &logs.join(",")])
        .output()
        .expect("java runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let valid = text.matches("isvalid: true").count();
    assert_eq!(valid, model.batches.len(), "{text}");
    let records = text.lines().filter(|line| line.starts_with("| offset: ")).count();
    assert_eq!(records as i64, model.next_offset.0 - 100, "{text}");
    for complaint in ["isvalid: false", "Found", "Mismatches", "Non-"] {
        assert!(!text.contains(complaint), "{text}");
    }
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
    if lib.is_dir() { Ok(lib) } else { Err(format!("no Kafka jars in {}", lib.display())) }
}
