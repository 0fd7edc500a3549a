//! That a node went on alone from a cluster that lost the majority of its voters: the record of it, for as long as the
//! directory lives.
//!
//! ```text
//! highwater recovery
//! format 1
//! state finished              begun or finished
//! cluster 6f1c2a9e-…          the cluster's id after it
//! was 11d0…,a2b4…             the ids that it had before, the oldest first
//! at_ms 1760000000000         milliseconds since the Unix epoch
//! crc32c 8f00a1b2
//! ```
//!
//! It is begun before anything else is changed, and finished when all is durable. A directory with one that was only begun is
//! refused until the recovery is made again: its groups do not agree on who the members are.

use std::io;

use highwater_types::{ClusterId, TimestampMs};

use super::layout::RECOVERY;
use super::sealed_text::{ReadError, SealedText};
use crate::disk::Disk;

/// The version of the record.
const FORMAT: u32 = 1;
/// Ids that are remembered: nodes that were left behind earlier are long gone.
const EARLIER_MAX: usize = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryRecord {
    /// Whether all of it is durable.
    pub is_finished: bool,
    /// The cluster's id after it.
    pub cluster: ClusterId,
    /// The ids that it had before, the oldest first.
    pub was: Vec<ClusterId>,
    /// When.
    pub at: TimestampMs,
}

impl RecoveryRecord {
    /// One that begins now, after `before` if there was one. A recovery that was cut short keeps its id.
    pub(super) fn begin(before: Option<&Self>, was: ClusterId, fresh: ClusterId, at: TimestampMs) -> Self {
        if let Some(cut_short) = before.filter(|before| !before.is_finished) {
            return cut_short.clone();
        }
        let mut earlier = before.map(|before| before.was.clone()).unwrap_or_default();
        earlier.push(was);
        let was = earlier.split_off(earlier.len().saturating_sub(EARLIER_MAX));
        Self { is_finished: false, cluster: fresh, was, at }
    }

    /// Reads the record, if there is one.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        match SealedText::read(disk, RECOVERY) {
            Ok(text) => Self::decode(&text).map(Some).ok_or_else(|| damaged("a line is missing or malformed")),
            Err(ReadError::Missing) => Ok(None),
            Err(ReadError::Damaged(problem)) => Err(damaged(problem)),
            Err(ReadError::Io(error)) => Err(error),
        }
    }

    /// Writes it; durable on return.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let was: Vec<String> = self.was.iter().map(ToString::to_string).collect();
        SealedText::new(FORMAT)
            .with("state", if self.is_finished { "finished" } else { "begun" })
            .with("cluster", self.cluster)
            .with("was", was.join(","))
            .with("at_ms", self.at)
            .write(disk, RECOVERY)
    }

    fn decode(text: &SealedText) -> Option<Self> {
        let was = text.field("was")?.split(',').map(|id| id.parse().ok()).collect::<Option<Vec<_>>>()?;
        Some(Self {
            is_finished: text.field("state")? == "finished",
            cluster: text.field("cluster")?.parse().ok()?,
            was,
            at: TimestampMs(text.field("at_ms")?.parse().ok()?),
        })
    }
}

fn damaged(problem: &str) -> io::Error {
    io::Error::other(format!(
        "the record of a recovery, the file {RECOVERY}, is damaged ({problem}): restore it from a backup"
    ))
}

#[cfg(test)]
mod tests {
    use highwater_types::SystemRandom;

    use super::*;

    #[test]
    fn a_recovery_that_was_cut_short_keeps_its_id_and_later_ones_remember_all_before() {
        let [first, second, third] = [(); 3].map(|()| ClusterId::draw(&SystemRandom));
        let mut one = RecoveryRecord::begin(None, first, second, TimestampMs(1));
        assert_eq!(RecoveryRecord::begin(Some(&one), first, third, TimestampMs(2)), one);
        one.is_finished = true;
        let next = RecoveryRecord::begin(Some(&one), second, third, TimestampMs(2));
        assert_eq!((next.cluster, next.was), (third, vec![first, second]));
    }
}
