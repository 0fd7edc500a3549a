//! A leader hands its group over to another voter.
//!
//! openraft's own transfer cannot be taken back: when the successor does not win, the old leader takes no proposal for the rest of its
//! term. So the old leader stays a plain leader here.
//!
//! ```text
//! the successor catches up, while proposals go on      in vain ─▶ it goes on leading
//! proposals are held; the successor gets the rest      in vain ─▶ it goes on leading
//! the successor is asked to stand for election         nothing taken of it ─▶ it goes on leading
//!                                                      elected ─▶ it follows
//!                                                      unknown, or not elected ─▶ it stands down, and stands in a later term
//! ```
//!
//! Invariants:
//! - From when the successor is asked, what the others acknowledge to this leader is no support: they may vote for the successor, whatever
//!   they promised (R14).
//! - Nobody is asked while the members change, and they do not change while somebody is asked.
//! - A request to stand that may yet arrive, however late, is for a term that nobody leads any more.

use std::sync::Arc;
use std::time::Duration;

use highwater_storage::{LogId, Vote};
use highwater_types::{NodeId, Term};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep, timeout_at};

use crate::convert;
use crate::error::ConsensusError;
use crate::group::Group;
use crate::membership::MemberInfo;
use crate::message::{Ballot, Member, PeerReply, PeerRequest, TakeOver};
use crate::transport::TransportError;

