//! The state that a group keeps above its log: cluster metadata, a partition's
//! producers. It is a function of the log, so it takes part in every checkpoint.

use bytes::Bytes;
use highwater_types::Offset;

use crate::entry::Entry;

/// A state machine above a group's log.
///
/// It is called with committed entries in index order, each exactly once after the state
/// that [`Applier::restore`] was given. It must be deterministic: no clock, no randomness, no IO.
pub trait Applier: Send + 'static {
    /// Takes in one committed batch or control entry. A batch is in its segment already.
    fn apply(&mut self, entry: &Entry) -> Applied;

    /// Called after a run of entries was applied and is visible to readers: the place to wake waiters.
    fn applied(&mut self) {}

    /// The whole state, encoded, as of the last applied entry.
    fn snapshot(&self) -> Bytes;

    /// Replaces the state by what [`Applier::snapshot`] returned; an empty slice is the state before the first entry.
    ///
    /// # Errors
    /// When the bytes are not a state of this kind and version; the group is then quarantined.
    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError>;
}

/// What applying an entry led to.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The state machine's answer to whoever proposed the entry.
    pub response: Bytes,
    /// When the entry moves the log start (R8): the new one. Going back is ignored.
    pub log_start: Option<Offset>,
}

/// A snapshot that could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stored state of the group cannot be read: {0}")]
pub struct RestoreError(pub String);
