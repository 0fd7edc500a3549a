//! Who a data directory belongs to: written at its birth, and again only when it becomes that of another member; checked at every start.
//!
//! ```text
//! highwater identity
//! format 1
//! cluster 6f1c2a9e-…          the cluster's UUID
//! node 1                      the node's number
//! incarnation 00c0ffee…       16 hexadecimal digits
//! created_ms 1760000000000    milliseconds since the Unix epoch
//! founder true                whether the node began the cluster; it joined it otherwise
//! replaces 00c0ffed…          the incarnation whose data is still to be set aside; only until that is done
//! crc32c 8f00a1b2
//! ```

use std::path::Path;

use highwater_types::{ClusterId, Incarnation, NodeId, TimestampMs};

use super::DirectoryOptions;
use super::error::DirectoryError;
use super::layout::IDENTITY;
use super::sealed_text::{ReadError, SealedText};
use crate::disk::Disk;

/// The version of the whole directory's layout. A directory of a higher version is refused.
pub const FORMAT_VERSION: u32 = 1;

/// Who a data directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// This life of the directory; another one after the directory was emptied.
    pub incarnation: Incarnation,
    /// When the directory was born, by the wall clock of that time.
    pub created: TimestampMs,
    /// Whether this directory began the cluster: only then may a node without metadata begin some.
    pub founder: bool,
    /// The incarnation before this one, while its data is being set aside: what lies in the directory may be its, not this one's.
    pub replaces: Option<Incarnation>,
}

impl Identity {
    /// Reads the identity of the directory on `disk`; `None` when it has none. Changes nothing.
    /// `root` is only for messages.
    ///
    /// # Errors
    /// When the identity is damaged, of a newer version, or cannot be read.
    pub fn read(disk: &dyn Disk, root: &Path) -> Result<Option<Self>, DirectoryError> {
        let damaged = |problem| DirectoryError::IdentityDamaged { path: root.to_path_buf(), problem };
        let text = match SealedText::read(disk, IDENTITY) {
            Ok(text) => text,
            Err(ReadError::Missing) => return Ok(None),
            Err(ReadError::Damaged(problem)) => return Err(damaged(problem)),
            Err(ReadError::Io(source)) => return Err(DirectoryError::from_io(root, source)),
        };
        if text.format > FORMAT_VERSION {
            let (path, found, supported) = (root.to_path_buf(), text.format, FORMAT_VERSION);
            return Err(DirectoryError::NewerFormat { path, found, supported });
        }
        Self::decode(&text).map(Some).ok_or_else(|| damaged("a line is missing or malformed"))
    }

    /// Writes the identity; durable on return.
    pub(super) fn write(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let text = SealedText::new(FORMAT_VERSION)
            .with("cluster", self.cluster)
            .with("node", self.node)
            .with("incarnation", self.incarnation)
            .with("created_ms", self.created)
            .with("founder", self.founder);
        let text = match self.replaces {
            Some(replaced) => text.with("replaces", replaced),
            None => text,
        };
        text.write(disk, IDENTITY)
    }

    /// Refuses the directory of another node or cluster.
    pub(super) fn check(&self, root: &Path, options: &DirectoryOptions) -> Result<(), DirectoryError> {
        let path = || root.to_path_buf();
        if let Some(expected) = options.cluster
            && expected != self.cluster
        {
            return Err(DirectoryError::OtherCluster { path: path(), expected, found: self.cluster });
        }
        if options.node != self.node {
            return Err(DirectoryError::OtherNode { path: path(), expected: options.node, found: self.node });
        }
        Ok(())
    }

    fn decode(text: &SealedText) -> Option<Self> {
        let incarnation = |text: &str| u64::from_str_radix(text, 16).ok().map(Incarnation);
        Some(Self {
            cluster: text.field("cluster")?.parse().ok()?,
            node: NodeId(text.field("node")?.parse().ok()?),
            incarnation: incarnation(text.field("incarnation")?)?,
            created: TimestampMs(text.field("created_ms")?.parse().ok()?),
            // A directory from before nodes could join began its cluster.
            founder: text.field("founder").is_none_or(|founder| founder == "true"),
            replaces: match text.field("replaces") {
                Some(replaced) => Some(incarnation(replaced)?),
                None => None,
            },
        })
    }
}
