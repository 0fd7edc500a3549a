//! A few seeds in the gate. `tests/simulation/README.md` has the long form.
//!
//! `HIGHWATER_MINUTES=n` runs seeds for so long, `HIGHWATER_SEED=n` begins with that one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a run says is shown with a failure")]

use std::env;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_simulation")).args(arguments).output();
    let output = output.expect("the program is built with its tests");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The line about the seed, which ends with the digest of all that happened.
fn story(seed: &str) -> String {
    let output = simulate(&["--seed", seed]);
    assert!(output.status.success(), "seed {seed} is broken");
    let told = String::from_utf8(output.stdout).expect("it prints text");
    told.lines().find(|line| line.contains("trace")).expect("a line about the seed").to_owned()
}

#[test]
fn a_seed_tells_the_same_story_twice_and_another_seed_another() {
    let first = story("1");
    assert_eq!(story("1"), first, "what happens does not follow from the seed alone");
    assert_ne!(story("2"), first);
}

#[test]
fn whatever_befalls_a_cluster_nothing_acknowledged_is_lost_and_it_heals() {
    let minutes = env::var("HIGHWATER_MINUTES").unwrap_or_else(|_| "2".to_owned());
    let seed = env::var("HIGHWATER_SEED").unwrap_or_else(|_| "100".to_owned());
    let output = simulate(&["--seed", &seed, "--seeds", "1000000", "--minutes", &minutes]);
    assert!(output.status.success(), "a promise was broken; the output has the command that shows it again");
}

#[test]
fn an_unknown_mutant_is_refused_with_the_names_of_all() {
    let output = simulate(&["--mutant", "no-such-bug"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ack-before-fsync"));
}
