//! The part of a batch's header that tells whose it is and where it stands among its
//! producer's batches.

use highwater_records::BatchHeader;
use highwater_types::{ProducerEpoch, ProducerId, Sequence};

use super::error::SequenceError;

/// A batch of an idempotent producer. `0 ≤ producer`, `0 ≤ epoch`, `0 ≤ first`, `0 ≤ last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequenced {
    pub(super) producer: ProducerId,
    pub(super) epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub(super) first: Sequence,
    /// The sequence of the last record, inclusive; less than `first` after a wrap.
    pub(super) last: Sequence,
}

/// Where a producer stands: the newest batch of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) epoch: ProducerEpoch,
    /// The sequence of the last record, inclusive.
    pub(super) last: Sequence,
}

impl Sequenced {
    /// `None` for a batch without a producer id.
    pub(super) fn of(header: &BatchHeader) -> Result<Option<Self>, SequenceError> {
        let (producer, epoch, first) = (header.producer_id, header.producer_epoch, header.base_sequence);
        if !producer.is_some() {
            return Ok(None);
        }
        if epoch.0 < 0 || first.0 < 0 {
            return Err(SequenceError::Negative { producer, epoch, sequence: first });
        }
        let last = first.plus(header.record_count - 1);
        Ok(Some(Self { producer, epoch, first, last }))
    }

    /// Whether the batch can come right after `position`; `None` is an unknown producer.
    pub(super) fn follow(&self, position: Option<Position>) -> Result<(), SequenceError> {
        let Some(position) = position else {
            if self.first == Sequence(0) {
                return Ok(());
            }
            return Err(SequenceError::Unknown {
                producer: self.producer,
                epoch: self.epoch,
                sequence: self.first,
            });
        };
        if self.epoch < position.epoch {
            return Err(SequenceError::Fenced {
                producer: self.producer,
                epoch: self.epoch,
                newest: position.epoch,
            });
        }
        let expected = if self.epoch == position.epoch { position.last.plus(1) } else { Sequence(0) };
        if self.first != expected {
            return Err(SequenceError::OutOfOrder {
                producer: self.producer,
                epoch: self.epoch,
                sequence: self.first,
                expected,
            });
        }
        Ok(())
    }
}
