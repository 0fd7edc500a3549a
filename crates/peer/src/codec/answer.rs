//! Answers.

use highwater_consensus::{AppendReply, BallotReply, Identity, PeerReply, Surveyed};
use highwater_types::Incarnation;
use highwater_types::limits::PEER_REASON_BYTES_MAX;
use prost::Message;

use super::coordinates::vote;
use super::malformed;
use super::request::{decode_entries, encode_entries};
use super::support::{decode_pong, no_payload};
use crate::error::PeerError;
use crate::frame::{Arrived, Correlation, Frame, FrameKind};
use crate::question::Reply;
use crate::wire::{self, AnswerKind, AppendOutcome};

/// The frame of an answer.
///
/// # Errors
/// When it has more batches than fit a frame; all others are small.
pub(crate) fn answer_frame(correlation: Correlation, reply: &PeerReply) -> Result<Frame, PeerError> {
    let mut payload = Vec::new();
    let kind = match reply {
        PeerReply::Append(reply) => AnswerKind::Append(encode_append(*reply)),
        PeerReply::Vote(reply) => AnswerKind::Vote(wire::BallotAnswer {
            vote: Some(reply.vote.into()),
            is_granted: reply.is_granted,
            last: reply.last.map(Into::into),
        }),
        PeerReply::Snapshot(vote) => AnswerKind::Snapshot((*vote).into()),
        PeerReply::TakeOver(stands) => AnswerKind::TakeOver(*stands),
        PeerReply::Rejoin(leads) => AnswerKind::Rejoin(*leads),
        PeerReply::Survey(surveyed) => AnswerKind::Survey(wire::SurveyAnswer {
            last: surveyed.last.map(Into::into),
            is_doubtful: surveyed.is_doubtful,
            is_led: surveyed.is_led,
        }),
        PeerReply::Settle(goes_by_it) => AnswerKind::Settle(*goes_by_it),
        PeerReply::Batches(entries) => {
            // Their bytes are shared, not copied.
            AnswerKind::Batches(wire::Batches { entries: encode_entries(entries.clone(), &mut payload)? })
        }
        PeerReply::Identity(identity) => AnswerKind::Identity(wire::ReplicaIdentity {
            node: identity.node.0,
            replica: identity.replica.map(|replica| replica.0),
        }),
    };
    Frame::new(FrameKind::Answer, correlation, &wire::Answer { kind: Some(kind) }, payload)
}

/// The frame that says that nothing was taken of a request.
///
/// # Errors
/// Never: a reason is cut to its limit.
pub(crate) fn failure_frame(correlation: Correlation, reason: &str) -> Result<Frame, PeerError> {
    let meta = wire::Failure { reason: shortened(reason) };
    Frame::new(FrameKind::Error, correlation, &meta, Vec::new())
}

/// The answer in a frame; the inner error is the peer's reason why it took nothing.
///
/// # Errors
/// When the frame is no answer that this build knows.
pub(crate) fn decode_answer(frame: &Arrived) -> Result<Result<Reply, String>, PeerError> {
    if frame.kind != FrameKind::Answer {
        no_payload(frame)?;
    }
    match frame.kind {
        FrameKind::Error => return Ok(Err(shortened(&wire::Failure::decode(frame.meta.clone())?.reason))),
        FrameKind::Pong => return Ok(Ok(Reply::Support(decode_pong(frame)?))),
        _ => {}
    }
    let answer = wire::Answer::decode(frame.meta.clone())?;
    let kind = answer.kind.ok_or_else(|| malformed("this build does not know the kind of answer"))?;
    if !matches!(kind, AnswerKind::Batches(_)) {
        no_payload(frame)?;
    }
    Ok(Ok(Reply::Replica(match kind {
        AnswerKind::Append(reply) => PeerReply::Append(decode_append(&reply)?),
        AnswerKind::Vote(reply) => PeerReply::Vote(BallotReply {
            vote: vote(reply.vote)?,
            is_granted: reply.is_granted,
            last: reply.last.map(Into::into),
        }),
        AnswerKind::Snapshot(vote) => PeerReply::Snapshot(vote.into()),
        AnswerKind::TakeOver(stands) => PeerReply::TakeOver(stands),
        AnswerKind::Rejoin(leads) => PeerReply::Rejoin(leads),
        AnswerKind::Survey(answer) => PeerReply::Survey(Surveyed {
            last: answer.last.map(Into::into),
            is_doubtful: answer.is_doubtful,
            is_led: answer.is_led,
        }),
        AnswerKind::Settle(goes_by_it) => PeerReply::Settle(goes_by_it),
        AnswerKind::Batches(batches) => {
            PeerReply::Batches(decode_entries(batches.entries, frame.payload.clone())?)
        }
        AnswerKind::Identity(identity) => PeerReply::Identity(Identity {
            node: Incarnation(identity.node),
            replica: identity.replica.map(Incarnation),
        }),
    })))
}

fn encode_append(reply: AppendReply) -> wire::AppendAnswer {
    let (outcome, stored, vote) = match reply {
        AppendReply::Stored => (AppendOutcome::Stored, None, None),
        AppendReply::StoredUpTo(last) => (AppendOutcome::StoredUpTo, last, None),
        AppendReply::Conflict => (AppendOutcome::Conflict, None, None),
        AppendReply::HigherVote(vote) => (AppendOutcome::HigherVote, None, Some(vote)),
    };
    wire::AppendAnswer { outcome: outcome.into(), stored: stored.map(Into::into), vote: vote.map(Into::into) }
}

fn decode_append(reply: &wire::AppendAnswer) -> Result<AppendReply, PeerError> {
    Ok(match reply.outcome() {
        AppendOutcome::Stored => AppendReply::Stored,
        AppendOutcome::StoredUpTo => AppendReply::StoredUpTo(reply.stored.map(Into::into)),
        AppendOutcome::Conflict => AppendReply::Conflict,
        AppendOutcome::HigherVote => AppendReply::HigherVote(vote(reply.vote)?),
        AppendOutcome::Unknown => return Err(malformed("this build does not know the answer to an append")),
    })
}

/// `reason`, cut at a character.
pub(crate) fn shortened(reason: &str) -> String {
    reason[..reason.floor_char_boundary(PEER_REASON_BYTES_MAX)].to_owned()
}
