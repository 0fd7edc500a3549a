//! What a group does when the power went at so many of its replicas that those which are whole are no majority: with
//! `durability=memory`, nobody may vote then (R20).
//!
//! Once every voter is back, the longest log among them has all that is left of what was acknowledged. Who has it says so to those in
//! doubt; they vote for no shorter log from then on, and the group goes on. While a voter is away nothing happens: it may be the one
//! that has the rest. It never elects anybody by itself, and never shortens a log.
//!
//! Why the longest log is enough: an acknowledged entry that any voter still has was committed, so each leader of a later term had it,
//! and each log that ends in such a term, or later in its own, has it too.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_storage::{LogId, Vote};
use highwater_types::{NodeId, Term};

use crate::convert;
use crate::driver::has_live_leader;
use crate::group::{Group, GroupStatus};
use crate::message::{Ballot, PeerReply, PeerRequest, Surveyed};

/// How often the voters are asked.
pub(crate) const SURVEY_AGAIN: Duration = Duration::from_secs(1);
/// How long a group is without a leader before its voters are asked.
pub(crate) const SURVEY_AFTER: Duration = Duration::from_secs(1);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_millis(500);

impl Group {
    /// Whether a voter is in doubt, as far as is known here.
    pub(crate) fn may_need_survey(&self, status: &GroupStatus) -> bool {
        let voters = status.all_voters();
        let asks = || self.shared.rejoining.asked().into_iter().any(|(node, _)| voters.contains(&node));
        // One that catches up with memberships of before knows neither the voters nor what they may lack.
        let is_voter = voters.contains(&self.shared.node) && self.is_listed();
        is_voter && voters.len() > 1 && (self.is_in_doubt() || asks())
    }

    /// What this replica says of itself.
    pub(crate) fn surveyed(&self) -> Surveyed {
        let status = self.status();
        let is_led = match status.is_leader {
            true => status.is_serving,
            false => has_live_leader(self, &status),
        };
        Surveyed { last: self.log().bounds().1, is_doubtful: self.log().is_doubtful(), is_led }
    }

    /// Asks every voter how far its log goes; when all answer, nobody's goes further than this one's, and those that are whole are no
    /// majority, tells those in doubt.
    pub(crate) async fn survey(&self) {
        let status = self.shared.status.borrow().clone();
        let asked = status.all_voters().into_iter().map(|voter| async move { (voter, self.ask(voter).await) });
        let answers: BTreeMap<NodeId, Option<Surveyed>> =
            futures_util::future::join_all(asked).await.into_iter().collect();
        let is_led = answers.values().flatten().any(|answer| answer.is_led);
        let is_whole =
            |voter: NodeId| answers.get(&voter).is_some_and(|it| it.is_some_and(|it| !it.is_doubtful));
        if is_led || status.has_majority(is_whole) {
            return;
        }
        let away: Vec<NodeId> =
            answers.iter().filter(|(_, answer)| answer.is_none()).map(|(voter, _)| *voter).collect();
        if !away.is_empty() && self.shared.doubt.is_to_say() {
            tracing::warn!(
                group = %self.id(), ?away,
                "the power went at replicas with durability=memory, and those that are whole are no majority; the partition waits for the nodes that are away, for theirs may be the longest log"
            );
        }
        if !away.is_empty() {
            return;
        }
        let own = self.log().bounds().1;
        let answers: BTreeMap<NodeId, Surveyed> =
            answers.into_iter().filter_map(|(voter, answer)| Some((voter, answer?))).collect();
        if answers.values().any(|answer| answer.last > own) {
            return;
        }
        let in_doubt: Vec<NodeId> =
            answers.iter().filter(|(_, answer)| answer.is_doubtful).map(|(voter, _)| *voter).collect();
        tracing::warn!(
            group = %self.id(), ?in_doubt, end = %self.log().watermarks().log_end(),
            "the power went at a majority of the replicas, with durability=memory: records acknowledged shortly before may be gone; the log goes on with the longest that any replica has"
        );
        let other = in_doubt.iter().copied().find(|voter| *voter != self.shared.node);
        if let Some(other) = other.filter(|_| status.is_leader)
            && !self.cede(other).await
        {
            return;
        }
        for voter in in_doubt {
            self.tell(voter, own).await;
        }
        self.shared.driver.attend(self.id());
    }

    /// Ends a leadership that has no majority: a leader that never ceased to lead takes the others' logs for as long as they were, and
    /// openraft neither expects nor survives that one of them is shorter than it was. It stands again like anybody, in a term for which
    /// it begins with nothing. Whether it leads no more.
    async fn cede(&self, other: NodeId) -> bool {
        let (Some(raft), Some(vote)) = (self.raft(), self.log().vote()) else { return false };
        // As if the other had asked; it did not, so nobody leads that term.
        let vote = Vote { term: Term(vote.term.0 + 1), node: other, committed: false };
        let ballot = Ballot { vote, last: self.log().bounds().1, is_takeover: true };
        match raft.vote(convert::raft_ballot(ballot)).await {
            Ok(reply) => reply.vote_granted,
            Err(error) => {
                tracing::debug!(group = %self.id(), %error, "the leadership could not be ended");
                false
            }
        }
    }

    async fn ask(&self, voter: NodeId) -> Option<Surveyed> {
        if voter == self.shared.node {
            return Some(self.surveyed());
        }
        let call = self.shared.transport.call(self.member(voter)?, self.id(), PeerRequest::Survey, DEADLINE);
        match call.await {
            Ok(PeerReply::Survey(answer)) => Some(answer),
            _ => None,
        }
    }

    async fn tell(&self, voter: NodeId, floor: Option<LogId>) {
        self.shared.rejoining.forget(voter);
        if voter == self.shared.node {
            self.shared.doubt.settle(floor);
            return;
        }
        let Some(to) = self.member(voter) else { return };
        let told = self.shared.transport.call(to, self.id(), PeerRequest::Settle(floor), DEADLINE).await;
        if !matches!(told, Ok(PeerReply::Settle(true))) {
            // It is asked and told again.
            tracing::debug!(group = %self.id(), %voter, "a voter in doubt was not told");
        }
    }
}
