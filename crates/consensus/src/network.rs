//! openraft's network over a [`Transport`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use highwater_storage::GroupLog;
use highwater_types::{GroupId, NodeId, mutant};
use openraft::alias::{LogIdOf, SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::acks::{Acks, Asked};
use crate::catching_up::CatchingUp;
use crate::convert;
use crate::liveness::Liveness;
use crate::membership::MemberInfo;
use crate::message::{AppendReply, Member, PeerReply, PeerRequest, TakeOver};
use crate::rejoin::Rejoining;
use crate::settings::LEASE;
use crate::throttle::Throttle;
use crate::transport::{Transport, TransportError};
use crate::type_config::Types;

/// How long a follower may take to store entries, on a slow disk and behind others.
const APPEND_DEADLINE: Duration = Duration::from_secs(10);
/// How long entries for a node that is away wait before they are tried all the same.
const AWAY_PROBE: Duration = Duration::from_secs(5);
/// How long a snapshot may take, which is the state of a whole cluster at worst.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(300);

/// Makes the [`Peer`]s of one group.
pub(crate) struct Peers {
    pub(crate) node: NodeId,
    pub(crate) group: GroupId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) liveness: Arc<Liveness>,
    /// Changes when the start of the log is to go.
    pub(crate) purging: watch::Receiver<u64>,
    pub(crate) log: Arc<GroupLog>,
    /// What followers that catch up share.
    pub(crate) catch_up: Arc<Throttle>,
    /// Which replicas are not who they are taken for.
    pub(crate) rejoining: Arc<Rejoining>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, info: &MemberInfo) -> Peer {
        self.peer(target, info, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, info: &MemberInfo) -> Peer {
        self.peer(target, info, true)
    }
}

impl Peers {
    fn peer(&self, target: u64, info: &MemberInfo, is_for_heartbeats: bool) -> Peer {
        Peer {
            node: self.node,
            is_for_heartbeats,
            target: Member { node: NodeId(target), incarnation: info.addressed() },
            group: self.group,
            transport: Arc::clone(&self.transport),
            acks: Arc::clone(&self.acks),
            liveness: Arc::clone(&self.liveness),
            purging: self.purging.clone(),
            log: Arc::clone(&self.log),
            catching_up: CatchingUp::new(&self.log),
            catch_up: Arc::clone(&self.catch_up),
            rejoining: Arc::clone(&self.rejoining),
        }
    }
}

/// The answer to one request of a stream.
type Appended = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// A group's replica on another node.
pub(crate) struct Peer {
    node: NodeId,
    /// Whether it is used for nothing else: then it fails at once when the node is away.
    is_for_heartbeats: bool,
    target: Member,
    group: GroupId,
    transport: Arc<dyn Transport>,
    acks: Arc<Acks>,
    liveness: Arc<Liveness>,
    purging: watch::Receiver<u64>,
    log: Arc<GroupLog>,
    catching_up: CatchingUp,
    catch_up: Arc<Throttle>,
    rejoining: Arc<Rejoining>,
}

impl Peer {
    async fn call(
        &self,
        action: RPCTypes,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<PeerReply, RPCError<Types>> {
        let called = self.transport.call(self.target, self.group, request, deadline).await;
        if let Ok(PeerReply::Identity(identity)) = &called {
            self.rejoining.hear_who_is_there(self.target.node, *identity);
            let reason = format!("the replica of node {} is another than it is taken for", self.target.node);
            return Err(RPCError::Unreachable(Unreachable::new(&AnyError::error(reason))));
        }
        called.map_err(|error| match error {
            TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
                RPCError::Unreachable(Unreachable::new(&AnyError::new(&error)))
            }
            TransportError::Timeout { .. } => RPCError::Timeout(Timeout {
                action,
                id: self.node.0,
                target: self.target.node.0,
                timeout: deadline,
            }),
            TransportError::Broken { .. } => RPCError::Network(NetworkError::new(&AnyError::new(&error))),
        })
    }

    /// Waits while the node does not support this one, but not for ever.
    ///
    /// # Errors
    /// When the start of the log is to go meanwhile: openraft keeps what a stream may yet send, and a node that is away would keep all.
    async fn until_present(&mut self) -> Result<(), RPCError<Types>> {
        if self.group == GroupId::Metadata || self.is_for_heartbeats {
            return Ok(());
        }
        // What was purged before this wait began is no reason to end it.
        self.purging.mark_unchanged();
        let (liveness, node) = (Arc::clone(&self.liveness), self.target.node);
        tokio::select! {
            _ = timeout(AWAY_PROBE, liveness.until_supported_by(node)) => Ok(()),
            Ok(()) = self.purging.changed() => {
                let reason = format!("entries for node {node}, which is away, are let go: the log's start is purged");
                Err(RPCError::Network(NetworkError::new(&AnyError::error(reason))))
            }
        }
    }

