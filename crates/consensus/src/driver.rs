//! Drives the groups of a node that do not tick by themselves: heartbeats where something is to be told, elections where nobody leads,
//! and nothing at all for the groups that are parked (R13).
//!
//! ```text
//!             a proposal · a new leader or none · a node gone, back or restarted
//!   parked ──────────────────────────────────────────────────────────────────────▶ attended
//!          ◀──────────────────────────────────────────────────────────────────────
//!             leader: every follower that is alive knows the final commit
//!             follower: its leader's process is alive
//! ```
//!
//! Invariants:
//! - A replica stands for election only when its node supports no process that leads the group, and when all that an earlier process
//!   of the node may have promised is over (R14).
//! - Whoever follows the host's changes hears that a leader lost its support, or has it again, a round after this node could know. What
//!   changes it (a node gone, back or restarted; a vote; a hand-over) has the group attended.
//! - Of several replicas that could stand, one begins; the next follows after a delay, should the first be behind or gone.
//! - Who gave its vote to another does not stand before that one has had time to say that it leads.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Weak;
use std::time::Duration;

use highwater_storage::Vote;
use highwater_types::{GroupId, NodeId, ProcessEpoch, mutant};
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::acks::Asked;
use crate::convert;
use crate::group::{Group, GroupStatus};
use crate::host::GroupHost;
use crate::rejoin::ASK_AGAIN;
use crate::settings::LEASE;
use crate::survey::{SURVEY_AFTER, SURVEY_AGAIN};

/// How often an attended group is looked at.
const ROUND: Duration = Duration::from_millis(25);
/// How often an attended leader tells its followers what is committed.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long a replica leaves the election to each one before it.
const RANK_DELAY: Duration = Duration::from_millis(150);
/// How long a replica asks the voters that it knows to take it in, before it asks every node.
const ASK_EVERYBODY: Duration = Duration::from_secs(10);
/// How long until a replica stands again, while its lease has not expired or the vote was split; later ones rest longer, so that they
/// do not split it for ever.
const STAND_AGAIN: Duration = Duration::from_millis(100);
/// How long a replica leaves it to the one that it gave its vote to say that it leads (Raft, 5.2).
const GRANTED_REST: Duration = Duration::from_millis(200);

/// Which groups are attended.
#[derive(Default)]
pub(crate) struct Driver {
    attended: Mutex<BTreeMap<GroupId, Attention>>,
    woken: Notify,
}

/// What the driver knows of a group that it attends.
#[derive(Debug, Clone, Copy, Default)]
struct Attention {
    /// Asked for again since the last round.
    is_fresh: bool,
    told_at: Option<Instant>,
    leaderless_since: Option<Instant>,
    stood_at: Option<Instant>,
    /// The vote that was given to another, who is not known to lead, and since when.
    granted: Option<(Vote, Instant)>,
    asked_at: Option<Instant>,
    surveyed_at: Option<Instant>,
}

/// What a round found of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    supports: Option<ProcessEpoch>,
    supported_by: Option<(ProcessEpoch, u64)>,
}

impl Driver {
    /// Has the group looked at soon.
    pub(crate) fn attend(&self, group: GroupId) {
        let mut attended = self.attended.lock();
        let was_empty = attended.is_empty();
        attended.entry(group).or_default().is_fresh = true;
        if was_empty {
            self.woken.notify_one();
        }
    }

    /// Completes when a group is attended. Cancel-safe.
    async fn has_work(&self) {
        while self.attended.lock().is_empty() {
            self.woken.notified().await;
        }
    }
}

/// Runs until the host is gone.
pub(crate) async fn drive(host: Weak<GroupHost>) {
    loop {
        let Some(driver) = host.upgrade().map(|host| host.driver().clone()) else { return };
        // An idle node has no timer here; who attends a group wakes it.
        driver.has_work().await;
        sleep(ROUND).await;
        let Some(host) = host.upgrade() else { return };
        let round: Vec<(GroupId, Attention)> = {
            let mut attended = driver.attended.lock();
            attended.values_mut().for_each(|attention| attention.is_fresh = false);
            attended.iter().map(|(group, attention)| (*group, *attention)).collect()
        };
        for (id, attention) in round {
            let next = match host.group(id) {
                Some(group) => look_at(&host, &group, attention).await,
                None => None,
            };
            let mut attended = driver.attended.lock();
            let is_fresh = attended.get(&id).is_some_and(|attention| attention.is_fresh);
            match next {
                Some(next) => drop(attended.insert(id, Attention { is_fresh, ..next })),
                // Something happened while it was looked at.
                None if is_fresh => {}
                None => drop(attended.remove(&id)),
            }
        }
    }
}

