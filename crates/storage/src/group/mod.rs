//! One Raft group's log: what consensus appends, truncates and applies.
//!
//! ```text
//!            purged      applied            last
//!   ─ gone ────┤ kept / segments ├─ tail ────┤
//!   index:     p                 a           l        p ≤ a ≤ l
//! ```
//!
//! Entries above `applied` are the tail: in memory and in the journal. Applied batches are in
//! segments; applied entries of other kinds are few and kept in memory and in the checkpoint until they are purged.
//! The log is cut only at a boundary, an entry whose state was kept: a follower whose next entry is gone is given that.

mod apply;
mod boundaries;
mod capture;
mod group_log;
mod identity;
mod install;
mod options;
mod purge;
mod read;
mod reservation;
mod section;
mod snapshot;
mod state_file;
mod tail;

pub use apply::AppliedEntry;
pub use group_log::{GroupLog, LogError, NewEntry, NewPayload};
pub use options::{Durability, GroupOptions};
pub use purge::BuiltSnapshot;
pub use reservation::{Reservation, ReserveError};
pub use section::{BoundaryRecord, EntryMessage, GroupSection, LogIdMessage, VoteMessage};
pub use snapshot::{GroupSnapshot, SnapshotError};

pub(crate) use boundaries::{Boundaries, Boundary};
pub(crate) use capture::{Captured, SyncWork};
pub(crate) use group_log::{Opened, Services};
pub(crate) use identity::ReplicaIdentity;
pub(crate) use purge::detach;
pub(crate) use state_file::{StateFile, sweep};
pub(crate) use tail::{Stored, Tail, TailEntry, offset_after};
