//! Many seeds: a process for each, several at a time, and what they came to.

use std::collections::BTreeMap;
use std::env;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Arguments;
use crate::run::{Options, run};

/// What makes the system's randomness follow from the seed.
const SEED_VARIABLE: &str = "HIGHWATER_SIMULATION_SEED";

/// Runs one seed here, and prints what came of it.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub(crate) fn alone(options: &Options) -> ExitCode {
    log_if_asked();
    let outcome = run(options);
    let figures = outcome.figures;
    println!(
        "seed {}: {} acked, {} unknown, {} refused, {} read, {} s simulated, trace {:016x}",
        options.seed,
        figures.acked,
        figures.unknown,
        figures.refused,
        figures.read,
        outcome.virtual_ms / 1000,
        outcome.digest
    );
    if outcome.violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !options.echoes {
        outcome.tail.iter().for_each(|line| println!("  {line}"));
    }
    outcome.violations.iter().for_each(|violation| println!("  BROKEN {violation}"));
    ExitCode::FAILURE
}

/// The log of the nodes, for whoever looks for a cause.
fn log_if_asked() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("HIGHWATER_LOG") {
        let log = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
        log.with_writer(std::io::stderr).init();
    }
}

/// Runs all seeds that were asked for.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub(crate) fn run_all(arguments: &Arguments) -> Result<Vec<u64>, std::io::Error> {
    let jobs = arguments.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let mut seeds = arguments.seed..arguments.seed + arguments.seeds;
    let mut running: BTreeMap<u64, Child> = BTreeMap::new();
    let mut failed = Vec::new();
    loop {
        while running.len() < jobs.max(1)
            && (failed.is_empty() || arguments.keep_going)
            && let Some(seed) = seeds.next()
        {
            running.insert(seed, start(arguments, seed)?);
        }
        if running.is_empty() {
            return Ok(failed);
        }
        let mut ended = Vec::new();
        for (seed, child) in &mut running {
            if child.try_wait()?.is_some() {
                ended.push(*seed);
            }
        }
        for seed in ended {
            let Some(child) = running.remove(&seed) else { continue };
            let output = child.wait_with_output()?;
            print!("{}", String::from_utf8_lossy(&output.stdout));
            if !output.status.success() {
                println!(
                    "seed {seed} FAILED ({}); again with: {}",
                    output.status,
                    command_line(arguments, seed)
                );
                failed.push(seed);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs all seeds, and says how it went.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
pub(crate) fn run_and_tell(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    match run_all(arguments) {
        Ok(failed) if failed.is_empty() => {
            println!("{} seeds, nothing broken, {} s", arguments.seeds, began.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Ok(failed) => {
            println!("broken by {failed:?}, {} s", began.elapsed().as_secs());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("a process for a seed cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments, seed: u64) -> std::io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("--alone").args(own_arguments(arguments, seed));
    command.env(SEED_VARIABLE, seed.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

fn own_arguments(arguments: &Arguments, seed: u64) -> Vec<String> {
    let mut own = vec![format!("--seed={seed}"), format!("--nodes={}", arguments.nodes)];
    for kind in &arguments.faults {
        let name = clap::ValueEnum::to_possible_value(kind).map(|value| value.get_name().to_owned());
        own.extend(name.map(|name| format!("--faults={name}")));
    }
    if arguments.trace {
        own.push("--trace".to_owned());
    }
    own
}

fn command_line(arguments: &Arguments, seed: u64) -> String {
    format!("cargo run -p simulation -- {}", own_arguments(arguments, seed).join(" "))
}
