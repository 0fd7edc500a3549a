//! A replica that is another member than its group knows asks to be taken in, and whoever leads hears of it, or asks who it is. A leader
//! that takes it for another is answered with who it is: the replica may not know anybody whom it could ask.
//!
//! The leader's [`reconcile`](crate::Group::reconcile) does the rest: the member that was leaves, the new one joins as a learner, catches
//! up and votes. It never touches a log.
//!
//! Every replica that comes to a group with a past is such another one, for its node may have had a replica of that group before. That
//! one has left, and forgotten what it promised; the memberships that named it are still in the log, which the new one catches up with.
//!
//! Invariants:
//! - It is asked again and again, of every voter that is known, until a leader's membership names who this replica is.
//! - What was heard counts for a moment only: who still wants to be taken in says so again.
//! - Nobody joins of whom the leader does not know who it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use highwater_storage::GroupOptions;
use highwater_types::{GroupId, Incarnation, NodeId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::driver::Driver;
use crate::error::ConsensusError;
use crate::group::Group;
use crate::host::GroupHost;
use crate::liveness::SUPPORT;
use crate::membership::MemberInfo;
use crate::message::{Identity, Member, PeerReply, PeerRequest, Rejoin};

/// How often it is asked.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long what was heard counts.
const HEARD_LASTS: Duration = Duration::from_secs(2);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_millis(400);

/// Who asked to be taken in, as whom and when.
pub(crate) struct Rejoining {
    group: GroupId,
    heard: Mutex<BTreeMap<NodeId, (Rejoin, Instant)>>,
    driver: Arc<Driver>,
    /// Changes when the members are to be looked at again.
    changes: watch::Sender<u64>,
}

impl Rejoining {
    /// Of a group that nobody has asked yet. Whoever looks after it is told through the other two.
    pub(crate) fn new(group: GroupId, driver: Arc<Driver>, changes: watch::Sender<u64>) -> Self {
        Self { group, heard: Mutex::default(), driver, changes }
    }

    /// Notes the wish, and has it seen to when it is news.
    pub(crate) fn hear(&self, from: NodeId, rejoin: Rejoin) {
        let known = self.heard.lock().insert(from, (rejoin, Instant::now()));
        if known.is_none_or(|(known, at)| known != rejoin || at.elapsed() > HEARD_LASTS) {
            self.driver.attend(self.group);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Notes who a replica says it is that was taken for another.
    pub(crate) fn hear_who_is_there(&self, from: NodeId, identity: Identity) {
        if let Identity { node, replica: Some(replica) } = identity {
            self.hear(from, Rejoin { node, replica });
        }
    }

    /// Forgets a wish that has no ground any more.
    pub(crate) fn forget(&self, node: NodeId) {
        self.heard.lock().remove(&node);
    }

    /// Who asks now.
    pub(crate) fn asked(&self) -> Vec<(NodeId, Rejoin)> {
        let heard = self.heard.lock();
        let lately = heard.iter().filter(|(_, (_, at))| at.elapsed() <= HEARD_LASTS);
        lately.map(|(node, (rejoin, _))| (*node, *rejoin)).collect()
    }

    /// What the membership should say of a member's replica; `actual` is what it says.
    pub(crate) fn wanted(&self, member: Member, actual: &MemberInfo) -> MemberInfo {
        let asked = self.heard.lock().get(&member.node).copied();
        let asked =
            asked.filter(|(rejoin, at)| rejoin.node == member.incarnation && at.elapsed() <= HEARD_LASTS);
        let known = actual.replica.filter(|_| actual.incarnation == member.incarnation);
        MemberInfo {
            incarnation: member.incarnation,
            replica: asked.map(|(rejoin, _)| rejoin.replica).max(known),
        }
    }
}

impl Group {
    /// Whether another replica asks to be taken in as another member than it was: the members are to be looked at again.
    pub fn has_rejoining(&self) -> bool {
        !self.rejoining().is_empty()
    }

    /// The nodes whose replicas are not, or no more, the members that they were, and say so.
    pub(crate) fn rejoining(&self) -> BTreeSet<NodeId> {
        let asked = self.shared.rejoining.asked().into_iter();
        let is_other = |(node, rejoin): &(NodeId, Rejoin)| {
            let info = self.member_info(*node);
            info.is_none_or(|info| info.incarnation == rejoin.node && info.replica < Some(rejoin.replica))
        };
        asked.filter(is_other).map(|(node, _)| node).collect()
    }

    /// Whether this replica may lack entries that it acknowledged, and so neither votes nor counts for now (R20).
    pub fn is_in_doubt(&self) -> bool {
        self.shared.doubt.is_barred()
    }

    /// Asks replicas that are to join who they are. Those that do not say it are not there, or do not run yet, or their nodes are not the
    /// ones that are meant.
    pub(crate) async fn identify(&self, joining: Vec<Member>) -> BTreeMap<NodeId, MemberInfo> {
        let asked = joining.into_iter().map(|member| async move {
            let to = Member { incarnation: Incarnation(0), ..member };
            let call = self.shared.transport.call(to, self.id(), PeerRequest::Identify, DEADLINE);
            match call.await {
                Ok(PeerReply::Identity(Identity { node, replica })) if node == member.incarnation => {
                    Some((member.node, MemberInfo { incarnation: node, replica }))
                }
                answer => {
                    tracing::debug!(group = %self.id(), node = %member.node, ?answer, "a replica that is to join does not say who it is");
                    None
                }
            }
        });
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether a node that was there has gone silent: to ask it would take the whole deadline.
    pub(crate) fn is_silent(&self, node: NodeId) -> bool {
        self.shared.liveness.last_heard(node).is_some_and(|ago| ago > SUPPORT)
    }

    /// Whether this replica is not who its group takes it for.
    pub(crate) fn is_estranged(&self) -> bool {
        self.shared.doubt.must_ask() || self.is_unlisted()
    }

    /// Whether the newest membership that this replica has seen does not name it as who it became.
    fn is_unlisted(&self) -> bool {
        self.log().incarnation().is_some() && !self.is_listed()
    }

    /// Whether the newest membership that this replica has seen names it as who it is. While it catches up that may be an old one, of
    /// members whose data this node had before: none of them is this replica.
    pub(crate) fn is_listed(&self) -> bool {
        let here = self.shared.doubt.here();
        self.member(self.shared.node).is_some_and(|own| own.incarnation == here)
    }

    /// Whether this replica may stand for election: it is who its group takes it for, and has all that is left of what it acknowledged.
    pub(crate) fn may_stand(&self) -> bool {
        self.is_listed() && self.shared.doubt.may_vote_for(self.log().bounds().1)
    }

    /// Whether a leader has taken this replica in, though its log may not say so yet.
    pub(crate) fn is_taken_in(&self) -> bool {
        self.shared.doubt.is_taken_in()
    }

    /// Asks every voter, or all `peers` while no voter is known or answers, to have this replica taken in. Does not wait for the answers.
    pub(crate) fn ask_to_rejoin(&self, peers: BTreeSet<NodeId>, is_unheard: bool) {
        let doubt = &self.shared.doubt;
        let rejoin = Rejoin { node: doubt.node(), replica: doubt.offer() };
        let voters = self.shared.status.borrow().all_voters();
        let asked = if voters.is_empty() || is_unheard { peers } else { voters };
        for node in asked.into_iter().filter(|node| *node != self.shared.node) {
            let group = self.clone();
            tokio::spawn(async move {
                // Whoever the receiver is: this replica may not know.
                let to = Member { node, incarnation: Incarnation(0) };
                let request = PeerRequest::Rejoin(rejoin);
                let answer = group.shared.transport.call(to, group.id(), request, DEADLINE).await;
                if let Err(error) = answer {
                    tracing::debug!(group = %group.id(), %node, %error, "the wish to rejoin did not arrive");
                }
            });
        }
    }
}

impl GroupHost {
    /// Gives up all that this node's replica of a group has, and who it was: for a replica whose data is damaged. It has an empty log
    /// from here on, which is durable on return, and asks to be taken in as a new member once it is started again, with
    /// [`Origin::Existing`](crate::Origin::Existing). The group is stopped. Its files are deleted: who wants to keep them moves them away before.
    ///
    /// # Errors
    /// When the group has no log here, or the store fails; calling again is safe.
    pub async fn renew_group(&self, id: GroupId, options: GroupOptions) -> Result<(), ConsensusError> {
        self.stop_group(id).await;
        let own = self.store().group(id).and_then(|log| log.incarnation());
        self.store().renew_group(id, options, self.incarnations().draw(own)).await?;
        Ok(())
    }
}
