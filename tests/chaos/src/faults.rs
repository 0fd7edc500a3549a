//! Does to the cluster what the schedule says, and takes it back.

mod disks;
mod links;
mod processes;

use highwater_crash::CrashError;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::cluster::{Cluster, NODES};
use crate::schedule::{Fault, FaultKind, Target};

/// Plays one fault from its beginning to its end: when this returns, nothing is wrong any more but what the fault left behind.
/// Says what it did.
///
/// # Errors
/// When the machine refuses, or a node does what no fault explains.
pub async fn play(cluster: &mut Cluster, fault: &Fault) -> Result<String, CrashError> {
    let id = match fault.target {
        Target::Node(id) => id,
        // Without a leader any will do.
        Target::LeaderOf(place) => cluster.leader(place).await.unwrap_or(NODES[0]),
    };
    let mut random = SmallRng::seed_from_u64(fault.seed);
    let (lasts, random) = (fault.lasts, &mut random);
    match fault.kind {
        FaultKind::Kill => processes::kill(cluster, id, lasts, random).await,
        FaultKind::Pause => processes::pause(cluster, id, lasts).await,
        FaultKind::Rolling => processes::rolling(cluster, id).await,
        FaultKind::Clock => processes::clock(cluster, id, lasts, random).await,
        FaultKind::Isolate => links::isolate(cluster, id, lasts, random).await,
        FaultKind::OneWay => links::one_way(cluster, id, lasts, random).await,
        FaultKind::Link => links::link(cluster, id, lasts, random).await,
        FaultKind::Flap => links::flap(cluster, id, lasts, random).await,
        FaultKind::Loss => links::loss(cluster, lasts, random).await,
        FaultKind::Power => disks::power_of_all(cluster).await,
        FaultKind::PowerOfOne => disks::power_of_one(cluster, id, lasts).await,
        FaultKind::FullDisk => disks::full(cluster, id, lasts, random).await,
        FaultKind::FailedSync => disks::failed_sync(cluster, id, random).await,
    }
}

/// Another node than this.
fn other(id: u8, random: &mut SmallRng) -> u8 {
    let others: Vec<u8> = NODES.into_iter().filter(|other| *other != id).collect();
    others[random.random_range(0..others.len())]
}
