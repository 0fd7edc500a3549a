//! Every fuzz target takes thousands of mutations of valid input without a panic.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use highwater_fuzz::mutation::{Choices, mutate};
use highwater_fuzz::{TARGETS, Target};

const CASES: u64 = 20_000;

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

/// Says how to repeat the case it guards, if that panics.
struct Case<'a> {
    target: &'a Target,
    seed: u64,
    case: u64,
    input: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let Self { target, seed, case, input } = self;
        let path = format!("{}/{}-{seed}-{case}", env!("CARGO_TARGET_TMPDIR"), target.name);
        let written = fs::write(&path, input);
        println!(
            "{}: replay with HIGHWATER_SEED={seed} HIGHWATER_CASE={case}; input: {path} {written:?}",
            target.name
        );
    }
}

fn run(target: &Target, seed: u64, case: u64, seeds: &[Vec<u8>]) {
    let input = mutate(seeds, &mut Choices::new(seed, case));
    let _guard = Case { target, seed, case, input: &input };
    (target.run)(&input);
}

#[test]
fn mutated_input_never_makes_a_parser_panic() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("HIGHWATER_SEED").unwrap_or(now.as_nanos() as u64);
    println!("replay with HIGHWATER_SEED={seed}");
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has something to start from", target.name);
        seeds.iter().for_each(|valid| (target.run)(valid));
        match number("HIGHWATER_CASE") {
            Some(case) => run(target, seed, case, &seeds),
            None => {
                (0..number("HIGHWATER_CASES").unwrap_or(CASES)).for_each(|case| run(target, seed, case, &seeds))
            }
        }
    }
}

#[test]
fn every_target_has_its_libfuzzer_binary() {
    let manifest_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/libfuzzer");
    let manifest = fs::read_to_string(format!("{manifest_dir}/Cargo.toml")).unwrap();
    let mut bins: Vec<_> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    bins.sort_unstable();
    names.sort_unstable();
    assert_eq!(bins, names);
    for name in names {
        let source = fs::read_to_string(format!("{manifest_dir}/fuzz_targets/{name}.rs")).unwrap();
        assert!(source.contains(&format!("::{name}(data)")), "{name}.rs runs {name}");
    }
}
