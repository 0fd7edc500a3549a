//! Kills a real node under load and checks every acknowledged record afterwards.
//!
//! [`node`] runs the `highwater` binary as a user would; [`workload`] produces and keeps the ledger of
//! what was acknowledged; [`check`] reads everything back and compares; [`power`] cuts the power of a loop-mounted
//! file system. The scenarios stand in `tests/`, the long form in `main.rs`. Tests of whole clusters use the same nodes, disks
//! and faults.

pub mod check;
pub mod faults;
pub mod node;
pub mod power;
pub mod scenario;
pub mod workload;

/// What went wrong with the run itself, or what a node did wrong.
#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    /// The machine refused something that the run needs.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// A command that the run needs failed.
    #[error("{command} failed with {status}:\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },
    /// The node did not come up in time.
    #[error("the node did not answer within {seconds} s; its log:\n{log}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// What it printed.
        log: String,
    },
    /// A client call failed although the node was up.
    #[error(transparent)]
    Client(#[from] highwater_client::ClientError),
    /// A promise was broken.
    #[error("BROKEN PROMISE: {0}")]
    Broken(String),
}

impl CrashError {
    /// Says what was being done when the machine refused.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }
}
