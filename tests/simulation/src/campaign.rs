//! Many seeds: a process for each, several at a time, and what they came to.

use std::env;
use std::process::{self, Command, ExitCode, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Arguments;
use crate::mutants;
use crate::run::{Options, Outcome, run};

/// What makes the system's randomness follow from the seed.
const SEED_VARIABLE: &str = "HIGHWATER_SIMULATION_SEED";
/// How long a seed may take at most, of which nearly all is over in seconds: one in which no time passes never ends.
const SEED_WITHIN: Duration = Duration::from_secs(180);
/// The stack of the thread that simulates: deep without optimization.
const STACK_BYTES: usize = 32 << 20;

/// Runs one seed here, and prints what came of it.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub(crate) fn alone(options: &Options) -> ExitCode {
    log_if_asked();
    if let Some(Err(reason)) = options.mutant.as_deref().map(mutants::activate) {
        println!("  BROKEN {reason}");
        return ExitCode::from(2);
    }
    thread::spawn(end_in_time);
    let outcome = match on_own_thread(options) {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("  BROKEN the simulation cannot be run: {error}");
            return ExitCode::from(2);
        }
    };
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

/// Ends a process in which no time passes.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn end_in_time() {
    thread::sleep(SEED_WITHIN);
    println!("  BROKEN standstill: not over within {} s", SEED_WITHIN.as_secs());
    process::exit(1);
}

/// Runs the seed on a thread that did nothing before, so that with and without the log the same happens.
fn on_own_thread(options: &Options) -> std::io::Result<Outcome> {
    thread::scope(|scope| {
        let simulation = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || run(options))?;
        simulation.join().map_err(|_| std::io::Error::other("it panicked"))
    })
}

/// The log of the nodes, for whoever looks for a cause.
fn log_if_asked() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("HIGHWATER_LOG") {
        let log = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
        log.with_writer(std::io::stderr).init();
    }
}

/// A seed that found something.
pub(crate) struct Broken {
    pub(crate) seed: u64,
    /// The first of what it found.
    pub(crate) violation: String,
}

/// Runs seeds one after another, or several at a time, and tells `ended` of each; it says whether to go on.
fn run_all(arguments: &Arguments, mut ended: impl FnMut(u64, &Output) -> bool) -> Result<(), std::io::Error> {
    let jobs = arguments.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let mut seeds = arguments.seed..arguments.seed + arguments.seeds;
    let (sender, outputs) = mpsc::channel();
    let (mut running, mut goes_on) = (0, true);
    loop {
        while running < jobs.max(1)
            && goes_on
            && let Some(seed) = seeds.next()
        {
            let (mut command, sender) = (command(arguments, seed)?, sender.clone());
            thread::spawn(move || drop(sender.send((seed, command.output()))));
            running += 1;
        }
        if running == 0 {
            return Ok(());
        }
        let Ok((seed, output)) = outputs.recv() else { return Ok(()) };
        running -= 1;
        goes_on &= ended(seed, &output?);
    }
}

/// Runs seeds until one is broken, and gives the first of those.
pub(crate) fn until_broken(arguments: &Arguments) -> Result<Option<Broken>, std::io::Error> {
    let mut first: Option<Broken> = None;
    run_all(arguments, |seed, output| {
        if !output.status.success() && first.as_ref().is_none_or(|first| seed < first.seed) {
            let told = String::from_utf8_lossy(&output.stdout);
            let violation = told.lines().find_map(|line| line.trim().strip_prefix("BROKEN "));
            let violation = violation.map_or_else(|| output.status.to_string(), str::to_owned);
            first = Some(Broken { seed, violation });
        }
        first.is_none()
    })?;
    Ok(first)
}

/// Runs all seeds, and says how it went.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
pub(crate) fn run_and_tell(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let (mut failed, mut count) = (Vec::new(), 0);
    let ran = run_all(arguments, |seed, output| {
        count += 1;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            println!("seed {seed} FAILED ({}); again with: {}", output.status, command_line(arguments, seed));
            failed.push(seed);
        }
        let has_time = arguments.minutes.is_none_or(|minutes| began.elapsed().as_secs_f64() < minutes * 60.0);
        has_time && (failed.is_empty() || arguments.keep_going)
    });
    match ran {
        Ok(()) if failed.is_empty() => {
            println!("{count} seeds, nothing broken, {} s", began.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Ok(()) => {
            println!("broken by {failed:?}, {} s", began.elapsed().as_secs());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("a process for a seed cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: &Arguments, seed: u64) -> std::io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("--alone").args(own_arguments(arguments, seed));
    command.env(SEED_VARIABLE, seed.to_string());
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    Ok(command)
}

fn own_arguments(arguments: &Arguments, seed: u64) -> Vec<String> {
    let mut own = vec![format!("--seed={seed}")];
    own.extend(arguments.nodes.map(|nodes| format!("--nodes={nodes}")));
    for kind in &arguments.faults {
        let name = clap::ValueEnum::to_possible_value(kind).map(|value| value.get_name().to_owned());
        own.extend(name.map(|name| format!("--faults={name}")));
    }
    own.extend(arguments.mutant.iter().map(|name| format!("--mutant={name}")));
    if arguments.trace {
        own.push("--trace".to_owned());
    }
    own
}

fn command_line(arguments: &Arguments, seed: u64) -> String {
    let features = if arguments.mutant.is_some() { " --features mutants" } else { "" };
    format!("cargo run -p simulation{features} -- {}", own_arguments(arguments, seed).join(" "))
}
