//! The long form of the crash scenarios.
//!
//! ```text
//! cargo run --release -p highwater-crash -- --kills 1000
//! cargo run --release -p highwater-crash -- --power-cuts 200      (as root)
//! cargo run --release -p highwater-crash -- --stops 200           SIGTERM and Ctrl-C in turn
//! cargo run --release -p highwater-crash -- --full-disks 50       (as root) filled, freed; killed while full
//! cargo run --release -p highwater-crash -- --failed-syncs 50     (as root, with strace)
//! cargo run --release -p highwater-crash -- --topics 5000         prints what they cost
//! cargo run --release -p highwater-crash -- --clock-jumps 10      (with libfaketime)
//! ```
//!
//! Each can be given together with others; they run one after another, on one seed, which is printed and
//! replays the workload with `--seed`. The program ends with an error at the first broken promise, and when the machine
//! lacks what was asked for.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use highwater_crash::faults::{clock, disk_error, disk_full, many_topics, needs, stop};
use highwater_crash::power::LoopDisk;
use highwater_crash::scenario::{killed_under_load, power_cut_under_load};

/// Kills a node under load, cuts its power, fills its disk, and checks every acknowledged record.
#[derive(Parser)]
struct Arguments {
    /// Kill the node so many times with -9.
    #[arg(long, default_value_t = 0)]
    kills: u32,
    /// Cut the power of its file system so many times; takes root.
    #[arg(long, default_value_t = 0)]
    power_cuts: u32,
    /// Stop it so many times, by SIGTERM and Ctrl-C in turn.
    #[arg(long, default_value_t = 0)]
    stops: u32,
    /// Fill its disk, free it, and kill it on a full disk so many times; takes root.
    #[arg(long, default_value_t = 0)]
    full_disks: u32,
    /// Let so many syncs fail with EIO, each followed by a power cut; takes root and strace.
    #[arg(long, default_value_t = 0)]
    failed_syncs: u32,
    /// Create so many topics, restart the node with them, delete them; prints what that costs.
    #[arg(long, default_value_t = 0)]
    topics: u32,
    /// Let its clock jump so many times back a year, ahead by ten and back to the truth; takes libfaketime.
    #[arg(long, default_value_t = 0)]
    clock_jumps: u32,
    /// Replays the workload of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    if arguments.kills > 0 {
        let directory = tempfile::tempdir()?;
        println!("{:?}", killed_under_load(directory.path(), arguments.kills, seed).await?);
    }
    if arguments.power_cuts > 0 {
        let directory = tempfile::tempdir()?;
        let disk = LoopDisk::create(directory.path(), arguments.power_cuts)?;
        let log = directory.path().join("node.log");
        println!("{:?}", power_cut_under_load(&disk, &log, arguments.power_cuts, seed).await?);
    }
    if arguments.stops > 0 {
        let directory = tempfile::tempdir()?;
        stop::stopped_under_load(directory.path(), arguments.stops, seed).await?;
        println!("{} stops", arguments.stops);
    }
    if arguments.topics > 0 {
        let directory = tempfile::tempdir()?;
        let idle = Duration::from_secs(30);
        println!("{:#?}", many_topics::alive_and_deleted(directory.path(), arguments.topics, idle).await?);
    }
    for _ in 0..arguments.clock_jumps {
        let directory = tempfile::tempdir()?;
        clock::clock_jumps_under_load(directory.path(), &needs::faketime()?, seed).await?;
        println!("the clock jumped");
    }
    disk_faults(&arguments, tempfile::tempdir()?.path(), seed).await
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn disk_faults(arguments: &Arguments, directory: &Path, seed: u64) -> Result<(), Failure> {
    let log = directory.join("node.log");
    if arguments.full_disks > 0 {
        let disk = needs::loop_disk(directory, disk_full::DISK_MIB)?;
        disk_full::full_and_freed(&disk, &log, seed).await?;
        println!("filled and freed");
        drop(disk);
        let disk = needs::loop_disk(directory, disk_full::DISK_MIB)?;
        disk_full::killed_on_a_full_disk(&disk, &log, arguments.full_disks, seed).await?;
        println!("{} kills on a full disk", arguments.full_disks);
    }
    if arguments.failed_syncs > 0 {
        needs::strace()?;
        let disk = needs::loop_disk(directory, disk_full::DISK_MIB)?;
        disk_error::sync_fails_under_load(&disk, &log, arguments.failed_syncs, seed).await?;
        println!("{} failed syncs", arguments.failed_syncs);
    }
    Ok(())
}
