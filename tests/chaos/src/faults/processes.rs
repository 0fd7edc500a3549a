//! What happens to a node's process and its clock.

use std::time::Duration;

use highwater_crash::CrashError;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::cluster::{Cluster, LOOK, NODES};

/// How long a node that was told to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// How long a node that was started may take to serve, while the other two do.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// How far clocks jump. Less than the day for which an idempotent producer is remembered: beyond that, a producer that was
/// not heard for a day is forgotten, as documented.
const JUMPS: [&str; 6] = ["-1y", "-12h", "-5m", "+30s", "+2h", "+12h"];

/// kill -9; the node is down for a while, or not at all.
pub(super) async fn kill(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let down = if random.random_bool(0.5) { Duration::ZERO } else { lasts.min(Duration::from_secs(4)) };
    cluster.machine(id).kill()?;
    cluster.pass(down).await?;
    cluster.machine(id).start()?;
    Ok(format!("kill -9 of node {id}, started again after {down:?}"))
}

/// SIGSTOP, and SIGCONT.
pub(super) async fn pause(cluster: &mut Cluster, id: u8, lasts: Duration) -> Result<String, CrashError> {
    cluster.machine(id).node.signal("STOP")?;
    cluster.pass(lasts).await?;
    cluster.machine(id).node.signal("CONT")?;
    Ok(format!("node {id} stood still for {lasts:?}"))
}

/// Stops and starts each node, beginning with this one; each serves before the next is stopped.
pub(super) async fn rolling(cluster: &mut Cluster, first: u8) -> Result<String, CrashError> {
    let order = NODES.into_iter().cycle().skip_while(|id| *id != first).take(NODES.len());
    for id in order {
        let machine = cluster.machine(id);
        machine.held = true;
        machine.node.signal("TERM")?;
        let deadline = Instant::now() + STOPS_WITHIN;
        let status = loop {
            if let Some(status) = cluster.machine(id).node.ended()? {
                break status;
            }
            if Instant::now() >= deadline {
                let log = cluster.machine(id).node.log_tail();
                return Err(CrashError::Broken(format!("node {id} did not stop:\n{log}")));
            }
            cluster.pass(LOOK).await?;
        };
        if !status.success() {
            let log = cluster.machine(id).node.log_tail();
            return Err(CrashError::Broken(format!("node {id}, told to stop, ended with {status}:\n{log}")));
        }
        cluster.machine(id).start()?;
        let deadline = Instant::now() + SERVES_WITHIN;
        loop {
            cluster.pass(Duration::from_millis(50)).await?;
            let missing = cluster.not_ready().await;
            if missing.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                return Err(CrashError::Broken(format!("after its restart: {}", missing.join("\n"))));
            }
        }
    }
    Ok(format!("each node was stopped and started, from node {first} on"))
}

/// The clock jumps, and back to the truth.
pub(super) async fn clock(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let jump = JUMPS[random.random_range(0..JUMPS.len())];
    let set = |cluster: &mut Cluster, to: &str| match &cluster.machine(id).clock {
        Some(clock) => clock.set(to),
        None => Err(CrashError::Broken("this run does not move clocks".to_owned())),
    };
    set(cluster, jump)?;
    cluster.pass(lasts).await?;
    set(cluster, "+0d")?;
    Ok(format!("the clock of node {id} showed {jump} for {lasts:?}"))
}
