//! The short form, for every change; the long one is `cargo run --release -p highwater-chaos`.
//!
//! It takes root. Where the machine cannot, it says so; where `CI` is set that is a failure, for there it must run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::process::Command;

use highwater_chaos::needs;

#[test]
fn faults_under_load_break_no_promise() {
    if let Err(reason) = needs::of_all_faults() {
        assert!(std::env::var_os("CI").is_none(), "in CI this must run: {reason}");
        println!("SKIPPED: {reason}");
        return;
    }
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_highwater-chaos"));
    chaos.arg("--short");
    if let Ok(seed) = std::env::var("HIGHWATER_SEED") {
        chaos.args(["--seed", &seed]);
    }
    let output = chaos.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
