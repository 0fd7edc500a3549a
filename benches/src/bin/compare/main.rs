//! Highwater, Kafka and NATS under the same load, in turns, on the same machine: records per second,
//! the brokers' CPU, and the ratios. See the README beside for what is the same on all sides and what is not.
//!
//! It starts and stops no server, and judges no number.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod contender;
mod highwater;
mod kafka;
mod nats;
mod program;
mod table;

use std::path::PathBuf;

use clap::Parser;
use highwater_benches::{BenchError, Usage};

use contender::{Contender, Pacing};
use highwater::Highwater;
use kafka::Kafka;
use nats::Nats;
use program::Program;
use table::Row;

/// Puts the same load on Highwater, Kafka and NATS in turns, and prints what each did and the ratios
#[derive(Parser)]
struct Arguments {
    /// gRPC addresses of a Highwater cluster
    #[arg(long, value_delimiter = ',', required = true, value_name = "HOST:PORT,…")]
    highwater: Vec<String>,
    /// Processes of its nodes, whose CPU time is counted
    #[arg(long, value_delimiter = ',', value_name = "PID,…")]
    highwater_pids: Vec<u32>,
    /// Bootstrap addresses of a Kafka cluster
    #[arg(long, requires = "kafka_tools", value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Processes of its brokers
    #[arg(long, value_delimiter = ',', value_name = "PID,…")]
    kafka_pids: Vec<u32>,
    /// A program that is called as `PROGRAM topics …` and `PROGRAM producer-perf …` with the arguments of Kafka's own tools
    #[arg(long, value_name = "PROGRAM")]
    kafka_tools: Option<PathBuf>,
    /// Addresses of a NATS cluster, which should run with `sync_interval: always`
    #[arg(long, requires = "nats_tools", value_name = "HOST:PORT,…")]
    nats: Option<String>,
    /// Processes of its servers
    #[arg(long, value_delimiter = ',', value_name = "PID,…")]
    nats_pids: Vec<u32>,
    /// A program that is called as `PROGRAM bench pub-async -server … -replicas … -size … -msgs … -pending …` and prints `msg/s N`
    #[arg(long, value_name = "PROGRAM")]
    nats_tools: Option<PathBuf>,
    /// Sizes of values, in bytes
    #[arg(long, value_delimiter = ',', default_value = "100,1024")]
    sizes: Vec<usize>,
    /// Mebibytes of values in one run; where every batch waits for a disk, Kafka gets a quarter
    #[arg(long, default_value_t = 192)]
    mebibytes: usize,
    /// Records in one run with single records, of which this many may be open
    #[arg(long, default_value_t = 200_000)]
    singles: usize,
    /// Records that may be open at one time in such a run
    #[arg(long, default_value_t = 500)]
    open: usize,
    /// Replicas of each partition
    #[arg(long, default_value_t = 3)]
    replicas: u32,
    /// Runs of each kind that do not count: a JVM compiles for some time
    #[arg(long, default_value_t = 6)]
    warm_ups: usize,
    /// Runs of each kind that count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let contenders = contenders(&arguments)?;
    let mut rows = Vec::new();
    for &size in &arguments.sizes {
        let mut measured =
            contenders.iter().map(|contender| Row::new(contender.kind(), size)).collect::<Vec<_>>();
        for contender in &contenders {
            contender.prepare(size).await?;
        }
        for round in 0..arguments.warm_ups + arguments.rounds {
            for (contender, row) in contenders.iter().zip(&mut measured) {
                let (rate, cpu) = run_once(contender, size).await?;
                if round >= arguments.warm_ups {
                    row.add(rate, cpu);
                }
            }
        }
        for contender in &contenders {
            contender.clear(size).await?;
        }
        rows.extend(measured);
    }
    if arguments.rounds > 0 {
        print!("{}", table::render(&rows));
    }
    Ok(())
}

/// Those whose addresses were given.
fn contenders(arguments: &Arguments) -> Result<Vec<Contender>, BenchError> {
    let (bytes, replicas) = (arguments.mebibytes << 20, arguments.replicas);
    let highwater = |pacing| {
        let processes = arguments.highwater_pids.clone();
        Highwater::connect(&arguments.highwater, replicas, pacing, processes).map(Contender::Highwater)
    };
    let mut contenders = vec![highwater(Pacing::Batches { bytes })?];
    if let (Some(bootstrap), Some(tools)) = (&arguments.kafka, &arguments.kafka_tools) {
        for flushes in [false, true] {
            contenders.push(Contender::Kafka(Kafka {
                tools: Program::new(tools),
                bootstrap: bootstrap.clone(),
                replicas,
                flushes,
                bytes: if flushes { bytes / 4 } else { bytes },
                processes: arguments.kafka_pids.clone(),
            }));
        }
    }
    if let (Some(servers), Some(tools)) = (&arguments.nats, &arguments.nats_tools) {
        let (records, open) = (arguments.singles, arguments.open);
        contenders.push(highwater(Pacing::Singles { records, open })?);
        contenders.push(Contender::Nats(Nats {
            tools: Program::new(tools),
            servers: servers.clone(),
            replicas,
            records,
            open,
            processes: arguments.nats_pids.clone(),
        }));
    }
    Ok(contenders)
}

/// Records per second, and microseconds of CPU per MiB of values.
async fn run_once(contender: &Contender, size: usize) -> Result<(f64, Option<f64>), BenchError> {
    // What others left in the page cache is written out before, not during the run.
    Program::new("sync").run(std::iter::empty::<&str>())?;
    let before = Usage::cpu_of(contender.processes())?;
    let run = contender.run(size).await?;
    let cpu = Usage::cpu_of(contender.processes())?.saturating_sub(before);
    let mebibytes = (run.records * size) as f64 / f64::from(1 << 20);
    let is_counted = !contender.processes().is_empty();
    let cpu_per_mebibyte = cpu.as_secs_f64() * 1e6 / mebibytes;
    Ok((run.records_per_second, is_counted.then_some(cpu_per_mebibyte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Samples;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["compare", "--highwater", "a:1", "--kafka", "b:2"]).is_err());
    }

    #[test]
    fn a_median_lies_between_what_was_seen() {
        let mut samples = Samples::default();
        [3.0, 1.0, 2.0].into_iter().for_each(|sample| samples.add(sample));
        assert_eq!(samples.median(), 2.0);
        assert_eq!(samples.to_string(), "2 [1 - 3]");
    }
}
