//! Why a data directory was refused. Each message says what was found and what to do.

use std::io;
use std::path::{Path, PathBuf};

use highwater_types::{ClusterId, NodeId};

/// A data directory could not be opened. Unless it says otherwise, nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The path is a file.
    #[error("{} is not a directory: choose a directory for the data", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds files of something else.
    #[error(
        "{} is not empty and not a Highwater data directory (it holds {found}): \
         choose an empty directory or one that does not exist yet",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Some of the names that do not belong.
        found: String,
    },
    /// The directory holds data, but not the file that says whose.
    #[error(
        "{} holds data ({found}) but its identity file is missing: restore the file from a backup; \
         it is never made anew over existing data",
        path.display()
    )]
    IdentityMissing {
        /// The directory.
        path: PathBuf,
        /// The names that hold data.
        found: String,
    },
    /// The identity exists, but a directory that was made before it is gone.
    #[error(
        "data directory {} lacks its directory {missing}: part of the data was removed; \
         restore it, or start this node anew in an empty directory",
        path.display()
    )]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The directory within it that is missing.
        missing: &'static str,
    },
    /// The identity file cannot be trusted.
    #[error(
        "the identity file of data directory {} is damaged ({problem}): restore it from a backup",
        path.display()
    )]
    IdentityDamaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A later version of Highwater wrote the directory.
    #[error(
        "data directory {} has format version {found}, and this version of Highwater reads up to {supported}: \
         use the version that wrote it, or a newer one",
        path.display()
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
    },
    /// The directory belongs to another node.
    #[error(
        "data directory {} belongs to node {found}, not to node {expected}: check the node id and the directory",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node that was configured.
        expected: NodeId,
        /// The node that the directory names.
        found: NodeId,
    },
    /// The directory belongs to another cluster.
    #[error(
        "data directory {} belongs to cluster {found}, not to cluster {expected}: \
         check the cluster id and the directory",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster that was configured.
        expected: ClusterId,
        /// The cluster that the directory names.
        found: ClusterId,
    },
    /// A recovery was begun and not finished.
    #[error(
        "data directory {} is half recovered: type `highwater recover --unsafe` for it again, which finishes that",
        path.display()
    )]
    RecoveryCutShort {
        /// The directory.
        path: PathBuf,
    },
    /// Another process uses the directory.
    #[error("data directory {} is in use by {}: stop it first, or choose another directory", path.display(), holder(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, when it has said so yet.
        pid: Option<u32>,
    },
    /// This user may not write there, or nobody may.
    #[error(
        "data directory {} cannot be read and written ({source}): give this user read and write permission on it \
         and on all in it, mount its file system read-write, or choose another directory",
        path.display()
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The refused operation.
        source: io::Error,
    },
    /// The disk failed in another way. What was being written is finished or redone at the next start.
    #[error("data directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The failed operation.
        source: io::Error,
    },
}

impl DirectoryError {
    /// The error for a failed disk operation.
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, source }
            }
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { path, source },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
