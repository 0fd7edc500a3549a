//! How far something is, on stderr: on a terminal one line that is written over, elsewhere a line when there is news, and not
//! more of them than somebody reads. What it says is never a result.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::screen::width_of;
use super::units::span;

/// Between two lines where lines cannot be written over.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// See the module. Dropping it takes its line away.
#[derive(Debug)]
pub(crate) struct Progress {
    is_live: bool,
    began: Instant,
    said: String,
    said_at: Option<Instant>,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn start() -> Self {
        let is_live = io::stderr().is_terminal();
        Self { is_live, began: Instant::now(), said: String::new(), said_at: None }
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How far it is now. When stderr is gone, it is lost.
    pub(crate) fn show(&mut self, state: &str) {
        let now = Instant::now();
        if self.is_live {
            let line = format!("{state} ({})", span(self.elapsed()));
            let width = width_of(&io::stderr()).map_or(usize::MAX, |width| width.saturating_sub(1));
            let line: String = line.chars().take(width).collect();
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\u{1b}[K{line}").and_then(|()| err.flush());
            self.said_at = Some(now);
        } else if self.said != state && self.said_at.is_none_or(|at| now >= at + BETWEEN_LINES) {
            let _ = writeln!(io::stderr().lock(), "{state}");
            state.clone_into(&mut self.said);
            self.said_at = Some(now);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_live && self.said_at.is_some() {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\u{1b}[K").and_then(|()| err.flush());
        }
    }
}
