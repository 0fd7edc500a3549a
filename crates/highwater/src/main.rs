//! The highwater binary: one command line for the node and for its users.
//!
//! It parses arguments, runs one command and turns its outcome into an exit code: 0 it worked, 1 it failed,
//! 2 the command line is wrong. Records and results go to stdout, everything else to stderr.

mod cli;
mod commands;
mod error;
mod logging;
mod output;
mod settings;
mod views;

use std::io::{self, Write as _};
use std::process::ExitCode;

use error::CliError;

fn main() -> ExitCode {
    match commands::run(cli::parse()) {
        // Whoever read our output has enough of it.
        Ok(()) | Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            // When stderr is gone there is nobody left to tell.
            let _ = writeln!(io::stderr().lock(), "error: {error}");
            if let Some(hint) = error.hint() {
                let _ = writeln!(io::stderr().lock(), "hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
