//! The log-backed shell around the state machine of consumer groups ([`highwater_groups`]). It knows that there is a log,
//! a clock and a leader; what a request means it leaves to the state machine.
//!
//! ```text
//!                 the replica that leads                               every replica
//!   Shard::ask ─▶ queue ─▶ all that waits is decided ─▶ one entry ─▶ committed ─▶ GroupsApplier: AppliedGroups
//!                              ▲                                        │
//!                              │ the next ones, meanwhile in the queue  ▼
//!                              └────────────────────────── answers and wakes are given out
//! ```
//!
//! Invariants:
//! - Nothing is answered before what it rests on is durable on a majority: an answer that needs no record waits for those
//!   before it, and for a leader that still serves.
//! - One entry is on its way at a time. Thousands of requests that come meanwhile share the next one.
//! - Who begins to lead starts from what an entry of its own term proves committed. When an entry's fate is unknown, the
//!   decisions that are ahead of the log are dropped, and it begins anew in the same way.

mod applier;
mod error;
mod leading;
mod queue;
mod replica;
mod shard;
mod topics;
mod wakes;

pub use applier::AppliedGroups;
pub use error::CoordinatorError;
pub use replica::Replica;
pub use shard::{Shard, ShardParts};
pub use topics::{Catalog, Topics};
pub use wakes::Woken;
