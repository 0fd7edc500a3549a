//! What peers ask of this node's replicas.
//!
//! A peer is trusted to follow the protocol, its bytes are not: whatever would make openraft or the log end
//! the group is refused here, by name, before either sees it.

use highwater_storage::{LogId, Payload, Vote};
use highwater_types::{GroupId, Incarnation, NodeId, ProcessEpoch, RaftIndex, Term, mutant};
use openraft::errors::RaftError;
use tokio::time::Instant;

use crate::convert;
use crate::driver::has_live_leader;
use crate::error::{ConsensusError, RefusedRequest};
use crate::group::{Group, HeardLeader, fatal_error};
use crate::host::GroupHost;
use crate::message::{Append, AppendReply, BallotReply, PeerReply, PeerRequest, Sender, SnapshotTransfer};
use crate::repair::give_batches;
use crate::type_config::Types;

impl GroupHost {
    /// Handles a request that `from` sent to the replica of `group` here, at incarnation `to`. On return what the answer says
    /// is durable as the group's options say; a granted vote is always synced. Cancel-safe: the request may or may not take effect.
    ///
    /// # Errors
    /// When the replica took nothing of it: it does not run here, is quarantined, has no room, or the request is malformed.
    pub async fn receive(
        &self,
        from: Sender,
        to: Incarnation,
        group: GroupId,
        request: PeerRequest,
    ) -> Result<PeerReply, RefusedRequest> {
        let group = self.group(group).ok_or(ConsensusError::Unknown { group })?;
        let Some(raft) = group.raft() else {
            // What a replica proves whole, it has also when it is out of service.
            if let PeerRequest::Batches(wanted) = request {
                return Ok(PeerReply::Batches(give_batches(group.log(), wanted).await?));
            }
            let reason = group.status().quarantined.unwrap_or_default();
            return Err(ConsensusError::Quarantined { reason }.into());
        };
        check_addressee(&group, to, &request)?;
        let (from, epoch) = (from.node, from.epoch);
        if let Some(reply) = without_a_vote(&group, &request) {
            return Ok(reply);
        }
        match request {
            PeerRequest::Append(append) => {
                let taken =
                    move |group: Group| async move { receive_append(&group, from, epoch, append).await };
                in_turn(group, to, taken).await
            }
            PeerRequest::Vote(ballot) => {
                sent_by(from, ballot.vote.node)?;
                let is_promised = !ballot.is_takeover && self.is_promised(&group, from);
                if is_promised || !group.shared.doubt.may_vote_for(ballot.last) {
                    return Ok(not_granted(&group));
                }
                let reply = raft.vote(convert::raft_ballot(ballot)).await.map_err(raft_error)?;
                Ok(PeerReply::Vote(convert::ballot_reply(&reply)))
            }
            PeerRequest::PreVote(ballot) => {
                sent_by(from, ballot.vote.node)?;
                if self.is_promised(&group, from) || !group.shared.doubt.may_vote_for(ballot.last) {
                    return Ok(not_granted(&group));
                }
                let reply = raft.pre_vote(convert::raft_ballot(ballot)).await.map_err(raft_error)?;
                Ok(PeerReply::Vote(convert::ballot_reply(&reply)))
            }
            PeerRequest::Snapshot(transfer) => {
                let taken = move |group: Group| async move { receive_snapshot(&group, from, transfer).await };
                in_turn(group, to, taken).await
            }
            PeerRequest::TakeOver(message) => {
                sent_by(from, message.vote.node)?;
                if !group.may_stand() {
                    return Ok(PeerReply::TakeOver(false));
                }
                let request = convert::raft_take_over(&message);
                let answer = raft.handle_transfer_leader(request).await.map_err(|fatal| fatal_error(&fatal))?;
                Ok(PeerReply::TakeOver(answer.is_ok()))
            }
            PeerRequest::Rejoin(rejoin) => {
                group.shared.rejoining.hear(from, rejoin);
                Ok(PeerReply::Rejoin(group.status().is_serving))
            }
            PeerRequest::Identify => Ok(PeerReply::Identity(group.shared.doubt.identity())),
            PeerRequest::Survey => Ok(PeerReply::Survey(group.surveyed())),
            PeerRequest::Settle(floor) => {
                let goes_by_it = group.shared.doubt.settle(floor);
                self.driver().attend(group.id());
                Ok(PeerReply::Settle(goes_by_it))
            }
            PeerRequest::Batches(wanted) => Ok(PeerReply::Batches(give_batches(group.log(), wanted).await?)),
        }
    }

