//! What an application is told of the partitions that it gets and gives.

use std::fmt;
use std::future::Future;

use tokio::time::Instant;

use crate::group::{OffsetCommitter, TopicPartition};

/// Partitions that are to be given up.
#[derive(Debug)]
pub struct Revocation<'a> {
    /// The partitions. Nothing of them is handed out any more, and the last record of them that was is processed.
    pub partitions: &'a [TopicPartition],
    /// Until when they can be given up in order. What takes longer is dropped then, and the partitions are given up.
    pub deadline: Instant,
    /// To commit what was done, which still counts.
    pub committer: &'a OffsetCommitter,
}

/// Is told when partitions come and go. One call at a time, apart from the application's own loop, and the membership is kept alive
/// meanwhile; what else there is to tell waits. `()` listens to nothing.
///
/// A partition is told to be assigned, then to be revoked or lost, then perhaps to be assigned again.
pub trait RebalanceListener: Send + 'static {
    /// These partitions were given to this member; their records are handed out when this returns.
    ///
    /// It is dropped at an `.await` when the partitions are lost meanwhile.
    fn on_assigned(&mut self, partitions: &[TopicPartition]) -> impl Future<Output = ()> + Send {
        let _ = partitions;
        std::future::ready(())
    }

    /// Partitions go to others, in order: what was processed is committed, and nobody else has them before this returns.
    ///
    /// It is dropped at an `.await` at the deadline, or when the partitions are lost meanwhile.
    fn on_revoked(&mut self, revocation: Revocation<'_>) -> impl Future<Output = ()> + Send {
        let _ = revocation;
        std::future::ready(())
    }

    /// Partitions are lost: this member was not heard of for a session, or took too long to give something up. Others may have them
    /// already, and nothing of them can be committed any more. What was processed and not committed is processed again.
    fn on_lost(&mut self, partitions: &[TopicPartition]) -> impl Future<Output = ()> + Send {
        let _ = partitions;
        std::future::ready(())
    }
}

impl RebalanceListener for () {}

/// Partitions in a line, for logs.
pub(crate) struct Listed<'a>(pub(crate) &'a [TopicPartition]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, of) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{of}")?;
        }
        Ok(())
    }
}
