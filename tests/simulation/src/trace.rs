//! What happened, line by line: what two runs of one seed must have in common, and what explains a failure.

use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;

/// The lines of one run.
#[derive(Default)]
pub(crate) struct Trace {
    lines: Mutex<Vec<String>>,
    echoes: bool,
}

impl Trace {
    /// An empty trace, which also shows each line at once if it `echoes`.
    pub(crate) fn new(echoes: bool) -> Self {
        Self { lines: Mutex::default(), echoes }
    }

    /// Adds a line, from inside a simulated host.
    pub(crate) fn note(&self, what: impl Display) {
        self.note_at(turmoil::sim_elapsed().unwrap_or(Duration::ZERO), what);
    }

    /// Adds a line, from outside.
    #[allow(clippy::print_stderr, reason = "a program for the terminal")]
    pub(crate) fn note_at(&self, at: Duration, what: impl Display) {
        let line = format!("{:>9.3} {what}", at.as_secs_f64());
        if self.echoes {
            eprintln!("{line}");
        }
        self.lines.lock().push(line);
    }

    /// The last lines.
    pub(crate) fn tail(&self, count: usize) -> Vec<String> {
        let lines = self.lines.lock();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }

    /// A number that two traces share only when they are equal (FNV-1a).
    pub(crate) fn digest(&self) -> u64 {
        let lines = self.lines.lock();
        let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}