    /// Whether this node has promised its vote in the group to somebody else than `candidate` (R14). The metadata group goes by the
    /// core's own leases.
    fn is_promised(&self, group: &Group, candidate: NodeId) -> bool {
        if group.id() == GroupId::Metadata || mutant!(PromiseIgnored) {
            return false;
        }
        let status = group.status();
        let leads = status.is_leader && status.is_serving;
        let follows = status.leader != Some(candidate) && has_live_leader(group, &status);
        leads || follows || !self.liveness().may_vote()
    }
}

/// Whether a request for `to` means the replica here, and it may act on it.
fn check_addressee(group: &Group, to: Incarnation, request: &PeerRequest) -> Result<(), RefusedRequest> {
    match request {
        // A leader's word may change who this replica is. A replica that wants to rejoin cannot know who others are, and a leader not who
        // is to join. What is committed is the same under every name.
        PeerRequest::Append(_)
        | PeerRequest::Snapshot(_)
        | PeerRequest::Rejoin(_)
        | PeerRequest::Identify
        | PeerRequest::Batches(_) => Ok(()),
        PeerRequest::Survey | PeerRequest::Settle(_) => group.shared.doubt.recognize(to),
        PeerRequest::Vote(_) | PeerRequest::PreVote(_) | PeerRequest::TakeOver(_) => {
            group.shared.doubt.admit(to)
        }
    }
}

/// Takes a leader's entries or state, one request after another. Who the leader takes this replica in as, it becomes first; a leader that
/// means another is told who is here. It goes on when the peer is gone meanwhile: the core takes the request in either way, and what follows must not begin before it has.
async fn in_turn<F>(
    group: Group,
    to: Incarnation,
    taken: impl FnOnce(Group) -> F + Send + 'static,
) -> Result<PeerReply, RefusedRequest>
where
    F: Future<Output = Result<PeerReply, RefusedRequest>> + Send + 'static,
{
    let work = async move {
        let _turn = group.shared.inbound.lock().await;
        match group.shared.doubt.admit_leader(to).await {
            Ok(()) => taken(group.clone()).await,
            Err(RefusedRequest::OtherIncarnation { .. }) => {
                Ok(PeerReply::Identity(group.shared.doubt.identity()))
            }
            Err(refused) => Err(refused),
        }
    };
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // The runtime ends.
        Err(_) => Err(ConsensusError::Stopped.into()),
    }
}

/// What a replica without a log answers to candidates: it has no vote (R16). A leader gives it a log first, and a vote after that.
fn without_a_vote(group: &Group, request: &PeerRequest) -> Option<PeerReply> {
    if group.log().bounds() != (None, None) {
        return None;
    }
    match request {
        PeerRequest::Vote(_) | PeerRequest::PreVote(_) => Some(not_granted(group)),
        PeerRequest::TakeOver(_) => Some(PeerReply::TakeOver(false)),
        _ => None,
    }
}

/// The answer of a replica that keeps its vote.
fn not_granted(group: &Group) -> PeerReply {
    let vote = group.log().vote().unwrap_or(Vote { term: Term::ZERO, node: NodeId(0), committed: false });
    PeerReply::Vote(BallotReply { vote, is_granted: false, last: group.log().bounds().1 })
}

