//! Something that a test makes happen between two steps of its subject.

use std::fmt;

/// What is to run right before the next write to a file, if anything. It runs once, without the
/// disk's lock, so that it may use the disk itself.
#[derive(Default)]
pub(super) struct Interruption(pub(super) Option<Box<dyn FnOnce() + Send>>);

impl Interruption {
    /// Takes it out; a write calls what it gets.
    pub(super) fn take(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.0.take()
    }
}

impl fmt::Debug for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Interruption(ordered)" } else { "Interruption(none)" })
    }
}
