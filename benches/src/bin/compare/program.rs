//! A program of the peers' own that is run and whose output is read.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use highwater_benches::BenchError;

/// How much of what a program said goes into an error.
const SAID_CHARS_MAX: usize = 600;

/// See the module.
pub(crate) struct Program(PathBuf);

impl Program {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Runs it to its end; returns what it printed.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<String, BenchError> {
        let mut command = Command::new(&self.0);
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().map_err(BenchError::io(format!("running {}", self.0.display())))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let said = printed + &String::from_utf8_lossy(&output.stderr);
        let skipped = said.chars().count().saturating_sub(SAID_CHARS_MAX);
        Err(BenchError::Program {
            program: self.0.display().to_string(),
            status: output.status.to_string(),
            said: said.chars().skip(skipped).collect(),
        })
    }

    /// The number behind the last `label` in what it printed.
    pub(crate) fn number_after(&self, output: &str, label: &str) -> Result<f64, BenchError> {
        let rest = output.rsplit_once(label).map(|(_, rest)| rest);
        let digits = |rest: &str| rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest.and_then(|rest| rest[..digits(rest)].parse().ok()).ok_or_else(|| BenchError::Output {
            program: self.0.display().to_string(),
            label: label.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_behind_the_last_label_is_read() {
        let program = Program::new("p");
        let output = "5 records sent, 1.0 records/sec\n10 records sent, 20.5 records/sec (1 MB/sec)\n";
        assert_eq!(program.number_after(output, "10 records sent, ").unwrap(), 20.5);
        assert!(program.number_after(output, "11 records sent, ").is_err());
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_what_it_said() {
        let error = Program::new("sh").run(["-c", "echo it broke >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().contains("it broke"), "{error}");
    }
}
