//! The life of a process that is a node, whichever command starts it.
//!
//! The first Ctrl-C or SIGTERM ends it in good order; a second one ends it at once, which loses
//! nothing either: the next start recovers. When the disk fails it ends with a code of its own.

use highwater_server::{Node, NodeConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;
use crate::output::say;

/// How the shell reports a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// How the process speaks while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// To a terminal, or to a log that people read.
    Words,
    /// As entries of the log, for programs.
    Log,
}

/// Runs a node until it is told to stop, or fails. `announce` is called once it serves.
pub(crate) async fn run(
    config: NodeConfig,
    voice: Voice,
    announce: impl FnOnce(&Node) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut stop = StopSignals::new().map_err(CliError::Start)?;
    let node = tokio::select! {
        started = Node::start(config) => started.map_err(CliError::NodeStart)?,
        // Nothing was promised to anybody yet.
        () = stop.received() => return Ok(()),
    };
    announce(&node)?;
    tokio::select! {
        failure = node.failed() => return Err(CliError::NodeFailed(failure)),
        () = stop.received() => {}
    }
    voice.say("stopping; press Ctrl-C again to stop at once");
    tokio::select! {
        ended = node.shutdown() => ended.map_err(CliError::NodeShutdown)?,
        () = stop.received() => std::process::exit(INTERRUPTED),
    }
    voice.say("stopped");
    Ok(())
}

impl Voice {
    fn say(self, text: &str) {
        match self {
            Self::Words => say(text),
            Self::Log => tracing::info!("{text}"),
        }
    }
}

/// Ctrl-C and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