    /// What a follower lacks must not have been purged since its stream began: openraft then finds out what it needs instead.
    fn check_start(&self, previous: Option<&LogIdOf<Types>>) -> Result<(), RPCError<Types>> {
        let (Some(purged), _) = self.log.bounds() else { return Ok(()) };
        if previous.is_some_and(|previous| previous.index >= purged.index.0) {
            return Ok(());
        }
        let reason = format!("what node {} needs was purged meanwhile", self.target.node);
        Err(RPCError::Network(NetworkError::new(&AnyError::error(reason))))
    }

    fn is_answered(&self, asked: Asked) -> bool {
        // The metadata group's followers have timers of their own.
        let lasts =
            self.group != GroupId::Metadata && self.liveness.supported_by(self.target.node, LEASE) == asked.run;
        lasts && self.acks.covers(self.target.node, asked)
    }

    /// The peer answered another question.
    fn mismatch(&self) -> RPCError<Types> {
        let reason = format!("node {} sent an answer of another kind than the request", self.target.node);
        RPCError::Unreachable(Unreachable::new(&AnyError::error(reason)))
    }

    async fn ballot(
        &self,
        request: VoteRequest<Types>,
        kind: fn(crate::message::Ballot) -> PeerRequest,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = kind(convert::ballot(&request));
        match self.call(RPCTypes::Vote, request, option.soft_ttl()).await? {
            PeerReply::Vote(reply) => Ok(convert::raft_ballot_reply(reply)),
            _ => Err(self.mismatch()),
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    /// A heartbeat to a follower that has acknowledged all of it is answered here, while the follower's node supports this one for
    /// longer than the lease that the answer grants (R14).
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let request = convert::append(request)
            .map_err(|error| RPCError::Unreachable(Unreachable::new(&AnyError::new(&error))))?;
        let is_heartbeat = request.entries.is_empty();
        // Before it is sent: a promise that lapses on the way counts for nothing.
        let run = self.liveness.supported_by(self.target.node, Duration::ZERO);
        let last = request.entries.last().map(|entry| entry.id);
        let mut asked =
            Asked { vote: request.vote, stored: last.or(request.previous), committed: request.committed, run };
        if is_heartbeat && self.is_answered(asked) {
            return Ok(AppendEntriesResponse::Success);
        }
        let deadline = if is_heartbeat { option.soft_ttl() } else { APPEND_DEADLINE };
        let called = self.call(RPCTypes::AppendEntries, PeerRequest::Append(request), deadline).await;
        let reply = match called.inspect_err(|_| self.acks.failed(self.target.node)) {
            Ok(PeerReply::Append(reply)) => reply,
            Err(_) if mutant!(AckBeforeMajority) => AppendReply::Stored,
            Err(error) => return Err(error),
            Ok(_) => return Err(self.mismatch()),
        };
        match reply {
            AppendReply::Stored => {}
            AppendReply::StoredUpTo(upto) => asked.stored = upto,
            AppendReply::Conflict => (asked.stored, asked.committed) = (None, None),
            AppendReply::HigherVote(_) => {
                self.acks.forget(self.target.node);
                return Ok(convert::raft_append_reply(reply));
            }
        }
        self.acks.record(self.target.node, asked);
        Ok(convert::raft_append_reply(reply))
    }

    /// One request at a time. While the node is away none is made: openraft reads the entries of a request before it backs off,
    /// which would hold megabytes for each group.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let requests = stream::unfold(Some((self, input)), move |state| {
            let option = option.clone();
            async move {
                let (peer, mut input) = state?;
                if let Err(error) = peer.until_present().await {
                    return Some((Err(error), None));
                }
                peer.catching_up.wait(&peer.catch_up).await;
                let request = input.next().await?;
                if let Err(error) = peer.check_start(request.prev_log_id.as_ref()) {
                    return Some((Err(error), None));
                }
                let (previous, last) = (request.prev_log_id, request.entries.last().map(|entry| entry.log_id));
                let last = last.or(previous);
                match peer.append_entries(request, option).await {
                    Ok(reply) => {
                        let is_whole = matches!(reply, AppendEntriesResponse::Success);
                        peer.catching_up.answered(previous.as_ref(), last.filter(|_| is_whole).as_ref());
                        let result = reply.into_stream_result(previous, last);
                        Some((Ok(result), is_whole.then_some((peer, input))))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            }
        });
        Box::pin(async move { Ok(Box::pin(requests) as BoxStream<'s, Appended>) })
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
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let request = PeerRequest::Snapshot(convert::snapshot_transfer(&vote, snapshot));
        let reply = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            reply = self.call(RPCTypes::InstallSnapshot, request, SNAPSHOT_DEADLINE) => reply?,
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
        // A leader that its group no longer wants: it takes nothing for the rest of its term.
        self.acks.release(message.vote);
        match self.call(RPCTypes::TransferLeader, PeerRequest::TakeOver(message), option.soft_ttl()).await? {
            PeerReply::TakeOver(true) => Ok(Ok(())),
            PeerReply::TakeOver(false) => Ok(Err(openraft::raft::TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: None,
            })),
            _ => Err(self.mismatch()),
        }
    }
}
