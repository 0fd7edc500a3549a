//! Jumping to the state that a leader sent, because the entries in between are purged there.
//!
//! ```text
//! write the state's file, sync it and its name ─▶ frame `Install` + all in memory, in one step ─▶ frame synced
//! ```
//!
//! Before the frame is durable a crash leaves the log that was; after it, recovery reads the file and jumps again. The segments
//! that the jump left behind, and the file of a log without batches, go when a checkpoint that no longer needs them is durable.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::limits::PEER_SNAPSHOT_BYTES_MAX;
use tokio::sync::oneshot;

use super::apply::Machine;
use super::boundaries::Boundary;
use super::group_log::{GroupLog, LogError};
use super::snapshot::GroupSnapshot;
use super::state_file::StateFile;
use crate::disk::{Disk, blocking};
use crate::journal::JournalError;
use crate::journal::frame::{Change, Frame, Install};
use crate::layout;

impl GroupLog {
    /// Continues after the entry that a leader's [encoded state](GroupSnapshot::encode) takes in; durable on return. The entries up
    /// to it are gone then, those after it stay when they follow it. What was applied already is left as it is.
    ///
    /// Must not be called while entries are applied. Not cancel-safe: it may or may not take effect.
    ///
    /// # Errors
    /// A full disk passes ([`LogError::is_no_space`]) and nothing has changed. [`LogError::Install`] and [`LogError::Restore`] say that
    /// the state cannot be used, and nothing has changed either. After any other error the node must end.
    pub async fn install_snapshot(self: &Arc<Self>, encoded: Bytes) -> Result<(), LogError> {
        let snapshot = GroupSnapshot::decode(&encoded).map_err(|error| self.no_install(error.to_string()))?;
        if encoded.len() > PEER_SNAPSHOT_BYTES_MAX {
            return Err(self.no_install(format!("{} bytes are too many", encoded.len())));
        }
        if Some(snapshot.last) <= self.applied_id() {
            return Ok(());
        }
        self.check_follows(&snapshot)?;
        let file = StateFile::of(snapshot.last, &encoded);
        let (disk, directory) = (self.services.disk.clone(), layout::group_directory(self.id));
        let written = blocking(&*self.services.disk, move || write(&*disk, &directory, file, &encoded)).await;
        written.map_err(|source| LogError::InstallIo { group: self.id, source: Arc::new(source) })?;
        let (sender, receiver) = oneshot::channel();
        self.jump(snapshot, file, sender)?;
        Ok(receiver.await.unwrap_or(Err(JournalError::Closed))?)
    }

    /// Whether the state may take the place of what is here: what is committed never changes.
    fn check_follows(&self, snapshot: &GroupSnapshot) -> Result<(), LogError> {
        let state = self.state.lock();
        if let Some(applied) = state.applied.filter(|applied| snapshot.last.index <= applied.index) {
            return Err(self.no_install(format!("it ends at {}, {applied} is applied", snapshot.last)));
        }
        let end = state.high_watermark;
        let stored = state.tail.offset_after(snapshot.last);
        if snapshot.next_offset < end || stored.is_some_and(|stored| stored != snapshot.next_offset) {
            let next = snapshot.next_offset;
            return Err(self.no_install(format!(
                "it goes on at offset {next}; the log reaches {end}, and {stored:?} with the same entry"
            )));
        }
        Ok(())
    }

    /// Switches to the state, of which the file is durable, in memory and in the journal.
    fn jump(
        &self,
        snapshot: GroupSnapshot,
        file: StateFile,
        done: oneshot::Sender<Result<(), JournalError>>,
    ) -> Result<(), LogError> {
        let mut applied = self.applied.lock();
        if let Machine::Live(applier) = &mut applied.machine {
            let before = applier.snapshot();
            if let Err(error) = applier.restore(&snapshot.state) {
                applier.restore(&before)?;
                return Err(error.into());
            }
        } else {
            applied.machine = Machine::Stored(snapshot.state);
        }
        applied.last = Some(snapshot.last);
        applied.membership = snapshot.membership;
        {
            let mut state = self.state.lock();
            let (last, next_offset) = (snapshot.last, snapshot.next_offset);
            let install = Install { last, next_offset, state_len: file.length, state_crc: file.crc };
            if let Some(segments) = &self.segments {
                segments.reset(next_offset)?;
                state.log_start = next_offset;
            } else {
                state.log_start = state.log_start.max(snapshot.log_start);
            }
            state.tail.advance(last, next_offset);
            state.kept.clear();
            state.high_watermark = next_offset;
            state.applied = Some(last);
            state.purged = Some(last);
            state.committed = state.committed.max(Some(last));
            let boundary = self.segments.as_ref().map(|_| Boundary::durable(file, next_offset));
            state.boundaries.replace(file, boundary);
            let frame = Frame::new(self.id, &Change::Install(install));
            self.submit(vec![frame], true, Box::new(move |result| drop(done.send(result.map(drop)))));
        }
        if let Machine::Live(applier) = &mut applied.machine {
            applier.applied();
        }
        if let Some(journal) = self.services.journal.get() {
            journal.space_detached();
        }
        Ok(())
    }

    fn no_install(&self, reason: String) -> LogError {
        LogError::Install { group: self.id, reason }
    }
}

/// Writes a state's file; durable on return.
fn write(disk: &dyn Disk, directory: &Path, file: StateFile, bytes: &[u8]) -> std::io::Result<()> {
    disk.create_dir_all(directory)?;
    file.write(disk, directory, bytes)?;
    disk.sync_dir(directory)
}
