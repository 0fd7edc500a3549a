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

mod apply;
mod capture;
mod group_log;
mod options;
mod purge;
mod read;
mod reservation;
mod section;
mod tail;

pub use apply::AppliedEntry;
pub use group_log::{GroupLog, LogError, NewEntry, NewPayload};
pub use options::{Durability, GroupOptions};
pub use reservation::{Reservation, ReserveError};
pub use section::{EntryMessage, GroupSection, LogIdMessage, VoteMessage};

pub(crate) use capture::Captured;
pub(crate) use group_log::{Opened, Services};
pub(crate) use purge::detach;
pub(crate) use tail::{Stored, Tail, TailEntry, offset_after};
