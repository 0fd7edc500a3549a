//! Every byte flipped and every length cut, of every file: found, or harmless. Never wrong data.

use std::path::Path;

use highwater_records::{Batch, split_batches};
use highwater_storage::disk::SimDisk;
use highwater_storage::segment::{
    Damage, SegmentBatches, SegmentError, SegmentManifest, SegmentedLog, verify_partition,
};
use highwater_types::{Offset, TimestampMs};

use crate::support::{Bed, DIR, Model, Rng, assert_same, checkpoint, concat, fill};

fn sealed_and_active() -> (Bed, SimDisk, Model, SegmentManifest) {
    let mut bed = Bed::sim(1);
    bed.options.segment_bytes = 600;
    bed.options.index_interval_bytes = 100;
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(12), 14);
    assert!(log.segments().len() >= 2);
    let manifest = checkpoint(&log);
    let sim = bed.sim.clone().expect("a simulated disk");
    (bed, sim, model, manifest)
}

/// Whether everything that can be asked of the log is right or refused as damage. Returns whether anything was refused.
fn right_or_refused(log: &SegmentedLog, model: &Model) -> bool {
    let mut refused = false;
    let mut damage = |error: SegmentError| {
        assert!(error.is_damage(), "{error}");
        refused = true;
    };
    let end = model.next_offset;
    for batch in &model.batches {
        let from = batch.batch.last_offset();
        match log.read(from, end, 250) {
            Ok(read) => {
                let (read, due) = (concat(&read.slices), concat(&model.read(from, end, 250)));
                // What is known to be damaged is not given out, but what is whole before it is.
                if !due.starts_with(&read) || read.is_empty() {
                    assert_damage_shows(&read, &due);
                }
            }
            Err(error) => damage(error),
        }
        match log.batch_at_index(batch.index) {
            Ok(found) => {
                let (found, term) = found.expect("a batch");
                assert_eq!((found.to_bytes(), term), (batch.bytes(), batch.term));
            }
            Err(error) => damage(error),
        }
    }
    for time in (0..1000).step_by(83) {
        match log.offset_for_time(TimestampMs(time), Offset(0), end) {
            Ok(found) => assert_eq!(found, model.offset_for_time(time, Offset(0), end)),
            Err(error) => damage(error),
        }
    }
    refused
}

/// Bytes that differ from those written have the right places and lengths, and a checksum that is wrong.
fn assert_damage_shows(read: &bytes::Bytes, due: &bytes::Bytes) {
    assert_eq!(read.len(), due.len());
    let read: Vec<Batch> = split_batches(read.clone()).map(|batch| batch.expect("a frame")).collect();
    let due: Vec<Batch> = split_batches(due.clone()).map(|batch| batch.expect("a frame")).collect();
    assert_eq!(read.len(), due.len());
    for (read, due) in read.iter().zip(&due) {
        assert_eq!(read.base_offset(), due.base_offset());
        assert_eq!(read.next_offset(), due.next_offset());
        assert_eq!(read.partition_leader_epoch(), due.partition_leader_epoch());
        assert!(read == due || read.verify().is_err(), "a damaged batch passes its checksum");
    }
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let (bed, sim, model, manifest) = sealed_and_active();
    for file in bed.files() {
        let length = sim.read_cached(&file).expect("a file").len() as u64;
        for position in 0..length {
            let bit = (position % 8) as u8;
            sim.flip_bit(&file, position, bit).expect("a flip");
            let findings = verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest));
            assert!(!findings.is_empty(), "{} byte {position}", file.display());
            assert!(findings.iter().all(|finding| finding.file == file), "{findings:?}");
            let log = bed.open(&manifest).expect("an open");
            let refused = right_or_refused(&log, &model);
            let is_index = !file.to_string_lossy().ends_with(".log");
            assert!(!(refused && is_index), "a damaged index refuses nothing: {}", file.display());
            sim.flip_bit(&file, position, bit).expect("a flip back");
        }
    }
    assert_same(&bed.open(&manifest).expect("an open"), &model);
}

