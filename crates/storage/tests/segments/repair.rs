//! Damaged segments: found by a scrub, never given out as they are, and made whole again from another replica's batches.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::segment::{
    Adopted, Damage, IndexedBatch, MapBudget, RepairStep, SegmentManifest, SegmentRepair, SegmentedLog,
};
use highwater_types::{Offset, RaftIndex, TimestampMs};

use crate::support::{Bed, DIR, Model, Rng, append, assert_same, checkpoint, concat, fill};

/// Bytes that a repair or a scrub handles at a time.
const STEP_BYTES: u64 = 100;

fn filled(bed: &Bed) -> (Arc<SegmentedLog>, Model, SegmentManifest) {
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(12), 14);
    assert!(log.segments().len() >= 2);
    let manifest = checkpoint(&log);
    (Arc::new(log), model, manifest)
}

fn open(bed: &Bed, manifest: &SegmentManifest) -> Arc<SegmentedLog> {
    let maps = MapBudget::new(2);
    let opened = SegmentedLog::open_marking(Arc::clone(&bed.disk), DIR.into(), bed.options, maps, manifest);
    Arc::new(opened.expect("an open"))
}

/// Looks at everything once; says how many segments were found damaged.
fn scrub(log: &Arc<SegmentedLog>) -> usize {
    let mut from = Offset(0);
    let mut found = 0;
    while let Some(mut scrub) = log.scrub(from) {
        loop {
            let step = scrub.step(STEP_BYTES).expect("a step");
            found += usize::from(step.is_damaged);
            if step.is_done {
                break;
            }
        }
        from = scrub.next();
    }
    found
}

/// Another replica: its segments begin and end elsewhere, its batches are the same.
fn other_replica(model: &Model) -> SegmentedLog {
    let mut bed = Bed::sim(2);
    bed.options.segment_bytes = 300;
    let log = bed.create(Offset(0));
    for batch in &model.batches {
        append(&log, batch).expect("an append");
    }
    log
}

fn fetch(from: &SegmentedLog, wanted: Range<RaftIndex>, bytes_max: usize) -> Vec<IndexedBatch> {
    from.batches_at_indexes(wanted.start, wanted.end, bytes_max).expect("whole")
}

fn supply(repair: &mut SegmentRepair, other: &SegmentedLog) {
    loop {
        match repair.copy(STEP_BYTES).expect("copied") {
            RepairStep::Copied(_) => {}
            RepairStep::Whole => return,
            RepairStep::Wanted { from, below } => {
                let taken = repair.supply(&fetch(other, from..below, 200)).expect("supplied");
                assert!(taken > 0, "the batch of entry {from} was not taken");
            }
        }
    }
}

fn repair_all(log: &Arc<SegmentedLog>, other: &SegmentedLog) {
    for damaged in log.damaged() {
        let mut repair = log.repair(damaged.base).expect("begun").expect("damaged");
        supply(&mut repair, other);
        assert!(matches!(log.adopt(repair).expect("adopted"), Adopted::Whole { .. }));
    }
    assert!(!log.is_damaged());
}

fn log_files(bed: &Bed) -> Vec<PathBuf> {
    bed.files().into_iter().filter(|file| file.to_string_lossy().ends_with(".log")).collect()
}

