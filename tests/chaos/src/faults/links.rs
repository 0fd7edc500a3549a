//! What happens to the network between nodes.

use std::time::Duration;

use highwater_crash::CrashError;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use super::other;
use crate::cluster::{Cluster, NODES};
use crate::network::{Cuts, Party};

/// The shortest and the longest time for which a flapping link is up or down, in milliseconds.
const FLAP_MS: std::ops::Range<u64> = 50..1500;
/// How many of a hundred packets are lost.
const LOSS_PERCENT: std::ops::Range<u32> = 5..40;

/// All others than this node, and the clients if they are cut off too.
fn others(id: u8, clients: bool) -> Vec<Party> {
    let nodes = NODES.into_iter().filter(|other| *other != id).map(Party::Node);
    nodes.chain(clients.then_some(Party::Clients)).collect()
}

/// A minority of one, which clients reach or not.
pub(super) async fn isolate(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let clients = random.random();
    cluster.network.cut(id, &Cuts::apart_from(others(id, clients)))?;
    cluster.pass(lasts).await?;
    cluster.network.heal()?;
    let whom = if clients { "everybody" } else { "the other nodes, not from clients" };
    Ok(format!("node {id} was apart from {whom} for {lasts:?}"))
}

/// One direction only.
pub(super) async fn one_way(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let (deaf, one) = (random.random_bool(0.5), random.random_bool(0.3));
    let parties: Vec<Party> =
        if one { vec![Party::Node(other(id, random))] } else { others(id, random.random()) };
    let set = parties.iter().copied().collect();
    let cuts = if deaf { Cuts { from: set, ..Cuts::default() } } else { Cuts { to: set, ..Cuts::default() } };
    cluster.network.cut(id, &cuts)?;
    cluster.pass(lasts).await?;
    cluster.network.heal()?;
    let what = if deaf { "heard nothing from" } else { "was not heard by" };
    Ok(format!("node {id} {what} {parties:?} for {lasts:?}"))
}

/// Two nodes do not hear each other, and both hear the third.
pub(super) async fn link(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let other = other(id, random);
    cluster.network.cut(id, &Cuts::apart_from([Party::Node(other)]))?;
    cluster.pass(lasts).await?;
    cluster.network.heal()?;
    Ok(format!("nodes {id} and {other} were apart from each other for {lasts:?}"))
}

/// A node's network comes and goes.
pub(super) async fn flap(
    cluster: &mut Cluster,
    id: u8,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let until = Instant::now() + lasts;
    let cuts = Cuts::apart_from(others(id, random.random()));
    let mut times = 0;
    while Instant::now() < until {
        cluster.network.cut(id, &cuts)?;
        cluster.pass(Duration::from_millis(random.random_range(FLAP_MS))).await?;
        cluster.network.heal()?;
        cluster.pass(Duration::from_millis(random.random_range(FLAP_MS))).await?;
        times += 1;
    }
    Ok(format!("node {id} was cut off {times} times in {lasts:?}"))
}

/// Packets to every node are lost.
pub(super) async fn loss(
    cluster: &mut Cluster,
    lasts: Duration,
    random: &mut SmallRng,
) -> Result<String, CrashError> {
    let loss_percent = random.random_range(LOSS_PERCENT);
    for id in NODES {
        cluster.network.cut(id, &Cuts { loss_percent, ..Cuts::default() })?;
    }
    cluster.pass(lasts).await?;
    cluster.network.heal()?;
    Ok(format!("{loss_percent} % of all packets to nodes were lost for {lasts:?}"))
}
