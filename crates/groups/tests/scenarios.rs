//! The state machine by examples: `scenarios/*.txt` say what is asked and what then is logged, answered and woken.
//!
//! A line that is not indented is a step, what is indented below it is its outcome, `#` begins a comment. The steps
//! are in [`support::script`]. `UPDATE_SCENARIOS=1` writes down what happens now; read the difference.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use support::script::play;

fn scenarios() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The lines in which two texts differ, with what is around them.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same_start = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let rest = expected.len().min(actual.len()) - same_start;
    let ends = expected.iter().rev().zip(actual.iter().rev());
    let same_end = ends.take(rest).take_while(|(a, b)| a == b).count();
    let mut shown = String::new();
    for line in &expected[same_start.saturating_sub(5)..same_start] {
        writeln!(shown, "    {line}").unwrap();
    }
    for line in &expected[same_start..expected.len() - same_end] {
        writeln!(shown, "  - {line}").unwrap();
    }
    for line in &actual[same_start..actual.len() - same_end] {
        writeln!(shown, "  + {line}").unwrap();
    }
    shown
}

#[test]
fn every_scenario_has_the_outcome_that_is_written_down() {
    let mut wrong = String::new();
    let paths = scenarios();
    assert!(paths.len() >= 20, "only {} scenarios", paths.len());
    for path in paths {
        let expected = fs::read_to_string(&path).unwrap();
        let actual = play(&expected);
        if expected != actual {
            match std::env::var_os("UPDATE_SCENARIOS") {
                Some(_) => fs::write(&path, actual).unwrap(),
                None => {
                    let name = path.file_name().unwrap().to_string_lossy();
                    writeln!(wrong, "{name}:\n{}", difference(&expected, &actual)).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "UPDATE_SCENARIOS=1 writes these down as they are now:\n{wrong}");
}
