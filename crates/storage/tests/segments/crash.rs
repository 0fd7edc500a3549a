//! Power cuts at any operation: what the last durable manifest states is there, byte for byte, and the
//! rest can be appended again.

use std::sync::Arc;

use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::segment::{
    MapBudget, SegmentError, SegmentManifest, SegmentOptions, SegmentedLog, verify_partition,
};
use highwater_types::{Offset, TimestampMs};

use crate::support::{DIR, Model, Rng, append, assert_same_in_order};

const SEEDS: u64 = 400;

#[test]
fn a_power_cut_at_any_point_loses_nothing_below_the_last_manifest() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        run(seed);
    }
}

/// What survives a crash by other means: the journal's and the checkpoint's part.
struct Durable {
    manifest: SegmentManifest,
    model: Model,
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let sim = SimDisk::new(seed);
    let mut durable = Durable { manifest: SegmentManifest::empty(Offset(0)), model: Model::new(Offset(0)) };
    // What the journal has: every batch ever made.
    let mut journal = Model::new(Offset(0));
    let options = SegmentOptions {
        segment_bytes: 300 + rng.below(2000),
        segment_ms: i64::MAX,
        index_interval_bytes: 1 + rng.below(500),
    };
    for life in 0..4 {
        let disk: Arc<dyn Disk> = Arc::new(sim.for_process());
        assert_eq!(verify_partition(&disk, DIR.as_ref(), Some(&durable.manifest)), [], "life {life}");
        let log = SegmentedLog::open(disk, DIR.into(), options, MapBudget::new(2), &durable.manifest);
        let log = log.expect("what the manifest states is there");
        assert_same_in_order(&log, &durable.model);
        let mut model = durable.model.clone();
        let redo = journal.batches.iter().filter(|batch| batch.batch.base_offset() >= model.next_offset);
        for batch in redo.cloned().collect::<Vec<_>>() {
            append(&log, &batch).expect("a repeated append");
            model.next_offset = batch.batch.next_offset();
            model.batches.push(batch);
        }
        assert_same_in_order(&log, &model);
        let only_the_process_dies = rng.below(4) == 0;
        if !only_the_process_dies {
            sim.crash_after_ops(rng.below(120));
        }
        let outcome = live(&log, &mut rng, &mut model, &mut journal, &mut durable);
        assert!(outcome.is_ok() || sim.is_power_cut(), "{outcome:?}");
        drop(log);
        if only_the_process_dies {
            sim.kill();
        } else {
            sim.crash();
        }
    }
}

/// Random operations until the power fails or enough were done.
fn live(
    log: &SegmentedLog,
    rng: &mut Rng,
    model: &mut Model,
    journal: &mut Model,
    durable: &mut Durable,
) -> Result<(), SegmentError> {
    for _ in 0..60 {
        match rng.below(12) {
            0 => {
                let work = log.checkpoint();
                let captured = model.clone();
                // Appends go on while it syncs.
                append_next(log, rng, model, journal)?;
                work.sync()?;
                *durable = Durable { manifest: work.manifest.clone(), model: captured };
                log.delete_detached(work.mark())?;
            }
            1 => {
                log.seal_active()?;
            }
            2 if rng.below(3) == 0 => {
                let cut = Offset(rng.below(model.next_offset.0 as u64 + 1) as i64);
                log.detach_before(cut)?;
                let start = log.start_offset();
                model.batches.retain(|batch| batch.batch.base_offset() >= start);
            }
            3 => {
                let read = log.offset_for_time(TimestampMs(500), log.start_offset(), log.next_offset());
                if let Err(error) = read {
                    assert!(!error.is_damage(), "{error}");
                    return Err(error);
                }
            }
            _ => append_next(log, rng, model, journal)?,
        }
    }
    Ok(())
}

fn append_next(
    log: &SegmentedLog,
    rng: &mut Rng,
    model: &mut Model,
    journal: &mut Model,
) -> Result<(), SegmentError> {
    let made = journal.make_random(rng);
    append(log, &made)?;
    model.next_offset = made.batch.next_offset();
    model.batches.push(made);
    Ok(())
}
