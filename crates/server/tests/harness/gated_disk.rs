//! The machine's disk with a gate before every sync of a file, or before every removal of a directory, which a test closes to stop
//! a node wherever it waits for the disk.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::{Disk, DiskFile, Mapping, RealDisk};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Lets syncs of files through, or removals of directories, or holds them.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    released: Condvar,
    arrived: Notify,
}

/// `let_through ≤ arrived`; what came after `let_through` is held.
#[derive(Default)]
struct GateState {
    closed: bool,
    /// What came to the closed gate.
    arrived: u64,
    /// How many of them may go on.
    let_through: u64,
}

impl Gate {
    /// Holds everything that comes from now on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Lets go of what is held, and holds no more.
    pub(crate) fn open(&self) {
        let mut state = self.state.lock();
        state.closed = false;
        state.let_through = state.arrived;
        drop(state);
        self.released.notify_all();
    }

    /// Lets the oldest one that is held go on.
    pub(crate) fn let_one_through(&self) {
        let mut state = self.state.lock();
        state.let_through = state.arrived.min(state.let_through + 1);
        drop(state);
        self.released.notify_all();
    }

    /// Waits until one is held.
    pub(crate) async fn holds_one(&self) {
        while !self.is_holding() {
            self.arrived.notified().await;
        }
    }

    fn is_holding(&self) -> bool {
        let state = self.state.lock();
        state.let_through < state.arrived
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        if !state.closed {
            return;
        }
        state.arrived += 1;
        let number = state.arrived;
        self.arrived.notify_one();
        while state.let_through < number {
            self.released.wait(&mut state);
        }
    }
}

/// The machine's disk behind a gate.
pub(crate) struct GatedDisk {
    disk: RealDisk,
    gate: Arc<Gate>,
    removals: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl GatedDisk {
    /// The disk below a directory, with its gate before syncs of files open.
    pub(crate) fn new(root: &Path) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        (
            Self { disk: RealDisk::new(root.to_path_buf()), gate: Arc::clone(&gate), removals: Arc::default() },
            gate,
        )
    }

    /// The same with the gate before removals of directories.
    pub(crate) fn with_gated_removals(root: &Path) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        (
            Self { disk: RealDisk::new(root.to_path_buf()), gate: Arc::default(), removals: Arc::clone(&gate) },
            gate,
        )
    }

    fn gated(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile { file: file?, gate: Arc::clone(&self.gate) }))
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.gated(self.disk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.gated(self.disk.open(path))
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
        self.removals.pass();
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
    fn total_bytes(&self) -> io::Result<u64> {
        self.disk.total_bytes()
    }
    fn boot_id(&self) -> io::Result<String> {
        self.disk.boot_id()
    }
    fn is_simulated(&self) -> bool {
        false
    }
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(out, position)
    }
    fn write_all_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_all_at(parts, position)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }
    fn map(&self, length: u64) -> io::Result<Arc<dyn Mapping>> {
        self.file.map(length)
    }
}
