//! Prints where each record is, once it is safe there: one line for each, in the order of the input.
//!
//! A record that was not delivered has no line; why is told at the end. A reader that takes nothing holds the input up.

use std::future::ready;
use std::io::{self, Write};
use std::pin::pin;

use highwater_client::{Delivered, Delivery};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::OutputFormat;
use crate::error::CliError;

/// Records whose lines may be outstanding.
const RECORDS_MAX: usize = 16 * 1024;
/// Lines that are written at once at most.
const LINES_AT_ONCE_MAX: usize = 1024;

/// See the module. Prints nothing when nobody wants it.
pub(super) struct Acks {
    printing: Option<Printing>,
}

/// The task that prints, and the way to it.
struct Printing {
    records: mpsc::Sender<Delivery>,
    ended: JoinHandle<Result<(), CliError>>,
}

impl Acks {
    /// Prints nothing.
    pub(super) fn none() -> Self {
        Self { printing: None }
    }

    /// Prints the acknowledgements of a topic's records. Must be called within a Tokio runtime.
    pub(super) fn print(topic: String, format: OutputFormat) -> Self {
        let (records, taken) = mpsc::channel(RECORDS_MAX);
        let ended = tokio::spawn(print_all(topic, format, taken));
        Self { printing: Some(Printing { records, ended }) }
    }

    /// Takes a record on its way. Nothing more is printed when nobody reads the lines any more: the records go on.
    pub(super) async fn take(&self, delivery: Delivery) {
        if let Some(printing) = &self.printing {
            // It may have ended; why, it says at the end.
            let _ = printing.records.send(delivery).await;
        }
    }

    /// Waits until every line is out.
    ///
    /// # Errors
    /// When they could not be written.
    pub(super) async fn finish(self) -> Result<(), CliError> {
        let Some(Printing { records, ended }) = self.printing else { return Ok(()) };
        drop(records);
        ended.await.map_err(|ended| CliError::Output(io::Error::other(ended)))?
    }
}

async fn print_all(
    topic: String,
    format: OutputFormat,
    mut deliveries: mpsc::Receiver<Delivery>,
) -> Result<(), CliError> {
    let mut taken = Vec::new();
    while deliveries.recv_many(&mut taken, LINES_AT_ONCE_MAX).await > 0 {
        let mut lines = String::new();
        for delivery in taken.drain(..) {
            let mut wait = pin!(delivery.wait());
            let delivered = tokio::select! {
                biased;
                delivered = &mut wait => delivered,
                // What is known is not held up by what is not.
                () = ready(()) => {
                    write(std::mem::take(&mut lines)).await?;
                    wait.await
                }
            };
            if let Ok(delivered) = delivered {
                lines.push_str(&line(&topic, delivered, format));
            }
        }
        write(lines).await?;
    }
    Ok(())
}

/// On a thread of its own: whoever reads the lines may take their time.
async fn write(lines: String) -> Result<(), CliError> {
    if lines.is_empty() {
        return Ok(());
    }
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = io::stdout().lock();
        out.write_all(lines.as_bytes())?;
        out.flush()
    });
    let written = writing.await.map_err(|ended| CliError::Output(io::Error::other(ended)))?;
    Ok(written?)
}

#[derive(Serialize)]
struct JsonLine<'a> {
    topic: &'a str,
    partition: u32,
    offset: i64,
}

fn line(topic: &str, delivered: Delivered, format: OutputFormat) -> String {
    let Delivered { partition, offset } = delivered;
    match format {
        OutputFormat::Table => format!("{topic}-{partition} {offset}\n"),
        OutputFormat::Json => {
            let line = JsonLine { topic, partition: partition.0, offset: offset.0 };
            // Numbers and a string.
            let line = serde_json::to_string(&line).expect("they have a JSON");
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::{Offset, PartitionIndex};

    use super::*;

    #[test]
    fn a_line_names_the_partition_and_the_offset() {
        let delivered = Delivered { partition: PartitionIndex(2), offset: Offset(17) };
        assert_eq!(line("orders", delivered, OutputFormat::Table), "orders-2 17\n");
        let json = line("orders", delivered, OutputFormat::Json);
        assert_eq!(json, "{\"topic\":\"orders\",\"partition\":2,\"offset\":17}\n");
    }
}