async fn receive_append(
    group: &Group,
    from: NodeId,
    epoch: ProcessEpoch,
    append: Append,
) -> Result<PeerReply, RefusedRequest> {
    sent_by(from, append.vote.node)?;
    check_entries(group, &append)?;
    group.shared.room.take(group.log(), &append.entries)?;
    let term = append.vote.term;
    let last = append.entries.last().map(|entry| entry.id);
    let request = convert::raft_append(append).map_err(|error| malformed(error.to_string()))?;
    let raft = group.raft().ok_or(ConsensusError::Stopped)?;
    let reply = raft.append_entries(request).await.map_err(raft_error)?;
    // What stood above, of an older leader, is truncated.
    group.shared.room.cut_after(group.log().bounds().1.max(last));
    let reply = convert::append_reply(reply);
    if !matches!(reply, AppendReply::HigherVote(_)) {
        *group.shared.heard_leader.lock() = Some(HeardLeader { term, epoch, at: Instant::now() });
    }
    Ok(PeerReply::Append(reply))
}

async fn receive_snapshot(
    group: &Group,
    from: NodeId,
    transfer: SnapshotTransfer,
) -> Result<PeerReply, RefusedRequest> {
    sent_by(from, transfer.vote.node)?;
    let is_beyond = transfer.last.is_some_and(|last| last.term > transfer.vote.term);
    if is_beyond || !transfer.vote.committed {
        return Err(malformed("its last entry is of a later term than its leader".to_owned()));
    }
    // Equal or lower at another term contradicts what is committed here, which openraft answers by a panic.
    let committed = group.log().committed();
    if let (Some(last), Some(committed)) = (transfer.last, committed)
        && (last > committed) != (last.index > committed.index)
    {
        return Err(malformed(format!("it ends at {last}, which contradicts {committed}, committed here")));
    }
    let (vote, snapshot) = convert::raft_snapshot(transfer).map_err(|error| malformed(error.to_string()))?;
    let raft = group.raft().ok_or(ConsensusError::Stopped)?;
    let reply = raft.install_full_snapshot(vote, snapshot).await.map_err(|fatal| fatal_error(&fatal))?;
    Ok(PeerReply::Snapshot(convert::vote(&reply.vote)))
}

/// Entries follow each other and the log, and every batch is whole (R5). A log that is told otherwise ends its group.
fn check_entries(group: &Group, append: &Append) -> Result<(), RefusedRequest> {
    let applied = group.log().applied_id();
    let mut previous = append.previous;
    let mut offset = group.log().offset_after(append.previous);
    for entry in &append.entries {
        let expected = previous.map_or(RaftIndex::ZERO, |id| id.index.next());
        let earliest = previous.map_or(Term::ZERO, |id| id.term);
        if entry.id.index != expected || entry.id.term < earliest || entry.id.term > append.vote.term {
            return Err(does_not_follow(entry.id, previous));
        }
        previous = Some(entry.id);
        if let Payload::Batch(batch) = &entry.payload {
            batch.verify().map_err(|error| malformed(format!("the batch of entry {}: {error}", entry.id)))?;
            let is_new = Some(entry.id) > applied;
            let at_wrong_offset = is_new && offset.is_some_and(|offset| batch.base_offset() != offset);
            if at_wrong_offset || batch.partition_leader_epoch() != entry.id.term.into() {
                let (base, epoch) = (batch.base_offset(), batch.partition_leader_epoch());
                return Err(malformed(format!(
                    "the batch of entry {} has offset {base} and epoch {epoch}, the log goes on at {offset:?}",
                    entry.id
                )));
            }
            offset = Some(batch.next_offset());
        }
        if Some(entry.id) == applied {
            offset = group.log().offset_after(applied);
        }
    }
    Ok(())
}

fn does_not_follow(id: LogId, previous: Option<LogId>) -> RefusedRequest {
    let before = previous.map_or("the start of the log".to_owned(), |id| id.to_string());
    malformed(format!("entry {id} does not follow {before}"))
}

/// A replica speaks for itself only.
fn sent_by(from: NodeId, node: NodeId) -> Result<(), RefusedRequest> {
    if from == node {
        return Ok(());
    }
    Err(malformed(format!("node {from} sent it in the name of node {node}")))
}

fn malformed(reason: String) -> RefusedRequest {
    RefusedRequest::Malformed { reason }
}

fn raft_error(error: RaftError<Types>) -> RefusedRequest {
    match error {
        RaftError::Fatal(fatal) => fatal_error(&fatal).into(),
        RaftError::APIError(never) => match never {},
    }
}
