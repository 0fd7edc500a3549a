//! The three offsets that bound a partition's log.

use highwater_types::Offset;

/// `log_start ≤ high_watermark ≤ log_end`. All three are exclusive ends or inclusive
/// starts: `log_start` is the first readable offset, `high_watermark` the first that is
/// not committed, `log_end` the first that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    log_start: Offset,
    high_watermark: Offset,
    log_end: Offset,
}

impl Watermarks {
    /// # Panics
    /// When the order is broken.
    pub fn new(log_start: Offset, high_watermark: Offset, log_end: Offset) -> Self {
        assert!(
            log_start <= high_watermark && high_watermark <= log_end,
            "log start {log_start} ≤ high watermark {high_watermark} ≤ log end {log_end} is broken"
        );
        Self { log_start, high_watermark, log_end }
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The first offset that is not committed; all below is durable on a majority.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The first offset that is not written.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }
}