/// How long the successor may take to have all but the newest entries; proposals go on meanwhile.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(5);
/// It has all but the newest entries when it takes no longer than that for those of one moment: about so long proposals will be held back.
const CLOSE: Duration = Duration::from_millis(25);
/// Of one that does not get as close, a part of the time for which that was waited for is enough too.
const CLOSE_PART: u32 = 20;
/// How long they are held back at most until it is elected.
const ELECTION_DEADLINE: Duration = Duration::from_millis(1000);
/// How often it is looked whether the successor has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Group {
    /// Hands the leadership over to `successor`, a voter of the group. On success this node leads no more, and the successor
    /// does or is about to. Proposals wait for a moment and fail with [`ConsensusError::NotLeader`] afterwards.
    ///
    /// Cancel-safe: a dropped call leaves one of the two leading.
    ///
    /// # Errors
    /// When this node does not lead, or the successor cannot take over in time. This node then goes on leading; only when it cannot tell
    /// whether the successor stands for election, it stands down, so that for a moment nobody leads.
    pub async fn hand_over(&self, successor: NodeId) -> Result<(), ConsensusError> {
        let status = self.shared.status.borrow().clone();
        let own = self.log().vote().filter(|vote| vote.committed && vote.node == self.shared.node);
        let (Some(vote), true) = (own, status.is_leader) else {
            return Err(ConsensusError::NotLeader { leader: status.leader });
        };
        let to = self.member(successor).filter(|_| status.all_voters().contains(&successor));
        let to = to.ok_or_else(|| ConsensusError::Failed {
            reason: format!("node {successor} is no voter of group {}", self.id()),
        })?;
        self.shared.driver.attend(self.id());
        let distance = self.until_close(successor, vote).await;
        let distance = distance.ok_or_else(|| cannot(successor, "it does not catch up"))?;
        let members = Arc::clone(&self.shared.members).try_lock_owned();
        let members = members
            .ok()
            .filter(|_| self.has_settled_members())
            .ok_or_else(|| cannot(successor, "the members of its group are being changed"))?;
        let pause = Pause::begin(self)
            .ok_or_else(|| cannot(successor, "the leadership is being handed over already"))?;
        let last = self.until_whole(successor, vote, Instant::now() + 2 * distance).await;
        let last = last.ok_or_else(|| cannot(successor, "it does not catch up"))?;
        if self.shared.liveness.supported_by(successor, Duration::ZERO).is_none() {
            return Err(cannot(successor, "it cannot be reached"));
        }
        // What follows must come to its end, whatever becomes of the caller.
        let group = self.clone();
        let asked = tokio::spawn(async move {
            let _held = (pause, members);
            group.ask_to_take_over(to, vote, last).await
        });
        match asked.await {
            Ok(handed_over) => handed_over,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime ends.
            Err(_) => Err(ConsensusError::Stopped),
        }
    }

    async fn ask_to_take_over(
        &self,
        to: Member,
        vote: Vote,
        last: Option<LogId>,
    ) -> Result<(), ConsensusError> {
        let deadline = Instant::now() + ELECTION_DEADLINE;
        self.shared.acks.release(vote);
        let request = PeerRequest::TakeOver(TakeOver { vote, to: to.node, last });
        let answer = self.shared.transport.call(to, self.id(), request, ELECTION_DEADLINE).await;
        let why = match answer {
            Ok(PeerReply::TakeOver(true)) => {
                let mut watched = self.watch();
                let over = watched.wait_for(|status| !status.is_leader || status.term != vote.term);
                if timeout_at(deadline, over).await.is_ok() {
                    return Ok(());
                }
                "it was not elected".to_owned()
            }
            Ok(PeerReply::TakeOver(false)) => {
                self.shared.acks.reclaim(vote);
                return Err(cannot(to.node, "it does not stand for election"));
            }
            Err(error @ (TransportError::Unreachable { .. } | TransportError::Refused { .. })) => {
                self.shared.acks.reclaim(vote);
                return Err(cannot(to.node, &error.to_string()));
            }
            Ok(_) => "its answer is of another kind than the request".to_owned(),
            Err(error) => error.to_string(),
        };
        self.stand_down(to.node, vote).await;
        Err(cannot(to.node, &format!("{why}; this node stands down until a leader is elected again")))
    }

    /// Leaves the term of `vote`, which the successor may be asked to follow up at any later time. openraft lets a leader leave its term
    /// only for a vote in a later one: it gives the successor the one that it was asked to stand for.
    async fn stand_down(&self, successor: NodeId, vote: Vote) {
        let next = Vote { term: Term(vote.term.0 + 1), node: successor, committed: false };
        while let (Some(raft), Some(last)) = (self.raft(), self.last_entry().await) {
            let ballot = convert::raft_ballot(Ballot { vote: next, last, is_takeover: true });
            match raft.vote(ballot).await {
                // It was refused for an entry that came in since.
                Ok(reply) if convert::vote(&reply.vote) == vote => {}
                // Otherwise the core has ended.
                Ok(_) | Err(_) => return,
            }
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

    /// Whether the newest membership is committed.
    fn has_settled_members(&self) -> bool {
        let Some(raft) = self.raft() else { return false };
        let changed_at = *raft.server_metrics().borrow_watched().membership_config.log_id();
        changed_at <= raft.data_metrics().borrow_watched().cluster_committed
    }

    /// The end of the log with all that was proposed before the call. `None` when the core has ended.
    async fn last_entry(&self) -> Option<Option<LogId>> {
        let last = self.raft()?.with_raft_state(|state| state.log_ids.last().cloned()).await.ok()?;
        Some(last.as_ref().map(convert::log_id))
    }

    /// Waits until `member` lacks only what may be on its way. It has what was there at one moment after a while, and after that what came
    /// in meanwhile; while proposals go on there is always something that it lacks. Returns how long it may take for that at most.
    async fn until_close(&self, member: NodeId, vote: Vote) -> Option<Duration> {
        let asked = Instant::now();
        loop {
            let begun = Instant::now();
            let last = self.last_entry().await?;
            while !self.shared.acks.has_stored(member, vote, last) {
                if !self.goes_on(asked + CATCH_UP_DEADLINE).await {
                    return None;
                }
            }
            let enough = CLOSE.max(asked.elapsed() / CLOSE_PART);
            if begun.elapsed() <= enough {
                return Some(enough);
            }
        }
    }

    /// Waits until `member` has stored the whole log, to which nothing may be added meanwhile, and says up to where that is.
    async fn until_whole(&self, member: NodeId, vote: Vote, deadline: Instant) -> Option<Option<LogId>> {
        loop {
            let last = self.last_entry().await?;
            if self.shared.acks.has_stored(member, vote, last) {
                return Some(last);
            }
            if !self.goes_on(deadline).await {
                return None;
            }
        }
    }

    /// Rests before the next look. Whether there should be one: there is time, and this node leads.
    async fn goes_on(&self, deadline: Instant) -> bool {
        let has_time = Instant::now() < deadline && self.shared.status.borrow().is_leader;
        if has_time {
            sleep(LOOK_AGAIN).await;
        }
        has_time
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
    /// `None` when they are held back already.
    fn begin(group: &Group) -> Option<Self> {
        let begins = group.shared.handing_over.send_if_modified(|holds| !std::mem::replace(holds, true));
        begins.then(|| Self(group.clone()))
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
