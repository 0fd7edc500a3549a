//! What happens between two steps of a write, made to happen there.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::{Disk, DiskFile, Mapping, SimDisk};
use highwater_storage::segment::{CheckpointWork, MapBudget, SegmentedLog};
use highwater_types::Offset;
use parking_lot::Mutex;

use crate::support::{Model, Rng, append, assert_same, fill, small_segments};

/// The simulated disk, with a checkpoint's sync that runs right before the next write.
struct SyncBeforeWrite {
    disk: SimDisk,
    due: Arc<Mutex<Option<CheckpointWork>>>,
}

struct File {
    file: Arc<dyn DiskFile>,
    due: Arc<Mutex<Option<CheckpointWork>>>,
}

impl SyncBeforeWrite {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(File { file, due: Arc::clone(&self.due) })
    }
}

impl Disk for SyncBeforeWrite {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(path)?))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn boot_id(&self) -> io::Result<String> {
        self.disk.boot_id()
    }
    fn is_simulated(&self) -> bool {
        true
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(out, position)
    }
    fn write_all_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let due = self.due.lock().take();
        if let Some(work) = due {
            work.sync().expect("a sync");
        }
        self.file.write_all_at(parts, position)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn map(&self, length: u64) -> io::Result<Arc<dyn Mapping>> {
        self.file.map(length)
    }
}

#[test]
fn a_sync_during_a_write_does_not_count_for_that_write() {
    for seed in 0..40 {
        println!("seed {seed}");
        let (sim, due) = (SimDisk::new(seed), Arc::new(Mutex::new(None)));
        let disk: Arc<dyn Disk> = Arc::new(SyncBeforeWrite { disk: sim.clone(), due: Arc::clone(&due) });
        let log = SegmentedLog::create(disk, "a".into(), small_segments(), MapBudget::new(4), Offset(0));
        let (mut model, mut rng) = (Model::new(Offset(0)), Rng::new(seed));
        fill(&log, &mut model, &mut rng, 3);
        *due.lock() = Some(log.checkpoint());
        append(&log, &model.make_random(&mut rng)).expect("an append");
        assert!(due.lock().is_none(), "the sync ran during the append");
        let work = log.checkpoint();
        work.sync().expect("a sync");
        drop(log);
        sim.crash();
        let disk: Arc<dyn Disk> = Arc::new(sim);
        let log = SegmentedLog::open(disk, "a".into(), small_segments(), MapBudget::new(4), &work.manifest);
        assert_same(&log.expect("what the manifest states is there"), &model);
    }
}
