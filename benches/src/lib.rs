//! What the measuring programs share: a node in a process of its own, what it cost, and
//! quantiles.
//!
//! Nothing here judges a number.

mod node;
mod quantiles;
mod usage;

pub use node::Node;
pub use quantiles::Quantiles;
pub use usage::Usage;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The machine refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// The node did not become ready.
    #[error("the node was not ready within {seconds} s; what it printed is in {log}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// Where its output is.
        log: String,
    },
    /// `/proc` has not what Linux has.
    #[error("{path} cannot be understood")]
    Proc {
        /// The file.
        path: String,
    },
    /// A call of the client failed.
    #[error(transparent)]
    Client(#[from] highwater_client::ClientError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] highwater_storage::OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] highwater_storage::StoreError),
    /// A log refused or failed.
    #[error(transparent)]
    Log(#[from] highwater_storage::LogError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] highwater_storage::journal::JournalError),
    /// A batch cannot be built.
    #[error(transparent)]
    Records(#[from] highwater_records::RecordsError),
    /// A task ended without its answer.
    #[error("a task ended without its answer")]
    Gone,
}

impl BenchError {
    /// Wraps what the machine said.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
