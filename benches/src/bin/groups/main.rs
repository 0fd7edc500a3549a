//! What consumer groups cost and how fast they are: hand-overs, a thousand members, a coordinator that is killed, commits, and
//! reading in a group beside reading alone.

mod commits;
mod consume;
mod crowd;
mod hand_over;
mod member;

use clap::{Parser, ValueEnum};
use highwater_benches::{BenchError, Place};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One of 50 members leaves, and one is killed.
    HandOver,
    /// A thousand members of a thousand partitions, and the death of their coordinator.
    Crowd,
    /// Commits beside a load.
    Commits,
    /// Reading in a group beside reading alone.
    Consume,
}

/// Measures consumer groups on three nodes.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only these parts, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Members, and partitions, of the crowd
    #[arg(long, default_value_t = 1000)]
    crowd: u32,
    /// Commits a second
    #[arg(long, default_value_t = 5000)]
    commits: u32,
    /// Pairs of readings
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let wants = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    if wants(Part::HandOver) {
        hand_over::measure(&arguments.place).await?;
    }
    if wants(Part::Crowd) {
        crowd::measure(&arguments.place, arguments.crowd).await?;
    }
    if wants(Part::Commits) {
        commits::measure(&arguments.place, arguments.commits).await?;
    }
    if wants(Part::Consume) {
        consume::measure(&arguments.place, arguments.pairs).await?;
    }
    Ok(())
}
