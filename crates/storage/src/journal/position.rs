//! Places in the journal.

use std::fmt;

use highwater_types::FilePosition;

/// The place of a group. Groups are ordered by their LSN alone; file and position say where to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Log sequence number, dense over the journal's life.
    pub lsn: u64,
    /// The file's generation. A group that did not fit stands at the start of the next.
    pub generation: u64,
    /// Where in the file the group's header starts.
    pub at: FilePosition,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LSN {} (file {:016x} at {})", self.lsn, self.generation, self.at)
    }
}

/// How far a journal is written, as far as its submitters were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where the oldest group stands that may hold what is not completed; without one, where the next group goes.
    pub next: Position,
    /// The newest LSN known durable.
    pub durable_lsn: u64,
}
