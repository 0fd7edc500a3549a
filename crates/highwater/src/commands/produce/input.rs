//! Reads records from files or stdin on a thread of its own, a bounded number ahead.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use highwater_client::ProducerRecord;
use highwater_types::limits::BATCH_BYTES_MAX;
use tokio::sync::mpsc;

use crate::commands::produce::InputFormat;
use crate::commands::produce::json_record;
use crate::error::CliError;

/// Records that are read ahead.
const RECORDS_MAX: usize = 1024;
/// Longest line. Base64 and escapes make JSON longer than the record in it.
const LINE_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

type Records = mpsc::Sender<Result<ProducerRecord, CliError>>;

/// See the module.
pub(crate) struct Input {
    records: mpsc::Receiver<Result<ProducerRecord, CliError>>,
}

impl Input {
    /// Starts to read. The thread ends with its input, at the first error, or when this is dropped.
    pub(crate) fn open(files: Vec<PathBuf>, format: InputFormat) -> Self {
        let (sender, records) = mpsc::channel(RECORDS_MAX);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read_all(&files, format, &sender) {
                // When nobody listens any more there is nobody to tell.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { records }
    }

    /// The next record. `None` at the end; an error is the last. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Result<ProducerRecord, CliError>> {
        self.records.recv().await
    }
}

fn read_all(files: &[PathBuf], format: InputFormat, out: &Records) -> Result<(), CliError> {
    if files.is_empty() {
        return read(io::stdin().lock(), "stdin", format, out);
    }
    for path in files {
        if path == Path::new("-") {
            read(io::stdin().lock(), "stdin", format, out)?;
            continue;
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|cause| CliError::Input { name: name.clone(), cause })?;
        read(BufReader::with_capacity(BUFFER_BYTES, file), &name, format, out)?;
    }
    Ok(())
}

/// Reads one source to its end.
fn read(mut source: impl BufRead, name: &str, format: InputFormat, out: &Records) -> Result<(), CliError> {
    let bad_line = |line, reason| CliError::BadLine { name: name.to_owned(), line, reason };
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    for number in 1.. {
        let mut line = Vec::new();
        let read = source.by_ref().take(limit + 1).read_until(b'\n', &mut line);
        if read.map_err(|cause| CliError::Input { name: name.to_owned(), cause })? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > LINE_BYTES_MAX {
            return Err(bad_line(number, format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let record = match format {
            InputFormat::Lines => ProducerRecord::value(line),
            InputFormat::Json if line.trim_ascii().is_empty() => continue,
            InputFormat::Json => {
                json_record::parse(&line).map_err(|error| bad_line(number, error.to_string()))?
            }
        };
        if out.blocking_send(Ok(record)).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_text(text: &'static [u8], format: InputFormat) -> Vec<Result<ProducerRecord, String>> {
        let (sender, mut records) = mpsc::channel(100);
        let reader = tokio::task::spawn_blocking(move || {
            if let Err(error) = read(text, "input", format, &sender) {
                sender.blocking_send(Err(error)).expect("the test listens");
            }
        });
        let mut all = Vec::new();
        while let Some(record) = records.recv().await {
            all.push(record.map_err(|error| error.to_string()));
        }
        reader.await.expect("the reader ends");
        all
    }

    #[tokio::test]
    async fn each_line_is_a_value_byte_for_byte() {
        let records = read_text(b"a\r\n\n\xff\x00\nlast", InputFormat::Lines).await;
        let expected: [&[u8]; 4] = [b"a\r", b"", b"\xff\x00", b"last"];
        assert_eq!(records, expected.map(|value| Ok(ProducerRecord::value(value))));
    }

    #[tokio::test]
    async fn a_bad_line_is_named_by_its_number_and_ends_the_input() {
        let text = b"{\"value\":\"a\"}\n\n{\"value\":\"b\"}\n{\"value\" 1}\n{\"value\":\"c\"}\n";
        let records = read_text(text, InputFormat::Json).await;
        assert_eq!(records[..2], [Ok(ProducerRecord::value("a")), Ok(ProducerRecord::value("b"))]);
        let error = records[2].as_ref().expect_err("bad JSON");
        assert!(error.starts_with("input, line 4: "), "{error}");
        assert_eq!(records.len(), 3);
    }
}
