//! Kafka's RecordBatch v2 ("magic 2"): the one format that travels the wire, is
//! replicated by Raft, lies in the segments and reaches the consumer.
//!
//! This crate views, builds, checks, compresses and stamps batches. It never does IO,
//! reads a clock or knows where a batch comes from. Every byte it parses counts as
//! hostile: nothing panics on it, and nothing is allocated by a length or a count
//! before that was checked against the bytes that remain.
//!
//! The levels of trust, each containing the one before:
//! - [`Batch::parse`]: the frame. Exact length, magic, and header fields in range; O(1).
//! - [`Batch::verify`]: the CRC32C and the header fields among each other; O(bytes).
//! - [`Batch::verify_records`]: every record, decompressed as a stream; O(records).

mod attributes;
mod batch;
mod builder;
mod compression;
mod decode;
mod error;
mod header;
mod input;
mod record;
mod split;
mod stamped;
mod varint;
mod verify;

pub use attributes::{Attributes, Compression};
pub use batch::Batch;
pub use builder::BatchBuilder;
pub use error::RecordsError;
pub use header::{BatchHeader, field};
pub use record::{Header, Record, Records};
pub use split::{Batches, split_batches};
pub use stamped::StampedBatch;
