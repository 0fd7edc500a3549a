//! What a member of a group is told once.

use std::time::Duration;

use highwater_groups::Assignor;

use crate::consumer::{OutOfRange, StartPosition};
use crate::error::ClientError;
use crate::reader::ReaderConfig;

/// When offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// What was handed out before the last call for more counts as processed, and is committed in the background this often, and
    /// when its partition is given up.
    OnNext {
        /// The time between two commits.
        interval: Duration,
    },
    /// Only what the application commits.
    ByHand,
}

/// Settings of a [`crate::GroupConsumer`].
#[derive(Debug, Clone)]
pub struct GroupConsumerConfig {
    /// The group: 1 to 249 bytes. It begins with its first member.
    pub group: String,
    /// The topics to read, whether they exist or not; at least one. Each has a stream of its own to each node, so a
    /// hundred are fine and a thousand are not.
    pub topics: Vec<String>,
    /// The member's place in the group, when it outlives the process: whoever comes back to it within the session timeout finds
    /// its partitions. No two processes may have the same at one time.
    pub instance_id: Option<String>,
    /// What this client calls itself, for people.
    pub client_id: String,
    /// How the partitions are to be shared; none is the cluster's choice, `uniform`. The group follows what most of its members want.
    pub assignor: Option<Assignor>,
    /// How long this member may take to give partitions up: to end what it is processing, and for [`crate::RebalanceListener::on_revoked`].
    /// Who takes longer loses all of its partitions. At least a millisecond.
    pub rebalance_timeout: Duration,
    /// Where partitions start of which the group has committed nothing.
    pub start: StartPosition,
    /// What to do when records that were to be read are gone.
    pub out_of_range: OutOfRange,
    /// Bytes that may be buffered, over all partitions.
    pub buffer_bytes: u64,
    /// Most bytes that come in one piece; 0 leaves it to the node.
    pub push_bytes_max: u32,
    /// When offsets are committed.
    pub commit: CommitMode,
}

impl GroupConsumerConfig {
    /// The defaults: from the first record on where nothing is committed, commits every second of what was processed.
    pub fn new(group: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            group: group.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            instance_id: None,
            client_id: String::new(),
            assignor: None,
            rebalance_timeout: Duration::from_secs(60),
            start: StartPosition::Earliest,
            out_of_range: OutOfRange::Earliest,
            buffer_bytes: 8 << 20,
            push_bytes_max: 0,
            commit: CommitMode::OnNext { interval: Duration::from_secs(1) },
        }
    }

    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let interval = match self.commit {
            CommitMode::OnNext { interval } => interval,
            CommitMode::ByHand => Duration::MAX,
        };
        let least_one = [
            ("group", wide(self.group.len())),
            ("topics", wide(self.topics.len())),
            ("rebalance_timeout", u64::try_from(self.rebalance_timeout.as_millis()).unwrap_or(u64::MAX)),
            ("buffer_bytes", self.buffer_bytes),
            ("commit interval", u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
        ];
        match least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((name, value)) => Err(ClientError::InvalidSetting { name, value, min: 1 }),
            None => Ok(()),
        }
    }

    pub(crate) fn reader(&self) -> ReaderConfig {
        ReaderConfig {
            out_of_range: self.out_of_range,
            credit_bytes: self.buffer_bytes,
            push_bytes_max: self.push_bytes_max,
            retry_for: None,
        }
    }
}
