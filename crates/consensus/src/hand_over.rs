//! A leader hands its group over to another voter.
//!
//! openraft's own transfer cannot be taken back: when the successor does not win, the old leader takes no proposal for the rest of its
//! term. So the old leader stays a plain leader here. It holds proposals back for a moment, so that the successor can have
//! all of its log, and asks the successor to stand; should that fail, it goes on.

use std::time::Duration;

use highwater_storage::{LogId, Vote};
use highwater_types::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep, timeout_at};

use crate::convert;
use crate::error::ConsensusError;
use crate::group::Group;
use crate::membership::MemberInfo;
use crate::message::{Member, PeerReply, PeerRequest, TakeOver};

/// How long the successor may take to have all but the newest entries; proposals go on meanwhile.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(5);
/// How long proposals are held back at most.
const HAND_OVER_DEADLINE: Duration = Duration::from_millis(1000);
/// How often it is looked whether the successor has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Group {
    /// Hands the leadership over to `successor`, a voter of the group. On success this node leads no more, and the successor
    /// does or is about to. Proposals wait for a moment and fail with [`ConsensusError::NotLeader`] afterwards.
    ///
    /// Cancel-safe: a dropped call leaves one of the two leading.
    ///
    /// # Errors
    /// When this node does not lead, or the successor cannot take over in time; this node then goes on leading.
    pub async fn hand_over(&self, successor: NodeId) -> Result<(), ConsensusError> {
        let status = self.shared.status.borrow().clone();
        let (Some(vote), true) = (self.log().vote(), status.is_leader) else {
            return Err(ConsensusError::NotLeader { leader: status.leader });
        };
        let to = self.member(successor).filter(|_| status.all_voters().contains(&successor));
        let to = to.ok_or_else(|| ConsensusError::Failed {
            reason: format!("node {successor} is no voter of group {}", self.id()),
        })?;
        self.shared.driver.attend(self.id());
        let caught_up = self.until_stored(successor, vote, Instant::now() + CATCH_UP_DEADLINE).await;
        caught_up.ok_or_else(|| cannot(successor, "it does not catch up"))?;
        let pause = Pause::begin(self);
        let deadline = Instant::now() + HAND_OVER_DEADLINE;
        let last = self.until_stored(successor, vote, deadline).await;
        let last = last.ok_or_else(|| cannot(successor, "it does not catch up"))?;
        // From here on the others may vote for the successor, so their support for this leader counts no more.
        self.shared.acks.forget_all();
        let request = PeerRequest::TakeOver(TakeOver { vote, to: successor, last });
        let wait = deadline.saturating_duration_since(Instant::now());
        match self.shared.transport.call(to, self.id(), request, wait).await {
            Ok(PeerReply::TakeOver(true)) => {}
            Ok(_) => return Err(cannot(successor, "it does not stand for election")),
            Err(error) => return Err(cannot(successor, &error.to_string())),
        }
        let mut watched = self.watch();
        let gone = timeout_at(deadline, watched.wait_for(|status| !status.is_leader)).await;
        drop(pause);
        match gone {
            Ok(_) => Ok(()),
            Err(_) => Err(cannot(successor, "it was not elected")),
        }
    }

    /// The member of that node id, as requests to it name it, as the newest membership has it.
    pub(crate) fn member(&self, node: NodeId) -> Option<Member> {
        self.member_info(node).map(|info| Member { node, incarnation: info.addressed() })
    }

    /// What the newest membership says of a node.
    pub(crate) fn member_info(&self, node: NodeId) -> Option<MemberInfo> {
        let metrics = self.raft()?.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_node(&node.0).copied()
    }

    /// Waits until `member` has stored the whole log, and says up to where that was.
    async fn until_stored(&self, member: NodeId, vote: Vote, deadline: Instant) -> Option<Option<LogId>> {
        loop {
            let last = self.raft()?.data_metrics().borrow_watched().last_log.as_ref().map(convert::log_id);
            if self.shared.acks.has_stored(member, vote, last) {
                return Some(last);
            }
            if Instant::now() >= deadline || !self.shared.status.borrow().is_leader {
                return None;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits while the leadership is being handed over, which has a deadline. Cancel-safe.
    pub(crate) async fn until_handed_over(&self) {
        let mut handing_over = self.shared.handing_over.subscribe();
        // The sender lives as long as the group.
        let _ = handing_over.wait_for(|is_handing_over| !is_handing_over).await;
    }
}

/// Holds proposals back for as long as it lives.
struct Pause(Group);

impl Pause {
    fn begin(group: &Group) -> Self {
        group.shared.handing_over.send_replace(true);
        Self(group.clone())
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.shared.handing_over.send_replace(false);
    }
}

fn cannot(successor: NodeId, why: &str) -> ConsensusError {
    ConsensusError::Failed { reason: format!("node {successor} cannot take over: {why}") }
}
