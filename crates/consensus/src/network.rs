//! openraft's network over a [`Transport`].

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::{GroupId, NodeId};
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, EmptyNode, OptionalSend};

use crate::convert;
use crate::message::{PeerReply, PeerRequest, TakeOver};
use crate::transport::{Transport, TransportError};
use crate::type_config::Types;

/// Makes the [`Peer`]s of one group.
pub(crate) struct Peers {
    pub(crate) node: NodeId,
    pub(crate) group: GroupId,
    pub(crate) transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer {
            node: self.node,
            target: NodeId(target),
            group: self.group,
            transport: Arc::clone(&self.transport),
        }
    }
}

/// A group's replica on another node.
pub(crate) struct Peer {
    node: NodeId,
    target: NodeId,
    group: GroupId,
    transport: Arc<dyn Transport>,
}

impl Peer {
    async fn call(
        &self,
        action: RPCTypes,
        request: PeerRequest,
        option: &RPCOption,
    ) -> Result<PeerReply, RPCError<Types>> {
        let deadline = option.soft_ttl();
        let called = self.transport.call(self.target, self.group, request, deadline).await;
        called.map_err(|error| match error {
            TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
                RPCError::Unreachable(Unreachable::new(&AnyError::new(&error)))
            }
            TransportError::Timeout { .. } => {
                RPCError::Timeout(Timeout { action, id: self.node.0, target: self.target.0, timeout: deadline })
            }
            TransportError::Broken { .. } => RPCError::Network(NetworkError::new(&AnyError::new(&error))),
        })
    }

    /// The peer answered another question.
    fn mismatch(&self) -> RPCError<Types> {
        let reason = format!("node {} sent an answer of another kind than the request", self.target);
        RPCError::Unreachable(Unreachable::new(&AnyError::error(reason)))
    }

    async fn ballot(
        &self,
        request: VoteRequest<Types>,
        kind: fn(crate::message::Ballot) -> PeerRequest,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = kind(convert::ballot(&request));
        match self.call(RPCTypes::Vote, request, option).await? {
            PeerReply::Vote(reply) => Ok(convert::raft_ballot_reply(reply)),
            _ => Err(self.mismatch()),
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let request = convert::append(request)
            .map_err(|error| RPCError::Unreachable(Unreachable::new(&AnyError::new(&error))))?;
        match self.call(RPCTypes::AppendEntries, PeerRequest::Append(request), &option).await? {
            PeerReply::Append(reply) => Ok(convert::raft_append_reply(reply)),
            _ => Err(self.mismatch()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ballot(request, PeerRequest::Vote, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ballot(request, PeerRequest::PreVote, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, Bytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let request = PeerRequest::Snapshot(convert::snapshot_transfer(&vote, snapshot));
        let reply = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            reply = self.call(RPCTypes::InstallSnapshot, request, &option) => reply?,
        };
        match reply {
            PeerReply::Snapshot(vote) => Ok(SnapshotResponse::new(convert::raft_vote(vote))),
            _ => Err(self.mismatch().into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let message = TakeOver {
            vote: convert::vote(request.from_leader()),
            to: NodeId(*request.to_node_id()),
            last: request.last_log_id().map(convert::log_id),
        };
        match self.call(RPCTypes::TransferLeader, PeerRequest::TakeOver(message), &option).await? {
            PeerReply::TakeOver(true) => Ok(Ok(())),
            PeerReply::TakeOver(false) => Ok(Err(openraft::raft::TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: None,
            })),
            _ => Err(self.mismatch()),
        }
    }
}
