//! Why a producer's batch was refused, or a snapshot was not understood.

use highwater_types::{ErrorCode, ProducerEpoch, ProducerId, Sequence};

/// Why a batch cannot follow what its producer wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// The batch leaves a gap, or repeats a batch that is too old to be recognized.
    #[error(
        "producer {producer} epoch {epoch} sent sequence {sequence}; the next is {expected}, and \
         none of its last batches was this one"
    )]
    OutOfOrder {
        /// The producer.
        producer: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The first sequence of the batch.
        sequence: Sequence,
        /// The first sequence that would be accepted.
        expected: Sequence,
    },
    /// The partition does not know the producer, and the batch is not its first.
    #[error(
        "producer {producer} epoch {epoch} sent sequence {sequence} to a partition that does not know it: \
         its first batch did not arrive yet, or it was forgotten; begin a new epoch at sequence 0"
    )]
    Unknown {
        /// The producer.
        producer: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The first sequence of the batch.
        sequence: Sequence,
    },
    /// A newer life of the producer has taken over.
    #[error("producer {producer} epoch {epoch} is fenced: epoch {newest} has taken over")]
    Fenced {
        /// The producer.
        producer: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The newest epoch.
        newest: ProducerEpoch,
    },
    /// The batch has a producer id, but its epoch or sequence is negative.
    #[error("producer {producer} sent epoch {epoch} and sequence {sequence}: neither may be negative")]
    Negative {
        /// The producer.
        producer: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The first sequence of the batch.
        sequence: Sequence,
    },
}

impl SequenceError {
    /// The kind of error that a client sees.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrder { .. } => ErrorCode::OutOfOrderSequence,
            Self::Unknown { .. } => ErrorCode::UnknownProducerId,
            Self::Fenced { .. } => ErrorCode::InvalidProducerEpoch,
            Self::Negative { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// Why bytes are not a snapshot of producer state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerSnapshotError {
    /// The bytes are not what they should be.
    #[error("producer state is malformed: {detail}")]
    Malformed {
        /// The first thing that is wrong.
        detail: String,
    },
    /// The bytes were written by a newer build.
    #[error("producer state has version {version}; this build knows versions up to {newest}")]
    UnknownVersion {
        /// The version that the bytes state.
        version: u32,
        /// The newest version that this build knows.
        newest: u32,
    },
}