/// Reads go on before the damage, and never give out what is damaged.
fn assert_right_or_refused(log: &SegmentedLog, model: &Model) {
    let end = model.next_offset;
    for batch in &model.batches {
        for bytes_max in [0, 400] {
            match log.read(batch.batch.base_offset(), end, bytes_max) {
                Ok(read) => {
                    let due = concat(&model.read(batch.batch.base_offset(), end, usize::MAX));
                    let read = concat(&read.slices);
                    assert!(!read.is_empty() && due.starts_with(&read), "wrong bytes");
                }
                Err(error) => assert!(error.is_damage(), "{error}"),
            }
        }
        match log.offset_for_time(TimestampMs(0), batch.batch.base_offset(), end) {
            Ok(found) => assert_eq!(found, model.offset_for_time(0, batch.batch.base_offset(), end)),
            Err(error) => assert!(error.is_damage(), "{error}"),
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found_by_a_scrub_and_replaced_by_the_same_byte() {
    let bed = Bed::sim(1);
    let (log, model, manifest) = filled(&bed);
    let other = other_replica(&model);
    let sim = bed.sim.clone().expect("simulated");
    drop(log);
    for file in log_files(&bed) {
        let whole = sim.read_cached(&file).expect("a file");
        for position in (0..whole.len() as u64).step_by(5) {
            let log = open(&bed, &manifest);
            assert_eq!(scrub(&log), 0);
            sim.flip_bit(&file, position, (position % 8) as u8).expect("a flip");
            assert_eq!(scrub(&log), 1, "{} byte {position}", file.display());
            assert_right_or_refused(&log, &model);
            repair_all(&log, &other);
            assert_eq!(sim.read_cached(&file).expect("a file"), whole, "{} byte {position}", file.display());
            assert_eq!(scrub(&log), 0);
        }
        let log = open(&bed, &manifest);
        assert_same(&log, &model);
    }
}

#[test]
fn a_file_that_is_missing_or_cut_is_made_again_and_the_log_goes_on_meanwhile() {
    let bed = Bed::sim(3);
    let (log, model, manifest) = filled(&bed);
    let other = other_replica(&model);
    let sim = bed.sim.clone().expect("simulated");
    drop(log);
    for file in log_files(&bed) {
        // An open cuts what an earlier round appended.
        drop(open(&bed, &manifest));
        let whole = sim.read_cached(&file).expect("a file");
        for cut in [None, Some(0), Some(whole.len() as u64 / 2), Some(whole.len() as u64 - 1)] {
            match cut {
                None => bed.disk.remove_file(&file).expect("removed"),
                Some(length) => sim.truncate(&file, length).expect("cut"),
            }
            let (log, mut model) = (open(&bed, &manifest), model.clone());
            let damaged = log.damaged();
            assert_eq!(damaged.len(), 1);
            assert_eq!(damaged[0].file, file);
            assert_right_or_refused(&log, &model);
            // The damage is behind what comes.
            let appended = model.make(&[5], 10, highwater_records::Compression::None);
            append(&log, &appended).expect("an append");
            repair_all(&log, &other);
            assert_same(&log, &model);
            assert_eq!(sim.read_cached(&file).expect("a file"), whole);
            checkpoint(&log);
        }
    }
}

#[test]
fn batches_are_appended_whatever_is_damaged_of_those_before_them_and_though_the_index_is_to_be_made_of_these() {
    let mut bed = Bed::sim(7);
    bed.options.segment_bytes = 1500;
    bed.options.index_interval_bytes = 100;
    let (log, model, manifest) = filled(&bed);
    let other = other_replica(&model);
    let sim = bed.sim.clone().expect("simulated");
    drop(log);
    let (indexes, logs): (Vec<PathBuf>, Vec<PathBuf>) =
        bed.files().into_iter().partition(|file| !file.to_string_lossy().ends_with(".log"));
    let active = logs.last().expect("an active segment");
    for position in (0..sim.read_cached(active).expect("a file").len() as u64).step_by(3) {
        // As after a power cut: the indexes are never waited for.
        for index in &indexes {
            let _ = bed.disk.remove_file(index);
        }
        let log = open(&bed, &manifest);
        sim.flip_bit(active, position, (position % 8) as u8).expect("a flip");
        let mut model = model.clone();
        for time in 0..3 {
            let appended = model.make(&[5, 6], 10 + time, highwater_records::Compression::None);
            append(&log, &appended).expect("an append");
            let read = log.read(appended.batch.base_offset(), model.next_offset, usize::MAX).expect("whole");
            assert_eq!(concat(&read.slices), appended.bytes(), "position {position}");
        }
        assert_right_or_refused(&log, &model);
        scrub(&log);
        repair_all(&log, &other);
        assert_same(&log, &model);
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_damage_and_never_a_signal() {
    let bed = Bed::sim(4);
    let (log, model, _) = filled(&bed);
    let sim = bed.sim.clone().expect("simulated");
    let file = log_files(&bed).remove(0);
    let whole = sim.read_cached(&file).expect("a file");
    let middle = whole.len() as u64 / 2;
    sim.fail_read(&file, middle..middle + 1);
    // What reads it first is a reader, off the async threads; a mapped load would panic here.
    log.read_ahead(Offset(0), model.next_offset, usize::MAX).expect("a mark is no error");
    let damaged = log.damaged();
    assert!(matches!(damaged[0].damage, Damage::Unreadable { .. }), "{damaged:?}");
    assert_right_or_refused(&log, &model);
    let mut repair = log.repair(damaged[0].base).expect("begun").expect("damaged");
    supply(&mut repair, &other_replica(&model));
    // The fault goes by the file's name, which the whole file gets now.
    sim.clear_faults();
    let Adopted::Whole { supplied, .. } = log.adopt(repair).expect("adopted") else { panic!("nobody took it") };
    assert!(supplied > 0 && supplied < whole.len() as u64, "only what is damaged is fetched: {supplied}");
    assert_eq!(sim.read_cached(&file).expect("a file"), whole);
    assert_same(&log, &model);
}

#[test]
fn a_crash_at_any_step_of_a_repair_leaves_the_damaged_file_or_the_whole_one() {
    let mut outcomes = [0, 0];
    for steps in 0.. {
        let bed = Bed::sim(100 + steps);
        let (log, model, manifest) = filled(&bed);
        bed.disk.sync_dir(DIR.as_ref()).expect("durable");
        let sim = bed.sim.clone().expect("simulated");
        let file = log_files(&bed).remove(0);
        sim.flip_bit(&file, 70, 3).expect("a flip");
        assert_eq!(scrub(&log), 1);
        sim.crash_after_ops(steps);
        let other = other_replica(&model);
        let finished = log.repair(Offset(0)).and_then(|repair| {
            let mut repair = repair.expect("damaged");
            loop {
                match repair.copy(STEP_BYTES)? {
                    RepairStep::Copied(_) => {}
                    RepairStep::Whole => return log.adopt(repair),
                    RepairStep::Wanted { from, below } => {
                        repair.supply(&fetch(&other, from..below, 200))?;
                    }
                }
            }
        });
        let is_over = finished.is_ok();
        drop(log);
        sim.crash();
        let log = open(&bed, &manifest);
        let is_damaged = scrub(&log) == 1;
        outcomes[usize::from(is_damaged)] += 1;
        assert!(!(is_over && is_damaged), "a finished repair is durable, step {steps}");
        assert!(bed.files().iter().all(|file| !file.to_string_lossy().ends_with("repair")), "a leftover");
        repair_all(&log, &other);
        assert_same(&log, &model);
        if is_over {
            break;
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn batches_that_are_not_the_wanted_ones_are_not_taken() {
    let bed = Bed::sim(5);
    let (log, model, _) = filled(&bed);
    let sim = bed.sim.clone().expect("simulated");
    let file = log_files(&bed).remove(0);
    sim.flip_bit(&file, 70, 3).expect("a flip");
    assert_eq!(scrub(&log), 1);
    let mut repair = log.repair(Offset(0)).expect("begun").expect("damaged");
    let RepairStep::Wanted { from, below } = repair.copy(STEP_BYTES).expect("copied") else {
        panic!("the first batch is damaged");
    };
    let right = fetch(&other_replica(&model), from..below, usize::MAX);
    assert_eq!(repair.supply(&right[1..]).expect("no failure"), 0, "the first is missing");
    let mut other_index = right[0].clone();
    other_index.index = other_index.index.next();
    assert_eq!(repair.supply(&[other_index]).expect("no failure"), 0);
    // A batch of another history: whole, of the same length, at the same offset, and not the one.
    let mut impostor = Model::new(Offset(0));
    impostor.term = highwater_types::Term(9);
    impostor.next_index = right[0].index;
    impostor.make(&[1], 20, highwater_records::Compression::None);
    let impostor = IndexedBatch { batch: impostor.batches[0].batch.clone(), ..right[0].clone() };
    assert_eq!(repair.supply(&[impostor]).expect("no failure"), 0, "its epoch is not the run table's");
    assert!(repair.supply(&right).expect("supplied") > 0);
    supply(&mut repair, &other_replica(&model));
    assert!(matches!(log.adopt(repair).expect("adopted"), Adopted::Whole { .. }));
    assert_same(&log, &model);
}

#[test]
fn retention_takes_a_segment_away_from_its_repair() {
    let bed = Bed::sim(6);
    let (log, model, _) = filled(&bed);
    let sim = bed.sim.clone().expect("simulated");
    sim.flip_bit(&log_files(&bed)[0], 70, 3).expect("a flip");
    assert_eq!(scrub(&log), 1);
    let mut repair = log.repair(Offset(0)).expect("begun").expect("damaged");
    supply(&mut repair, &other_replica(&model));
    let second = log.segments()[1].base;
    log.detach_before(second).expect("detached");
    assert_eq!(log.adopt(repair).expect("no failure"), Adopted::Gone);
    assert!(!log.is_damaged());
    assert_eq!(log.start_offset(), second);
    assert!(bed.files().iter().all(|file| !file.to_string_lossy().ends_with("repair")), "a leftover");
}
