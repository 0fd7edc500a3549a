//! What a partition remembers of its idempotent producers (KIP-98), so that a batch is in
//! the log once however often it is sent.
//!
//! [`ProducerState`] is a function of the log: it follows the committed batches and is the
//! same on every replica, after any restart and after any snapshot. [`InFlight`] is the
//! leader's alone: what it proposed and has not applied yet, laid over the applied state.
//! Nothing here knows a clock, draws a random number or does IO.
//!
//! ```text
//! a batch comes:   InFlight::check(&state, header) ─▶ New · Duplicate · InFlight · error
//! it is proposed:  InFlight::insert(header, number)
//! it is applied:   ProducerState::apply(header), then InFlight::remove(number)
//! ```
//!
//! The rules are those of Kafka 4, but for the first:
//! - A producer that the partition does not know begins at sequence 0. (Kafka takes any sequence, because the
//!   partition may have forgotten the producer. But of two batches sent one behind the other the first may be
//!   refused for a moment and the second taken: its producer sends the first again, and it comes too late.)
//!   One that was forgotten, after [`PRODUCER_EXPIRY_MS`] of silence or because
//!   [`PRODUCERS_PER_PARTITION_MAX`] others wrote since, begins a new epoch.
//! - Within an epoch each batch continues the one before it; the sequence after `i32::MAX` is 0.
//! - A new epoch begins at sequence 0 and fences those before it.
//! - A batch with the epoch and sequences of one of the last
//!   [`PRODUCER_WINDOW_BATCHES`] is a duplicate. One that is older than these cannot be told
//!   from a gap and is out of order: it is refused, never written twice.
//!
//! [`PRODUCER_EXPIRY_MS`]: highwater_types::limits::PRODUCER_EXPIRY_MS
//! [`PRODUCERS_PER_PARTITION_MAX`]: highwater_types::limits::PRODUCERS_PER_PARTITION_MAX
//! [`PRODUCER_WINDOW_BATCHES`]: highwater_types::limits::PRODUCER_WINDOW_BATCHES

mod entry;
mod error;
mod in_flight;
mod sequenced;
mod snapshot;
mod state;

pub use error::{ProducerSnapshotError, SequenceError};
pub use in_flight::{InFlight, Verdict};
pub use state::ProducerState;

#[cfg(test)]
mod tests;