#[test]
fn every_cut_length_is_found_or_harmless() {
    let (bed, sim, model, manifest) = sealed_and_active();
    for file in bed.files() {
        let whole = sim.read_cached(&file).expect("a file");
        for length in 0..whole.len() {
            sim.truncate(&file, length as u64).expect("a cut");
            let findings = verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest));
            let opened = bed.open(&manifest);
            if file.to_string_lossy().ends_with(".log") {
                assert!(!findings.is_empty(), "{} cut to {length}", file.display());
                match opened {
                    Err(SegmentError::Corrupt { file: named, damage, .. }) => {
                        assert_eq!(named, file);
                        assert!(matches!(damage, Damage::TooShort { .. }), "{damage}");
                    }
                    other => panic!("{:?}", other.err()),
                }
            } else {
                assert_eq!(findings.len(), 1, "{findings:?}");
                assert_eq!(findings[0].damage, Damage::Index);
                let log = opened.expect("an open");
                assert!(!right_or_refused(&log, &model));
                // The next checkpoint completes it.
                checkpoint(&log);
                assert_eq!(sim.read_cached(&file).expect("a file"), whole, "cut to {length}");
            }
            sim.overwrite(&file, 0, &whole).expect("the file as it was");
        }
    }
}

#[test]
fn a_missing_log_file_is_named_and_a_missing_index_is_made_again() {
    let (bed, _, model, manifest) = sealed_and_active();
    for file in bed.files() {
        let aside = Path::new("aside");
        bed.disk.rename(&file, aside).expect("a rename");
        if file.to_string_lossy().ends_with(".log") {
            match bed.open(&manifest) {
                Err(SegmentError::Corrupt { file: named, damage: Damage::Missing, .. }) => {
                    assert_eq!(named, file)
                }
                other => panic!("{:?}", other.err()),
            }
            let findings = verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest));
            assert_eq!(findings.len(), 1, "{findings:?}");
        } else {
            let log = bed.open(&manifest).expect("an open");
            assert!(!right_or_refused(&log, &model));
            checkpoint(&log);
            assert!(bed.disk.exists(&file).expect("a lookup"));
        }
        bed.disk.rename(aside, &file).expect("the file as it was");
    }
}

#[test]
fn the_index_of_another_segment_is_not_believed() {
    let (bed, sim, model, manifest) = sealed_and_active();
    let indexes: Vec<_> = bed.files();
    let of =
        |end: &str| -> Vec<_> { indexes.iter().filter(|file| file.to_string_lossy().ends_with(end)).collect() };
    for (from, to) in [(0, 1), (1, 0)] {
        for end in [".index", ".timeindex"] {
            let (from, to) = (of(end)[from], of(end)[to]);
            let bytes = sim.read_cached(from).expect("a file");
            sim.truncate(to, 0).expect("a cut");
            sim.overwrite(to, 0, &bytes).expect("another's bytes");
        }
        let log = bed.open(&manifest).expect("an open");
        assert!(!right_or_refused(&log, &model));
        assert_same(&log, &model);
    }
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let (bed, _, _, manifest) = sealed_and_active();
    let broken: [fn(&mut SegmentManifest); 8] = [
        |m| m.next_offset += 1,
        |m| m.segments[0].next_offset += 1,
        |m| m.segments[0].size = 0,
        |m| m.segments[0].sealed = false,
        |m| m.runs[0].batches = 0,
        |m| m.runs[0].position = 7,
        |m| m.last_index = Some(0),
        |m| m.runs.truncate(1),
    ];
    for (number, breaks) in broken.into_iter().enumerate() {
        let mut manifest = manifest.clone();
        breaks(&mut manifest);
        let error = bed.open(&manifest).err().unwrap_or_else(|| panic!("contradiction {number} was accepted"));
        assert!(error.is_damage(), "{error}");
        assert!(!verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest)).is_empty());
    }
}

#[test]
fn batches_are_listed_one_by_one_up_to_the_damage() {
    let (bed, sim, model, _) = sealed_and_active();
    let file = bed.files().into_iter().find(|file| file.to_string_lossy().ends_with(".log")).expect("a log");
    let list = |bed: &Bed| SegmentBatches::open(&bed.disk, &file, None).expect("a file").collect::<Vec<_>>();
    let whole = list(&bed);
    for (batch, due) in whole.iter().zip(&model.batches) {
        let batch = batch.as_ref().expect("a batch");
        assert_eq!(batch.base_offset, due.batch.base_offset());
        assert_eq!(batch.size_in_bytes, due.batch.size_in_bytes());
        assert!(batch.checksum_is_right);
    }
    let second = model.batches[0].batch.size_in_bytes() as u64;
    sim.flip_bit(&file, second + 40, 3).expect("a flip in a body");
    let bodies = list(&bed);
    assert_eq!(bodies.len(), whole.len());
    assert!(!bodies[1].as_ref().expect("a frame").checksum_is_right);
    sim.flip_bit(&file, second + 3, 3).expect("a flip in a frame");
    let frames = list(&bed);
    assert_eq!(frames.len(), 2);
    let finding = frames[1].as_ref().expect_err("a finding");
    assert_eq!(finding.position.0, second);
}
