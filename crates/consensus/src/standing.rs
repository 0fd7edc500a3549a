//! How the members of a group stand, as its leader sees them: for people, and for whoever decides what is safe to do next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_types::NodeId;
use openraft::async_runtime::watch::WatchReceiver;

use crate::group::Group;
use crate::host::GroupHost;
use crate::reconcile::PROMOTION_LAG_MAX;

/// How long a member may answer nothing but errors and still count as a copy: a disk may be slow for a moment.
const FAILING_MAX: Duration = Duration::from_secs(10);

/// A member of a group, as the group's leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStanding {
    /// Whether it votes; otherwise it only follows, or lost what it had and waits to be taken in anew.
    pub is_voter: bool,
    /// Whether its node is alive and reachable both ways.
    pub is_reachable: bool,
    /// Whether it has acknowledged this leader since its node was last away, and goes on doing so. A replica that was not started, or
    /// that finds no room, does not follow though its node can be reached.
    pub is_following: bool,
    /// Entries that the leader still holds and that it is not known to have.
    pub lag_entries: u64,
}

impl MemberStanding {
    /// Whether it counts as a copy: it votes, can be reached, follows, and lacks nothing but what may be on its way.
    pub fn is_in_sync(&self) -> bool {
        self.is_voter && self.is_reachable && self.is_following && self.lag_entries <= PROMOTION_LAG_MAX
    }
}

impl Group {
    /// How each member stands; `None` unless this node leads and serves.
    pub fn standing(&self) -> Option<BTreeMap<NodeId, MemberStanding>> {
        let status = self.status();
        let raft = self.raft().filter(|_| status.is_serving)?;
        let (lag, never_heard) = (self.lag(raft), self.never_heard(raft));
        let (purged, last) = self.log().bounds();
        let end = |id: Option<highwater_storage::LogId>| id.map_or(0, |id| id.index.0 + 1);
        let held = end(last).saturating_sub(end(purged));
        let membership = {
            let metrics = raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().nodes().map(|(node, _)| *node).collect::<Vec<_>>()
        };
        let rejoining = self.rejoining();
        let voters: BTreeSet<NodeId> = status.all_voters().difference(&rejoining).copied().collect();
        let standing = membership.into_iter().map(|id| {
            let node = NodeId(id);
            let is_own = node == self.shared.node;
            let is_reachable = is_own || self.shared.liveness.supported_by(node, Duration::ZERO).is_some();
            let is_following = is_own || !never_heard.contains(&id) && self.is_followed_by(node);
            let lag_entries = lag.get(&id).copied().unwrap_or(u64::MAX).min(held);
            (node, MemberStanding { is_voter: voters.contains(&node), is_reachable, is_following, lag_entries })
        });
        Some(standing.collect())
    }

    /// Whether a member acknowledges this leader.
    fn is_followed_by(&self, member: NodeId) -> bool {
        let acks = &self.shared.acks;
        let (Some(vote), Some(run)) =
            (self.log().vote(), self.shared.liveness.supported_by(member, Duration::ZERO))
        else {
            return false;
        };
        acks.supports(member, vote, run) && acks.failing_for(member) < FAILING_MAX
    }
}

impl GroupHost {
    /// How long ago another node was heard of; `None` when it never was since this one started.
    pub fn last_heard(&self, node: NodeId) -> Option<Duration> {
        self.liveness().last_heard(node)
    }
}
