//! Where a consumer starts and how much it takes ahead.

use std::time::Duration;

use highwater_proto::v1;
use highwater_types::{Offset, TimestampMs};

use crate::reader::ReaderConfig;

/// Where reading a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// The first record that exists.
    Earliest,
    /// What is committed from now on.
    Latest,
    /// This offset.
    Offset(Offset),
    /// The first record with at least this timestamp; as `Latest` when there is none.
    Time(TimestampMs),
}

impl StartPosition {
    pub(crate) fn to_proto(self) -> v1::StartPosition {
        use v1::start_position::Position;
        let position = match self {
            Self::Earliest => Position::Named(v1::NamedPosition::Earliest.into()),
            Self::Latest => Position::Named(v1::NamedPosition::Latest.into()),
            Self::Offset(offset) => Position::Offset(offset.0),
            Self::Time(timestamp) => Position::TimestampMs(timestamp.0),
        };
        v1::StartPosition { position: Some(position) }
    }
}

/// What to do about a partition whose next offset does not exist (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// Report it and stop reading that partition: records may have been deleted unseen.
    #[default]
    Fail,
    /// Go on with the first record that exists.
    Earliest,
    /// Go on with what is committed from now on.
    Latest,
}

/// Settings of a [`crate::Consumer`].
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// Where every partition starts.
    pub start: StartPosition,
    /// What to do when records that were to be read are gone.
    pub out_of_range: OutOfRange,
    /// Bytes that the cluster may send ahead of what was taken.
    pub credit_bytes: u64,
    /// Most bytes that come in one piece; 0 leaves it to the node.
    pub push_bytes_max: u32,
    /// How long to try again while no node can be reached or the partition is not available; `None` is for ever.
    pub retry_for: Option<Duration>,
}

impl ConsumerConfig {
    /// The defaults, from this position.
    pub fn starting_at(start: StartPosition) -> Self {
        Self {
            start,
            out_of_range: OutOfRange::Fail,
            credit_bytes: 8 << 20,
            push_bytes_max: 0,
            retry_for: None,
        }
    }

    pub(crate) fn reader(&self) -> ReaderConfig {
        ReaderConfig {
            out_of_range: self.out_of_range,
            credit_bytes: self.credit_bytes,
            push_bytes_max: self.push_bytes_max,
            retry_for: self.retry_for,
        }
    }
}
