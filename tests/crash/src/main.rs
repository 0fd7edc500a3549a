//! The long form of the crash scenarios.
//!
//! ```text
//! cargo run --release -p highwater-crash -- --kills 1000
//! cargo run --release -p highwater-crash -- --power-cuts 200      (as root)
//! ```

use clap::Parser;
use highwater_crash::power::LoopDisk;
use highwater_crash::scenario::{killed_under_load, power_cut_under_load};

/// Kills a node under load, or cuts its power, and checks every acknowledged record.
#[derive(Parser)]
struct Arguments {
    /// Kill the node so many times with -9.
    #[arg(long, default_value_t = 0)]
    kills: u32,
    /// Cut the power of its file system so many times; takes root.
    #[arg(long, default_value_t = 0)]
    power_cuts: u32,
    /// Replays the workload of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let directory = tempfile::tempdir()?;
    if arguments.kills > 0 {
        println!("{:?}", killed_under_load(directory.path(), arguments.kills, seed).await?);
    }
    if arguments.power_cuts > 0 {
        let disk = LoopDisk::create(directory.path())?;
        let log = directory.path().join("node.log");
        println!("{:?}", power_cut_under_load(&disk, &log, arguments.power_cuts, seed).await?);
    }
    Ok(())
}
