//! Storage of a node: one journal that makes entries durable, mapped segments that make
//! committed batches readable, and the checkpoints between them, above a disk trait.
//!
//! ```text
//!              ┌──────────── Store ────────────┐
//!   append ───▶│ GroupLog ─▶ tail ─▶ journal   │  durable
//!   apply  ───▶│    └──────────▶ segments      │  readable
//!              │ checkpoint: syncs segments, recycles the journal
//!              └──────── Disk (real or simulated)
//! ```
//!
//! This is the only crate with `unsafe` code and the only one that maps files. It knows nothing
//! of leaders, elections, topics or clients.

pub mod applier;
pub mod checkpoint;
pub mod directory;
pub mod disk;
pub mod entry;
pub mod group;
pub mod inspect;
pub mod journal;
pub mod segment;
pub mod store;
mod watermarks;

pub use applier::{Applied, Applier, RestoreError};
pub use directory::layout;
pub use entry::{Entry, LogId, Payload, Vote};
pub use group::{
    AppliedEntry, BuiltSnapshot, Durability, GroupLog, GroupOptions, GroupSnapshot, LogError, NewEntry,
    NewPayload, Reservation, ReserveError, SnapshotError,
};
pub use segment::SegmentOptions;
pub use store::{OnFailure, OpenError, Store, StoreError, StoreOptions};
pub use watermarks::Watermarks;
