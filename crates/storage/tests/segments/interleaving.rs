//! What happens between two steps of a write, made to happen there.

use std::sync::{Arc, mpsc};

use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::segment::{MapBudget, SegmentedLog};
use highwater_types::Offset;

use crate::support::{Model, Rng, append, assert_same, fill, small_segments};

#[test]
fn a_sync_during_a_write_does_not_count_for_that_write() {
    for seed in 0..40 {
        println!("seed {seed}");
        let sim = SimDisk::new(seed);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let log = SegmentedLog::create(disk, "a".into(), small_segments(), MapBudget::new(4), Offset(0));
        let (mut model, mut rng) = (Model::new(Offset(0)), Rng::new(seed));
        fill(&log, &mut model, &mut rng, 3);
        let (work, (ran, has_run)) = (log.checkpoint(), mpsc::channel());
        sim.before_next_write(move || {
            work.sync().expect("a sync");
            ran.send(()).expect("the test waits for it");
        });
        append(&log, &model.make_random(&mut rng)).expect("an append");
        assert_eq!(has_run.try_recv(), Ok(()), "the sync ran during the append");
        let work = log.checkpoint();
        work.sync().expect("a sync");
        drop(log);
        sim.crash();
        let disk: Arc<dyn Disk> = Arc::new(sim);
        let log = SegmentedLog::open(disk, "a".into(), small_segments(), MapBudget::new(4), &work.manifest);
        assert_same(&log.expect("what the manifest states is there"), &model);
    }
}
