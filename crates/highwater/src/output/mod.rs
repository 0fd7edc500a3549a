//! Results for people (aligned columns) and for programs (JSON), to a locked stdout; everything else to stderr.

mod progress;
mod screen;
mod table;
mod units;

use std::io::{self, Write};

use serde::Serialize;

use crate::error::CliError;

pub(crate) use progress::Progress;
pub(crate) use screen::{Screen, Tone};
pub(crate) use table::{Cell, Table};
pub(crate) use units::{bytes, counted, span};

/// Writes one JSON value and a newline.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes text as it is.
pub(crate) fn print_text(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Says something to the user beside the results. When stderr is gone, it is lost.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
