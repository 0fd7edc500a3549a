//! The node's write-ahead journal, shared by all its Raft groups: what makes
//! entries and votes durable.
//!
//! ```text
//! submit ─▶ queue ─▶ one writer: drain, one vectored write, one fdatasync ─▶ completions, in order
//! ```
//!
//! A submission is complete when a group commit that holds it is durable (or, for
//! `durability=memory`, in the page cache). There is no timer: while the disk syncs one
//! group, the next forms in the queue.
//!
//! Invariants
//! - log sequence numbers (LSN) of groups are dense; `durable ≤ written`;
//! - completions of one Raft group run in the order of its submissions (R15);
//! - after a failed write or sync the journal is poisoned: every waiter, present and
//!   future, gets the error, and nothing is written again (R2);
//! - a file is recycled only when a checkpoint no longer needs any group in it.

pub mod file;
pub mod frame;
mod handle;
mod options;
mod position;
mod prepared;
mod runner;
pub mod scan;
mod shared;
mod submission;
mod writer;

pub use handle::{Capacity, Journal};
pub use options::JournalOptions;
pub use position::{Position, Progress};
pub use prepared::{Continuation, Prepared};
pub use submission::{Completion, Submission};
pub use writer::JournalError;
