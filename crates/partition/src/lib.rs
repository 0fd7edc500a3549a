//! One replicated partition: append, fetch, the high watermark, producer dedup.
//!
//! [`Partition`] is the leader's side: it checks and orders what is to be appended, reads what is
//! committed, and decides on retention. [`PartitionApplier`] is every replica's side: what
//! the committed entries mean. Both meet in the log, through the replica's Raft group.
//!
//! It never touches files or the network, never knows which protocol asks, and takes the
//! clock from outside.
//!
//! Invariants: only what is below the high watermark is read; a producer's batch is in the
//! log once, however often it is sent; the log start moves by committed entries only; an idle
//! partition has no task and no timer.

mod admission;
mod append;
mod applier;
mod command;
mod error;
mod group_replica;
mod log_start;
mod new_record;
mod partition;
pub mod producer_state;
mod read;
pub mod replica;
mod waiters;

pub use append::{Appended, PendingAppend};
pub use applier::{AppliedState, PartitionApplier};
pub use command::{CommandError, LogStartReason, PartitionCommand};
pub use error::PartitionError;
pub use group_replica::AppliedHandle;
pub use log_start::{DeleteBefore, RetentionPass};
pub use new_record::NewRecord;
pub use partition::{Partition, PartitionDescription};
pub use read::{FetchSlices, OffsetQuery};
pub use waiters::{DataWaiter, WaitRegistration};

#[cfg(test)]
mod tests;
