//! What happens to the nodes' disks and to their power.

use std::time::Duration;

use highwater_crash::CrashError;
use highwater_crash::faults::disk_error::FailingSyncs;
use highwater_crash::faults::disk_full::Ballast;
use highwater_types::exit_code;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::cluster::{Cluster, LOOK, NODES};

/// How long a node may take to end once its syncs fail.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How long a start that found no block may take to end.
const SAYS_WHY: Duration = Duration::from_millis(500);
/// A disk that is full to this many bytes.
const LEFT_BYTES: u64 = 1 << 20;

/// The power of all nodes, at nearly one time.
pub(super) async fn power_of_all(cluster: &mut Cluster) -> Result<String, CrashError> {
    std::thread::scope(|threads| {
        let cuts: Vec<_> =
            cluster.machines.iter().map(|machine| threads.spawn(|| machine.disk.cut_power())).collect();
        cuts.into_iter().try_for_each(|cut| cut.join().unwrap_or(Ok(())))
    })?;
    for id in NODES {
        cluster.machine(id).kill()?;
    }
    for id in NODES {
        cluster.machine(id).disk.power_on()?;
    }
    cluster.start_all()?;
    Ok("the power of all nodes was cut".to_owned())
}

/// The power of one node, which is down for a while.
pub(super) async fn power_of_one(cluster: &mut Cluster, id: u8, lasts: Duration) -> Result<String, CrashError> {
    let lasts = lasts.min(Duration::from_secs(4));
    let machine = cluster.machine(id);
    machine.disk.cut_power()?;
    machine.kill()?;
    machine.disk.power_on()?;
    cluster.pass(lasts).await?;
    cluster.machine(id).start()?;
    Ok(format!("the power of node {id} was cut, for {lasts:?}"))
}

/// The disk of a node is full; the node may be killed meanwhile.
pub(super) async fn full(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let (to_the_last, killed) = (random.random_bool(0.5), random.random_bool(0.5));
    let ballast = Ballast::leaving(cluster.machine(id).disk.mounted_at(), LEFT_BYTES)?;
    if to_the_last {
        ballast.take_all()?;
    }
    cluster.pass(lasts / 2).await?;
    if killed {
        cluster.machine(id).kill()?;
        cluster.machine(id).start()?;
    }
    cluster.pass(lasts / 2).await?;
    drop(ballast);
    if to_the_last && killed {
        // Without a single block a node cannot start: it says so and ends, and its service manager tries again.
        cluster.pass(SAYS_WHY).await?;
        cluster.explain(id, "No space left on device");
    }
    let room = if to_the_last { "to the last block" } else { "" };
    let killed = if killed { ", and it was killed meanwhile" } else { "" };
    Ok(format!("the disk of node {id} was full {room} for {lasts:?}{killed}"))
}

/// A sync of a node fails. It ends by name, what the sync did not cover is lost with the power, and it is started again.
pub(super) async fn failed_sync(
    cluster: &mut Cluster,
    id: u8,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let from = random.random_range(1..12);
    let machine = cluster.machine(id);
    machine.held = true;
    let failing = FailingSyncs::attach(&machine.node, from)?;
    let deadline = Instant::now() + ENDS_WITHIN;
    let status = loop {
        if let Some(status) = cluster.machine(id).node.ended()? {
            break status;
        }
        if Instant::now() >= deadline {
            return Err(CrashError::Broken(format!("node {id} goes on though its syncs fail")));
        }
        cluster.pass(LOOK).await?;
    };
    drop(failing);
    let machine = cluster.machine(id);
    if status.code() != Some(exit_code::DISK_FAILED) {
        let log = machine.node.log_tail();
        return Err(CrashError::Broken(format!("node {id}, whose sync failed, ended with {status}:\n{log}")));
    }
    machine.disk.cut_power()?;
    machine.disk.power_on()?;
    machine.start()?;
    Ok(format!("from its {from}th on, the syncs of node {id} failed; it ended, and lost its power"))
}