/// Does what the group needs; `None` parks it.
async fn look_at(host: &GroupHost, group: &Group, attention: Attention) -> Option<Attention> {
    let status = group.shared.status.borrow().clone();
    let raft = group.raft()?;
    group.shared.doubt.review();
    let is_estranged = group.is_estranged();
    if group.id() == GroupId::Metadata {
        // It ticks by itself, and stands only as who the others take it for. Every change of its members is looked at here.
        raft.runtime_config().elect(!is_estranged && group.may_stand());
    }
    if is_estranged && !status.is_leader {
        let attention = ask_to_rejoin(host, group, attention);
        return Some(survey(group, &status, attention));
    }
    if group.id() == GroupId::Metadata {
        return None;
    }
    if group.note_support(&status) {
        host.tell_change();
    }
    if status.is_leader {
        return lead(group, &status, attention).await;
    }
    if has_live_leader(group, &status) || !status.all_voters().contains(&group.shared.node) {
        // Its doubt ends when it has applied enough, which nobody says.
        let attention = Attention { leaderless_since: None, ..attention };
        return group.log().is_doubtful().then_some(attention);
    }
    let attention = stand(host, group, &status, attention).await;
    Some(survey(group, &status, attention))
}

/// A replica that is not who its group takes it for says so.
fn ask_to_rejoin(host: &GroupHost, group: &Group, attention: Attention) -> Attention {
    if group.is_taken_in() || attention.asked_at.is_some_and(|asked_at| asked_at.elapsed() < ASK_AGAIN) {
        return attention;
    }
    // Those whom this replica knows as voters may be gone by now.
    let is_unheard = attention.leaderless_since.is_some_and(|since| since.elapsed() > ASK_EVERYBODY);
    group.ask_to_rejoin(host.peers(), is_unheard);
    Attention { asked_at: Some(Instant::now()), ..attention }
}

/// Without a leader for long while a voter is in doubt: all voters together may end that.
fn survey(group: &Group, status: &GroupStatus, attention: Attention) -> Attention {
    let since = *attention.leaderless_since.as_ref().unwrap_or(&Instant::now());
    let attention = Attention { leaderless_since: Some(since), ..attention };
    let is_due = attention.surveyed_at.is_none_or(|at| at.elapsed() >= SURVEY_AGAIN);
    if since.elapsed() < SURVEY_AFTER || !is_due || !group.may_need_survey(status) {
        return attention;
    }
    let group = group.clone();
    tokio::spawn(async move { group.survey().await });
    Attention { surveyed_at: Some(Instant::now()), ..attention }
}

/// Whether the process that led the group when this replica last heard from it is alive.
pub(crate) fn has_live_leader(group: &Group, status: &GroupStatus) -> bool {
    if mutant!(PromiseIgnored) {
        return false;
    }
    let Some(leader) = status.leader.filter(|leader| *leader != group.shared.node) else { return false };
    let heard = group.shared.heard_leader.lock().filter(|heard| heard.term == status.term);
    heard.is_some_and(|heard| group.shared.liveness.supports(leader) == Some(heard.epoch))
}

async fn lead(group: &Group, status: &GroupStatus, attention: Attention) -> Option<Attention> {
    let attention = match group.status().is_serving {
        true => Attention { leaderless_since: None, ..attention },
        false => survey(group, status, attention),
    };
    if is_settled(group, status) && !group.log().is_doubtful() {
        return None;
    }
    let is_due = attention.told_at.is_none_or(|told_at| told_at.elapsed() >= HEARTBEAT);
    // While proposals flow, what they carry tells the followers enough.
    let is_busy = group.has_lease(HEARTBEAT) && group.log().tail_bytes() > 0;
    if !is_due || is_busy {
        return Some(attention);
    }
    if let Some(raft) = group.raft() {
        // Its core has ended, and says so elsewhere.
        let _ = raft.trigger().heartbeat().await;
    }
    Some(Attention { told_at: Some(Instant::now()), ..attention })
}

/// Whether every member whose node is alive has all entries and knows that they are committed.
fn is_settled(group: &Group, status: &GroupStatus) -> bool {
    let (Some(raft), Some(vote)) = (group.raft(), group.log().vote()) else { return true };
    let metrics = raft.data_metrics();
    let (last, committed) = {
        let metrics = metrics.borrow_watched();
        (metrics.last_log, metrics.cluster_committed)
    };
    let (last, committed) = (last.as_ref().map(convert::log_id), committed.as_ref().map(convert::log_id));
    let others = status.all_voters().into_iter().chain(status.learners.iter().copied());
    last == committed
        && others.filter(|member| *member != group.shared.node).all(|member| {
            let run = group.shared.liveness.supported_by(member, Duration::ZERO);
            run.is_none() || group.shared.acks.covers(member, Asked { vote, stored: last, committed, run })
        })
}

