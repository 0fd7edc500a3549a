//! The highwater binary: one command line for the node and for its users.
//!
//! It parses arguments, runs one command and turns its outcome into an exit code: 0 it worked, 1 it failed,
//! 2 the command line is wrong. Records and results go to stdout, everything else to stderr.

mod cli;
mod commands;
mod error;
mod output;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use cli::Cli;
use error::CliError;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter =
        EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new(cli.command.log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match commands::run(cli) {
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
