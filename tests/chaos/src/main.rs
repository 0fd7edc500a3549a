//! Plays faults on a real cluster under load, and checks every record.
//!
//! ```text
//! cargo run --release -p highwater-chaos -- --minutes 30               every fault, again and again
//! cargo run --release -p highwater-chaos -- --minutes 10 --faults kill  kill -9 of a leader every 10 s
//! cargo run --release -p highwater-chaos -- --minutes 30 --seed 42     the faults of an earlier run
//! cargo run -p highwater-chaos -- --short                              one round in a minute and a half
//! ```
//!
//! It takes root, for namespaces and loop devices; see `needs`. It prints the seed, each fault as it is over, and an
//! account, which a run of minutes also appends to `RESULTS.md`. It ends with 1 when a promise was broken, and then keeps the nodes' logs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use highwater_chaos::run::{Plan, run};
use highwater_chaos::schedule::{Bounds, FaultKind};
use highwater_chaos::{enclosure, needs};

type Failure = Box<dyn std::error::Error>;

/// Where the results of long runs are.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");

/// Plays faults on a real cluster under load, and checks every record.
#[derive(Parser)]
struct Arguments {
    /// Play faults for so long; without it, one round of them.
    #[arg(long)]
    minutes: Option<u64>,
    /// Each fault once, each for two seconds, nothing in between.
    #[arg(long, conflicts_with = "minutes")]
    short: bool,
    /// Replays the faults of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults, separated by commas.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<FaultKind>,
    /// From the beginning of one fault to that of the next at least, in seconds.
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// Records that each of the five producers sends in a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Where the results of a run of minutes are appended.
    #[arg(long, default_value = RESULTS)]
    results: PathBuf,
}

#[allow(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let outcome = if enclosure::is_inside() { inside() } else { outside() };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// Checks the command line and the machine, and runs this program again in an enclosure.
fn outside() -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse();
    let all = arguments.kinds();
    if all.contains(&FaultKind::Clock) || all.contains(&FaultKind::FailedSync) {
        needs::of_all_faults()?;
    } else {
        needs::of_every_run()?;
    }
    let status = enclosure::enter()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn inside() -> Result<ExitCode, Failure> {
    enclosure::settle()?;
    let arguments = Arguments::parse();
    let plan = arguments.plan();
    let seed = plan.seed;
    println!("seed {seed}");
    let directory = tempfile::Builder::new().prefix("highwater-chaos-").tempdir()?;
    let account = match run(&plan, directory.path(), |line| println!("{line}")).await {
        Ok(account) => account,
        Err(error) => {
            println!("the nodes' logs are in {}", directory.keep().display());
            return Err(error.into());
        }
    };
    println!("\n{account}");
    if arguments.minutes.is_some() {
        account.append_to(&arguments.results)?;
    }
    if account.verdict.is_kept() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("seed {seed} replays these faults; the nodes' logs are in {}", directory.keep().display());
    Ok(ExitCode::FAILURE)
}

impl Arguments {
    fn kinds(&self) -> Vec<FaultKind> {
        if self.faults.is_empty() { FaultKind::ALL.to_vec() } else { self.faults.clone() }
    }

    fn plan(&self) -> Plan {
        Plan {
            seed: self.seed.unwrap_or_else(rand::random),
            kinds: self.kinds(),
            bounds: if self.short { Bounds::short() } else { Bounds::long() },
            minutes: self.minutes,
            every: if self.short { Duration::ZERO } else { Duration::from_secs(self.every) },
            period: Duration::from_secs(1) / self.rate,
        }
    }
}
