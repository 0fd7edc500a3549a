//! The life of a process that is a node, whichever command starts it.
//!
//! The first Ctrl-C or SIGTERM ends it in good order; a second one ends it at once, which loses
//! nothing either: the next start recovers. When the disk fails it ends with a code of its own. A node that `dev` or
//! `tour` started also ends in good order when its standard input does, which is when whoever started it ended.

use std::io;

use highwater_server::{Node, NodeConfig, NodeFailure, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::CliError;
use crate::output::say;

/// How the shell reports a process that Ctrl-C ended.
pub(crate) const INTERRUPTED: i32 = 130;

/// How the process speaks while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// To a terminal, or to a log that people read.
    Words,
    /// As entries of the log, for programs.
    Log,
}

/// What ends the process in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopWhen {
    /// Ctrl-C or SIGTERM.
    Told,
    /// These, and the end of standard input.
    ToldOrInputEnds,
}

/// Runs a node until it is told to stop, or fails. `announce` is called once it serves.
pub(crate) async fn run(
    config: NodeConfig,
    voice: Voice,
    stop_when: StopWhen,
    announce: impl FnOnce(&Node) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut stop = StopSignals::new(stop_when).map_err(CliError::Start)?;
    let node = tokio::select! {
        started = Node::start(config) => started.map_err(not_started)?,
        // Nothing was promised to anybody yet.
        () = stop.received() => return Ok(()),
    };
    announce(&node)?;
    tokio::select! {
        failure = node.failed() => {
            if matches!(failure, NodeFailure::ShutOut { .. }) {
                answer_the_last(node, &mut stop).await;
            }
            return Err(CliError::NodeFailed(failure));
        }
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

/// Why it did not start; what can also happen to a running node ends with the same code.
fn not_started(error: StartError) -> CliError {
    match error {
        StartError::Failed(failure) => CliError::NodeFailed(failure),
        error => CliError::NodeStart(error),
    }
}

/// Ends a node whose disk is well, but which has no cluster any more: what was asked of it is still answered, such as its own removal.
async fn answer_the_last(node: Node, stop: &mut StopSignals) {
    tokio::select! {
        ended = node.shutdown() => {
            if let Err(error) = ended {
                tracing::warn!(%error, "the node did not end as it should");
            }
        }
        () = stop.received() => {}
    }
}

impl Voice {
    fn say(self, text: &str) {
        match self {
            Self::Words => say(text),
            Self::Log => tracing::info!("{text}"),
        }
    }
}

/// Ctrl-C and SIGTERM, and the end of standard input if that counts.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    input_end: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    pub(crate) fn new(stop_when: StopWhen) -> io::Result<Self> {
        let input_end = match stop_when {
            StopWhen::Told => None,
            StopWhen::ToldOrInputEnds => Some(watch_input()?),
        };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, input_end })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn received(&mut self) {
        let ended = async {
            match &mut self.input_end {
                Some(end) => {
                    // Either way nobody is at the other end any more.
                    let _ = end.await;
                }
                None => std::future::pending().await,
            }
        };
        let input_ended = tokio::select! {
            _ = self.interrupt.recv() => false,
            _ = self.terminate.recv() => false,
            () = ended => true,
        };
        if input_ended {
            // It ends once.
            self.input_end = None;
        }
    }
}

/// Tells when standard input ends. Its thread waits in a read for as long as the process lives.
fn watch_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        // Nothing is expected there, and an error ends it too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // Nobody listens when the process ends already.
        let _ = ended.send(());
    })?;
    Ok(end)
}
