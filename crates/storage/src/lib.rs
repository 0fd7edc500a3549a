//! (being written)

pub mod disk;
