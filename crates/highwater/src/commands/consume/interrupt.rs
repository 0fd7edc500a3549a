//! Ctrl-C, and the signal that asks a process to end: the first one is waited for, the second one ends the process at once, also
//! one whose output nobody takes.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{CliError, INTERRUPTED};

/// See the module.
#[derive(Debug)]
pub(super) struct Interrupt {
    came: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes the signals from here on. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the process cannot be told of them.
    pub(super) fn start() -> Result<Self, CliError> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Start)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Start)?;
        let (tell, came) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if tell.send_replace(true) {
                    std::process::exit(INTERRUPTED.into());
                }
            }
        });
        Ok(Self { came })
    }

    /// Until the first one. Cancel-safe.
    pub(super) async fn wait(&mut self) {
        // The sender lives as long as the runtime.
        let _ = self.came.wait_for(|came| *came).await;
    }
}
