//! (being written)

pub mod directory;
pub mod disk;
