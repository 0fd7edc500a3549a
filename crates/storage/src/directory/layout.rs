//! The names in a data directory, in one place.

use std::path::PathBuf;

use highwater_types::GroupId;

/// The shared write-ahead journal's files.
pub const JOURNAL: &str = "journal";
/// Checkpoints of what the journal no longer holds.
pub const CHECKPOINT: &str = "checkpoint";
/// One directory for each partition, by topic id, with its segments.
pub const TOPICS: &str = "topics";
/// Markers of files that could not be read; each is named after its file.
pub const QUARANTINE: &str = "quarantine";
/// Who the directory belongs to.
pub const IDENTITY: &str = "identity";
/// Whom a node that was born by command asks for its cluster until it knows it.
pub const BIRTH: &str = "birth";
/// That the node went on alone from a cluster that lost its majority.
pub const RECOVERY: &str = "recovery";
/// Whether the last process ended cleanly, and on which boot of the machine it ran.
pub const BOOT: &str = "boot";
/// Held locked by the process that uses the directory; contains its pid.
pub const LOCK: &str = "lock";

/// The directories that exist from birth on: they are durable before the identity is.
pub const SKELETON: [&str; 4] = [JOURNAL, CHECKPOINT, TOPICS, QUARANTINE];

/// What is appended to a file's name while its next version is being written.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// What a fresh file system has in its root by itself.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

/// The directory of a group's segments: by topic id, so that a topic that is created again under its
/// name never meets the data of the first (R10).
pub fn group_directory(id: GroupId) -> PathBuf {
    match id {
        GroupId::Metadata => PathBuf::from(TOPICS).join("metadata"),
        GroupId::Partition(partition) => {
            PathBuf::from(TOPICS).join(partition.topic.to_string()).join(partition.index.to_string())
        }
    }
}
