//! A partition's committed batches in memory-mapped segment files, with sparse indexes.
//!
//! Owns `{base offset, 20 digits}.log`, `.index` and `.timeindex` in the partition's directory.
//! Segments make batches readable, not durable: the journal does that, and a checkpoint syncs
//! segments in the background. After a crash a log is opened as the last checkpoint's
//! [`SegmentManifest`] states it, and everything after that is appended again from the journal.
//!
//! ```text
//! append ─▶ pwrite behind the end ─▶ publish (extent, run table) ─▶ readers slice the mapping
//! ```
//!
//! Never here: uncommitted batches, consensus entries that are no batch, decisions about
//! retention, a truncation of published bytes.
//!
//! Invariants
//! - offsets are dense: each batch starts where the one before it ends, across segments too;
//! - `start_offset ≤ next_offset`; only the last segment may be unsealed;
//! - published bytes are never written again, so a reader's slice never changes;
//! - `size + reserved ≤ allocated` for the active segment: what was reserved can be appended;
//! - a `.log` file holds batches and nothing else; indexes are hints and can be lost at any time.

mod append;
mod checkpoint;
mod damage_mark;
mod damaged;
mod error;
mod extent;
mod index_entry;
mod log_slices;
mod manifest;
mod map_budget;
mod open;
mod read;
mod repair;
mod retention;
mod run_table;
mod scrub;
mod segment_file;
mod segmented_log;
mod source;
mod space;
mod sparse_index;
mod time_lookup;
mod verify;
mod view;
mod walker;

pub use append::Append;
pub use checkpoint::{CheckpointMark, CheckpointWork};
pub use damaged::DamagedSegment;
pub use error::{Damage, SegmentError};
pub use log_slices::{IndexedBatch, LogSlices};
pub use manifest::{RUN_RECORD_BYTES_MAX, RunRecord, SEGMENT_RECORD_BYTES_MAX, SegmentManifest, SegmentRecord};
pub use map_budget::MapBudget;
pub use repair::{Adopted, RepairStep, SegmentRepair};
pub use retention::SegmentInfo;
pub use run_table::{Located, Run, RunBatch, RunTable};
pub use scrub::{ScrubStep, SegmentScrub};
pub use segmented_log::{SegmentOptions, SegmentedLog};
pub use verify::{Finding, SegmentBatch, SegmentBatches, verify_partition};
