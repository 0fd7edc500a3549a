//! Tells the user on stderr how far it is, and what it waits for.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use highwater_client::{Producer, ProducerRecord};
use tokio::time::Instant;

use crate::output::{bytes, say};

/// How often progress is shown on a terminal.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// A trouble is told when it stands for so long.
const TROUBLE_AFTER: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Progress {
    quiet: bool,
    on_terminal: bool,
    bytes: u64,
    next_show: Instant,
    line_is_open: bool,
    trouble_since: Option<Instant>,
    told: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            on_terminal: io::stderr().is_terminal(),
            bytes: 0,
            next_show: Instant::now() + SHOW_EVERY,
            line_is_open: false,
            trouble_since: None,
            told: false,
        }
    }

    /// Counts a record's bytes.
    pub(crate) fn count(&mut self, record: &ProducerRecord) {
        let length = [&record.key, &record.value].into_iter().flatten().map(bytes::Bytes::len).sum::<usize>();
        self.bytes += u64::try_from(length).unwrap_or_default();
    }

    /// Bytes of keys and values so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Awaits something, and goes on telling meanwhile.
    pub(crate) async fn while_waiting<T>(&mut self, producer: &Producer, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => {
                    if self.next_show <= Instant::now() {
                        self.show(producer);
                    }
                    return output;
                }
                () = tokio::time::sleep_until(self.next_show) => self.show(producer),
            }
        }
    }

    /// Ends the line that is shown on a terminal.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.line_is_open) {
            say("");
        }
    }

    fn show(&mut self, producer: &Producer) {
        let now = Instant::now();
        self.next_show = now + SHOW_EVERY;
        if self.quiet {
            return;
        }
        match producer.last_error() {
            None => (self.trouble_since, self.told) = (None, false),
            Some(error) => {
                let since = *self.trouble_since.get_or_insert(now);
                if !self.told && now - since >= TROUBLE_AFTER {
                    self.told = true;
                    self.finish();
                    say(&format!("{error}; trying again"));
                }
            }
        }
        if self.on_terminal {
            self.line_is_open = true;
            let acked = producer.stats().records_acked;
            let mut err = io::stderr().lock();
            // A progress line that cannot be written is no loss.
            let _ = write!(err, "\r{acked} records acknowledged, {} read ", bytes(self.bytes));
            let _ = err.flush();
        }
    }
}
