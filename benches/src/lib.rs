//! What the measuring programs share: a node or a cluster in processes of their own, what they cost, a steady load, and
//! quantiles.
//!
//! Nothing here judges a number.

mod administration;
mod cluster;
mod node;
mod place;
mod quantiles;
mod steady_load;
mod usage;

pub use administration::{Moved, create_topic, fill, move_replica, rate_taken, until_mode_done};
pub use cluster::LocalCluster;
pub use node::Node;
pub use place::Place;
pub use quantiles::Quantiles;
pub use steady_load::{LoadShape, Probe, Probes, SteadyLoad};
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
    /// The node does not end.
    #[error("the node did not end within {seconds} s of being asked to; what it printed is in {log}")]
    NotEnded {
        /// How long it was waited for.
        seconds: u64,
        /// Where its output is.
        log: String,
    },
    /// The cluster does not come to what it was asked for.
    #[error("{what} was not done within {seconds} s; {waits_for}")]
    NotDone {
        /// What it was asked for.
        what: String,
        /// How long it was waited for.
        seconds: u64,
        /// What it says that it waits for.
        waits_for: String,
    },
    /// `/proc` has not what Linux has.
    #[error("{path} cannot be understood")]
    Proc {
        /// The file.
        path: String,
    },
    /// A program that was run failed.
    #[error("{program} ended with {status}; the end of what it said:\n{said}")]
    Program {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        said: String,
    },
    /// A program did not print the number that it is run for.
    #[error(
        "{program} printed no number behind {label:?}: it is not the program that was expected, or another version"
    )]
    Output {
        /// The program.
        program: String,
        /// What the number should stand behind.
        label: String,
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
