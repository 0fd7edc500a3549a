//! A group that lost the majority of its voters for good goes on from one replica: offline, in the log of a node that does not run.
//!
//! Raft has no such step; it is taken against its rules. What makes it safe is not here: whoever is left behind must never speak to
//! the group again, which the cluster's new id sees to.
//!
//! What is written is what a leader would have written that died right after: its vote in a term above all that are known here, and
//! in that term a membership of itself alone. So the next start finds a log like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::journal::JournalError;
use highwater_storage::{GroupLog, LogId, NewEntry, NewPayload, Payload, Vote};
use highwater_types::{NodeId, RaftIndex, Term};
use openraft::Membership;
use tokio::sync::oneshot;

use crate::error::ConsensusError;
use crate::membership::{self, MemberInfo};
use crate::message::Member;

/// Bytes of entries that are read at one time.
const READ_BYTES_MAX: usize = 4 << 20;

/// Where a replica stands that does not run.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The last entry; none of a group that never began.
    pub last: Option<LogId>,
    /// The last entry that is known here to be committed.
    pub committed: Option<LogId>,
    /// The last entry that is applied, and everything before it.
    pub applied: Option<LogId>,
    /// The newest term that is known here.
    pub term: Term,
    /// Who votes by the newest membership in the log; all of both sets while it changes.
    pub voters: BTreeSet<Member>,
    /// Who follows without a vote.
    pub learners: BTreeSet<Member>,
    /// The commands after the applied entry, of a group whose entries are commands.
    pub commands: Vec<Bytes>,
}

/// Says where a replica stands.
///
/// # Errors
/// When its log cannot be read.
pub fn standing(log: &GroupLog) -> Result<Standing, ConsensusError> {
    let (applied, in_force) = log.applied();
    let (_, last) = log.bounds();
    let mut standing = Standing {
        last,
        committed: log.committed().max(applied),
        applied,
        term: log.vote().map_or(Term::ZERO, |vote| vote.term).max(last.map_or(Term::ZERO, |last| last.term)),
        ..Standing::default()
    };
    let mut membership = in_force.map(|entry| entry.payload);
    let mut next = applied.map_or(RaftIndex::ZERO, |applied| applied.index.next());
    let end = last.map_or(RaftIndex::ZERO, |last| last.index.next());
    while next < end {
        for entry in log.entries(next, end, READ_BYTES_MAX)? {
            next = entry.id.index.next();
            match entry.payload {
                Payload::Membership(_) => membership = Some(entry.payload),
                Payload::Control(command) => standing.commands.push(command),
                Payload::Blank | Payload::Batch(_) => {}
            }
        }
    }
    if let Some(Payload::Membership(encoded)) = membership {
        let decoded = membership::decode(&encoded).map_err(failed)?;
        let voters: BTreeSet<u64> = decoded.voter_ids().collect();
        for (node, info) in decoded.nodes() {
            let member = Member { node: NodeId(*node), incarnation: info.incarnation };
            let set = if voters.contains(node) { &mut standing.voters } else { &mut standing.learners };
            set.insert(member);
        }
    }
    Ok(standing)
}

/// Makes `member`, whose log this is, the only voter of the group, and appends commands after that. Everything in the log counts as
/// committed at the next start. Durable on return. To do it again is safe.
///
/// # Errors
/// When the log is empty, is quarantined or cannot be written.
pub async fn make_sole_voter(
    log: &Arc<GroupLog>,
    member: Member,
    commands: Vec<Bytes>,
) -> Result<LogId, ConsensusError> {
    if let Some(reason) = log.quarantine() {
        return Err(ConsensusError::Quarantined { reason: reason.to_owned() });
    }
    let standing = standing(log)?;
    let Some(last) = standing.last else {
        return Err(ConsensusError::Failed { reason: "the group has no log here".to_owned() });
    };
    let term = Term(standing.term.0 + 1);
    let (voted, vote) = oneshot::channel();
    log.save_vote(Vote { term, node: member.node, committed: true }, move |result| drop(voted.send(result)));
    durable(vote).await?;

    let info = MemberInfo { incarnation: member.incarnation, replica: log.incarnation() };
    let nodes = BTreeMap::from([(member.node.0, info)]);
    let alone: Membership<u64, MemberInfo> =
        Membership::new(vec![BTreeSet::from([member.node.0])], nodes).map_err(failed)?;
    let payloads = std::iter::once(Payload::Membership(membership::encode(&alone)))
        .chain(commands.into_iter().map(Payload::Control));
    let mut end = last;
    let entries: Vec<NewEntry> = payloads
        .map(|payload| {
            end = LogId { term, index: end.index.next() };
            NewEntry { id: end, payload: NewPayload::Ready(payload) }
        })
        .collect();
    let (appended, append) = oneshot::channel();
    log.append(entries, move |result| drop(appended.send(result)))?;
    durable(append).await?;
    Ok(end)
}

async fn durable(done: oneshot::Receiver<Result<(), JournalError>>) -> Result<(), ConsensusError> {
    match done.await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed("the journal went away")),
    }
}

fn failed(reason: impl ToString) -> ConsensusError {
    ConsensusError::Failed { reason: reason.to_string() }
}