async fn stand(host: &GroupHost, group: &Group, status: &GroupStatus, attention: Attention) -> Attention {
    let now = Instant::now();
    // Turns are counted from when it may stand: nodes that start together would all stand at once, again and again.
    let since = attention.leaderless_since.filter(|_| group.shared.liveness.may_vote()).unwrap_or(now);
    let given = group.log().vote().filter(|vote| !vote.committed && vote.node != group.shared.node);
    let granted = attention.granted.filter(|(vote, _)| Some(*vote) == given).or(given.map(|vote| (vote, now)));
    let attention = Attention { leaderless_since: Some(since), granted, ..attention };
    if granted.is_some_and(|(_, at)| at + GRANTED_REST > now) {
        return attention;
    }
    let rank = rank(host, group, status);
    let rest = STAND_AGAIN + RANK_DELAY / 2 * rank;
    let stood_lately = attention.stood_at.is_some_and(|stood_at| stood_at + rest > now);
    let is_turn = now >= since + RANK_DELAY * rank;
    if stood_lately || !is_turn || !group.shared.liveness.may_vote() || !group.may_stand() {
        return attention;
    }
    if let Some(raft) = group.raft() {
        // It asks before it stands, so that one who cannot win disturbs nobody. While its own lease lives this does nothing.
        let _ = raft.trigger().elect(true).await;
    }
    Attention { stood_at: Some(now), ..attention }
}

/// How many replicas that are alive stand before this one.
fn rank(host: &GroupHost, group: &Group, status: &GroupStatus) -> u32 {
    let own = group.shared.node;
    let is_alive = |voter: NodeId| voter == own || host.liveness().supports(voter).is_some();
    let place = |voter: NodeId| {
        // Different for every group, so that the groups of a node that is gone are spread over the others; the same on every node.
        let mut hasher = Fnv::default();
        (group.id().to_bytes(), voter.0).hash(&mut hasher);
        (hasher.finish(), voter)
    };
    let before = status.all_voters().into_iter().filter(|voter| is_alive(*voter) && place(*voter) < place(own));
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

/// FNV-1a, the same everywhere and always.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Pings the other nodes and notices who is gone, back or restarted. Runs until the host is gone; best on a thread of
/// its own, so that a busy node does not look like a dead one.
pub(crate) async fn watch_nodes(host: Weak<GroupHost>) {
    let mut seen: BTreeMap<NodeId, Seen> = BTreeMap::new();
    loop {
        let Some(host) = host.upgrade() else { return };
        let peers: BTreeSet<NodeId> = host.peers();
        for peer in &peers {
            let found = Seen {
                supports: host.liveness().supports(*peer),
                supported_by: host.liveness().supported_by(*peer, Duration::ZERO),
            };
            if seen.insert(*peer, found) != Some(found) {
                host.attend_groups_with(*peer);
            }
            tokio::spawn(ping(host.clone(), *peer));
        }
        seen.retain(|peer, _| peers.contains(peer));
        drop(host);
        sleep(crate::liveness::PING_INTERVAL).await;
    }
}

async fn ping(host: std::sync::Arc<GroupHost>, peer: NodeId) {
    let ping = host.liveness().ping(peer);
    if let Ok(pong) = host.transport().ping(peer, ping, LEASE).await {
        host.liveness().supported(peer, pong);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use highwater_storage::{Durability, GroupOptions};
    use highwater_types::{Incarnation, PartitionId, PartitionIndex, SystemClock, SystemRandom, TopicId};

    use super::*;
    use crate::log_store::tests::{Nothing, store};
    use crate::{HostParts, Member, NoPeers, Origin};

    #[tokio::test(start_paused = true)]
    async fn a_group_that_has_nothing_to_do_is_looked_at_by_nobody_until_something_happens() {
        let member = Member { node: NodeId(1), incarnation: Incarnation(1) };
        let host = GroupHost::new(HostParts {
            member,
            epoch: ProcessEpoch(1),
            store: store(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            transport: Arc::new(NoPeers),
        });
        let id =
            GroupId::Partition(PartitionId { topic: TopicId::draw(&SystemRandom), index: PartitionIndex(0) });
        let options = GroupOptions { durability: Durability::Fsync, segments: None };
        let origin = Origin::New(BTreeSet::from([member]));
        let group = host.start_group(id, options, origin, Box::new(Nothing)).await.unwrap();
        group.wait_serving(Duration::from_secs(20)).await.unwrap();
        for _ in 0..2 {
            sleep(Duration::from_secs(5)).await;
            assert!(host.driver().attended.lock().is_empty(), "it is parked");
            host.driver().attend(id);
            assert!(!host.driver().attended.lock().is_empty());
        }
    }
}
