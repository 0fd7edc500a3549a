//! Writes what each target starts from to `libfuzzer/corpus/<target>/`, where cargo-fuzz looks.
//!
//! Without it a coverage-guided search hardly gets anywhere: no magic number and no checksum is
//! found by chance, nor is a file longer than the longest input that it was given.

use std::{fs, io};

use highwater_fuzz::TARGETS;

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn main() -> io::Result<()> {
    for target in TARGETS {
        let directory = format!("{}/libfuzzer/corpus/{}", env!("CARGO_MANIFEST_DIR"), target.name);
        fs::create_dir_all(&directory)?;
        let seeds = (target.seeds)();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(format!("{directory}/seed-{number:02}"), seed)?;
        }
        println!("{}: {} to start from", target.name, seeds.len());
    }
    Ok(())
}
