//! Whole nodes in one thread and one seed: brokers, Raft, journals and segments as they are built, on simulated disks, clocks and
//! connections, with faults, under load from the real client, and a checker of what is promised.
//!
//! ```text
//! cargo run -p simulation -- --seeds 100             seeds 1 to 100
//! cargo run -p simulation -- --seeds 1 --seed 42     seed 42 again
//! cargo run -p simulation -- --seed 42 --trace       with all that happens in it
//! cargo run -p simulation --features mutants -- --mutant all      how soon known bugs are noticed
//! ```
//!
//! Each seed has a process of its own, so that nothing of one reaches the next.

mod campaign;
mod chance;
mod clients;
mod clock;
mod driver;
mod faults;
mod group_history;
mod history;
mod links;
mod machine;
mod mutants;
mod network;
mod replicas;
mod run;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use crate::faults::Kind;
use crate::run::Options;

/// Simulates a cluster under faults, and checks every promise.
#[derive(Parser, Clone)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds run at one time; as many as there are CPUs if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// How many nodes, from 3; what the seed draws if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: Option<u64>,
    /// Only these kinds of faults.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Begin no more seeds after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Go on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
    /// Put this bug in, and run until it is noticed; "all" for one after another. Needs the feature `mutants`.
    #[arg(long)]
    mutant: Option<String>,
    /// Show what happens.
    #[arg(long)]
    trace: bool,
    /// Run this seed in this process: how the program starts itself.
    #[arg(long, hide = true)]
    alone: bool,
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            seed: self.seed,
            nodes: self.nodes,
            faults: self.faults.clone(),
            mutant: self.mutant.clone(),
            echoes: self.trace,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.alone {
        return campaign::alone(&arguments.options());
    }
    match &arguments.mutant {
        Some(_) => mutants::survey(&arguments),
        None => campaign::run_and_tell(&arguments),
    }
}
