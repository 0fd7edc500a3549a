//! Why a node does not start or failed while it ran. Each message says what to do.

use std::io;
use std::net::SocketAddr;

use highwater_broker::BrokerError;
use highwater_storage::OpenError;
use highwater_storage::directory::DirectoryError;
use highwater_types::ErrorCode;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store in the data directory cannot be opened.
    #[error("the data cannot be opened: {0}")]
    Store(#[from] OpenError),
    /// Another process listens there.
    #[error("{listener} cannot listen on {address}: another process does; stop it, or choose another port")]
    PortInUse {
        /// Which listener.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Everybody could reach the listener, and it has no TLS and no authentication.
    #[error(
        "{listener} must not listen on {address}: whoever reaches that address could read and write everything. \
         Listen on 127.0.0.1, or say that it is meant with --insecure"
    )]
    NotLoopback {
        /// Which listener.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error(
        "{listener} cannot listen on {address}: {source}; is it an address of this machine, and the port free to use?"
    )]
    Bind {
        /// Which listener.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no more threads.
    #[error("a thread for the other nodes cannot be started: {0}; is the process limited in threads?")]
    Thread(#[source] io::Error),
    /// The broker did not come up.
    #[error("the node cannot serve: {0}")]
    Broker(#[from] BrokerError),
    /// It failed as a running node can.
    #[error(transparent)]
    Failed(#[from] NodeFailure),
    /// The API's description, compiled in, is not usable: a broken build.
    #[error("the built-in API description cannot be read: {0}; this build is broken")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Why a running node had to end at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFailure {
    /// A write or a sync of the journal failed: what the page cache shows is no longer what the disk
    /// holds. The next start recovers from what is durable.
    #[error(
        "the disk failed: {reason}. Nothing that was acknowledged is lost; check the disk, then start the node again"
    )]
    Disk {
        /// What failed.
        reason: String,
    },
    /// What is stored is damaged, and the cluster goes on without it by now.
    #[error(
        "what this node has stored is damaged, and the cluster goes on without it: start the node again, and it sets the data aside and \
         comes back as a new member"
    )]
    Spared,
    /// The cluster goes on without this node: it was removed, its data directory was replaced by another, or it was left behind
    /// when the cluster lost its majority. It can only come back with an empty data directory.
    #[error("the cluster goes on without this node: {reason}")]
    ShutOut {
        /// What the cluster says.
        reason: String,
    },
    /// A listener ended by itself.
    #[error("the {listener} listener failed: {reason}")]
    Listener {
        /// Which listener.
        listener: &'static str,
        /// What happened.
        reason: String,
    },
}

/// What went wrong while a node shut down. Nothing that was acknowledged is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The last checkpoint failed; the next start replays the journal.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The directory could not be marked as cleanly closed.
    #[error("the data directory could not be marked as cleanly closed: {0}")]
    MarkClean(io::Error),
}

impl ShutdownError {
    /// Whether the disk failed under the last checkpoint, which is more than being full.
    pub fn is_disk_failure(&self) -> bool {
        match self {
            Self::Broker(error) => error.code != ErrorCode::NoSpace,
            Self::MarkClean(_) => false,
        }
    }
}
