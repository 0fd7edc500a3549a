//! What is handed to the journal, and how its end is told.

use highwater_types::GroupId;

use super::frame::Frame;
use super::position::Position;
use super::writer::JournalError;

/// What runs when a submission is durable or has failed.
pub type Completion = Box<dyn FnOnce(Result<Position, JournalError>) + Send>;

/// Changes of one Raft group that become durable together.
pub struct Submission {
    /// The Raft group.
    pub group: GroupId,
    /// Its changes, in order.
    pub frames: Vec<Frame>,
    /// Whether to complete when durable, or already when in the page cache.
    pub sync: bool,
    /// Called once, on the journal's thread: it must not block.
    pub done: Completion,
}

impl Submission {
    pub(super) fn len(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }
}
