//! What a group does when a committed entry cannot be applied because the disk is full.
//!
//! Room is set aside before an entry is proposed, so a running group does not come here. After a crash nothing is set aside for what
//! the journal holds above the segments, and applying it may find a disk that others have filled.
//!
//! Invariants:
//! - While the group starts, the error ends the start, with its cause kept here; the group can be started again.
//! - Once it runs, the entry waits for room. It is committed, so it can be neither refused nor skipped.

use std::time::Duration;

use highwater_storage::LogError;
use parking_lot::Mutex;
use tokio::sync::watch;

/// How often a full disk is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// Running, with an entry that waits for room.
    Waiting,
    Stopped,
}

/// Shared by a group's handles and its state machine.
pub(crate) struct ApplyGate {
    phase: watch::Sender<Phase>,
    failure: Mutex<Option<LogError>>,
}

impl ApplyGate {
    /// Of a group that is being started.
    pub(crate) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), failure: Mutex::new(None) }
    }

    /// The group runs from now on.
    pub(crate) fn open(&self) {
        self.move_from(Phase::Starting, Phase::Running);
    }

    /// The group stops: an entry that waits for room gives up. The journal keeps it.
    pub(crate) fn stop(&self) {
        self.phase.send_replace(Phase::Stopped);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.phase.borrow() == Phase::Stopped
    }

    /// Whether an entry waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        *self.phase.borrow() == Phase::Waiting
    }

    /// Completes when an entry waits for room. Cancel-safe.
    pub(crate) async fn until_waiting(&self) {
        // The sender lives as long as this.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Waiting).await;
    }

    /// What applying failed with first, if it did.
    pub(crate) fn failure(&self) -> Option<LogError> {
        self.failure.lock().clone()
    }

    /// Applying failed: returns when it shall be tried again, or the error when that is the end. `is_first` is whether it is the
    /// entry's first failure.
    pub(crate) async fn failed(&self, error: LogError, is_first: bool) -> Result<(), LogError> {
        let mut phase = self.phase.subscribe();
        let may_wait = matches!(*phase.borrow_and_update(), Phase::Running | Phase::Waiting);
        if !may_wait || !error.is_no_space() {
            self.failure.lock().get_or_insert_with(|| error.clone());
            return Err(error);
        }
        if is_first {
            tracing::warn!(%error, "a committed entry waits for room on the disk; free some and it goes on by itself");
        }
        self.move_from(Phase::Running, Phase::Waiting);
        tokio::select! {
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => Err(error),
            () = tokio::time::sleep(ASK_AGAIN) => Ok(()),
        }
    }

    /// What waited was applied.
    pub(crate) fn resumed(&self) {
        if self.move_from(Phase::Waiting, Phase::Running) {
            tracing::info!("a committed entry found room on the disk and was applied");
        }
    }

    fn move_from(&self, from: Phase, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let moves = *phase == from;
            if moves {
                *phase = to;
            }
            moves
        })
    }
}
