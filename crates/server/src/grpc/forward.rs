//! Calls that are for another node: passed on to the leader once, with the answer brought back.
//!
//! It never decides who leads: the broker says so. It never sends anything twice: what did not come back from a leader is the
//! client's to send again, for only it knows whether that may be done.
//!
//! Invariant: a call that came from a node is never passed on, so that two nodes which take each other for the leader do
//! not send it back and forth. What says so is a header, [`FORWARDED`].

mod pool;
mod produce_path;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use highwater_broker::{Broker, BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::group_service_client::GroupServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_types::{ErrorCode, NodeId, PartitionIndex, limits};
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{ConnectError, Request, Response, Status};

pub(crate) use self::pool::CallSlot;
use self::pool::{Metered, Pool};
pub(crate) use self::produce_path::{Outcome, ProducePaths};
use super::status::from_status;
use crate::remote::Dial;

/// The header of a call that was passed on: the id of the node that did so.
pub(crate) const FORWARDED: &str = "highwater-forwarded";

/// Where a call came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From a client, so that it may be passed on.
    Client,
    /// From a node that took this one for the leader.
    Node,
}

impl Origin {
    /// The origin of a request.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        if request.metadata().contains_key(FORWARDED) { Self::Node } else { Self::Client }
    }
}

/// The way to the leaders of what this node does not lead. Clones share it.
#[derive(Clone)]
pub(crate) struct Forwarding {
    node: NodeId,
    pool: Arc<Pool>,
}

/// A client of another node, and the place among the calls to it that it keeps while it lives.
pub(crate) struct Caller<C> {
    pub(crate) client: C,
    pub(crate) slot: CallSlot,
}

impl Forwarding {
    /// From this node, over connections that are made as needed.
    pub(crate) fn new(node: NodeId, dial: Dial) -> Self {
        Self { node, pool: Arc::new(Pool::new(dial)) }
    }

    /// Who leads a partition that this node does not lead, when the call may be passed on there.
    pub(crate) fn target(broker: &Broker, origin: Origin, topic: &str, partition: u32) -> Option<LeaderHint> {
        match origin {
            Origin::Client => broker.leader_elsewhere(topic, PartitionIndex(partition)),
            Origin::Node => None,
        }
    }

    /// The message as a request that is not passed on any further.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(FORWARDED, MetadataValue::from(self.node.0));
        request
    }

    /// For calls whose answers are small.
    pub(crate) fn log(&self, leader: &LeaderHint) -> Result<Caller<LogServiceClient<Channel>>, BrokerError> {
        let (channel, slot) = self.pool.channel(&leader.address)?;
        let client = LogServiceClient::new(channel).max_encoding_message_size(limits::GRPC_REQUEST_BYTES_MAX);
        Ok(Caller { client, slot })
    }

    /// For calls that are answered with records, whose bytes are counted while they come in.
    pub(crate) fn records(
        &self,
        leader: &LeaderHint,
    ) -> Result<Caller<LogServiceClient<Metered>>, BrokerError> {
        let (channel, slot) = self.pool.metered(&leader.address)?;
        let client = LogServiceClient::new(channel).max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        Ok(Caller { client, slot })
    }

    /// For calls about topics.
    pub(crate) fn admin(
        &self,
        leader: &LeaderHint,
    ) -> Result<Caller<AdminServiceClient<Channel>>, BrokerError> {
        let (channel, slot) = self.pool.channel(&leader.address)?;
        let client = AdminServiceClient::new(channel).max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        Ok(Caller { client, slot })
    }

    /// For calls about consumer groups.
    pub(crate) fn groups(
        &self,
        leader: &LeaderHint,
    ) -> Result<Caller<GroupServiceClient<Channel>>, BrokerError> {
        let (channel, slot) = self.pool.channel(&leader.address)?;
        let client = GroupServiceClient::new(channel)
            .max_encoding_message_size(limits::GRPC_REQUEST_BYTES_MAX)
            .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        Ok(Caller { client, slot })
    }
}

/// What is lost when an answer does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: the call only reads.
    None,
    /// It stays unknown whether the call took effect.
    Change,
}

/// Waits for a leader's answer until the deadline.
pub(crate) async fn answered<T>(
    leader: &LeaderHint,
    effect: Effect,
    deadline: Instant,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, BrokerError> {
    match timeout_at(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(failed(leader, effect, &status)),
        Err(_) => {
            let LeaderHint { node, address } = leader;
            let message = format!("node {node} at {address}, which leads it, did not answer in time");
            Err(lost(effect, message))
        }
    }
}

/// How a call that was passed on failed: as the leader says, or because the leader could not say anything.
pub(crate) fn failed(leader: &LeaderHint, effect: Effect, status: &Status) -> BrokerError {
    if v1::ErrorDetail::from_status(status).is_some() {
        return from_status(status);
    }
    let LeaderHint { node, address } = leader;
    let why = status.message();
    if is_unreached(status) {
        let message =
            format!("node {node} at {address}, which leads it, cannot be reached: {why}; nothing was sent");
        return BrokerError::new(ErrorCode::Unavailable, message);
    }
    lost(effect, format!("the answer of node {node} at {address}, which leads it, was lost: {why}"))
}

/// The error for an answer that did not come back.
pub(crate) fn lost(effect: Effect, message: String) -> BrokerError {
    match effect {
        Effect::None => BrokerError::new(ErrorCode::Unavailable, message),
        Effect::Change => {
            BrokerError::new(ErrorCode::Timeout, format!("{message}; it may or may not have taken effect"))
        }
    }
}

/// Whether there was no connection over which anything could have been sent.
fn is_unreached(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Until when the answer to a call is waited for that may take so long itself.
pub(crate) fn with_grace(duration: Duration) -> Instant {
    Instant::now() + duration + Duration::from_millis(limits::FORWARD_GRACE_MS)
}

/// What a request asks of one node, as places in the request.
pub(crate) struct Share {
    /// The node; none is this one.
    pub(crate) leader: Option<LeaderHint>,
    /// Places in the request, ascending.
    pub(crate) places: Vec<usize>,
}

/// Divides a request among the leaders of what it asks for, in the order of their addresses; this node comes first.
pub(crate) fn divide(leaders: impl IntoIterator<Item = Option<LeaderHint>>) -> Vec<Share> {
    let mut shares: BTreeMap<Option<String>, Share> = BTreeMap::new();
    for (place, leader) in leaders.into_iter().enumerate() {
        let address = leader.as_ref().map(|leader| leader.address.clone());
        shares.entry(address).or_insert(Share { leader, places: Vec::new() }).places.push(place);
    }
    shares.into_values().collect()
}

/// Puts the results of all shares into the order of the request. A node that gave too few results leaves gaps, which `missing`
/// fills.
pub(crate) fn merge<T>(
    count: usize,
    parts: impl IntoIterator<Item = (Vec<usize>, Vec<T>)>,
    mut missing: impl FnMut(usize) -> T,
) -> Vec<T> {
    let mut merged: Vec<Option<T>> = (0..count).map(|_| None).collect();
    for (places, results) in parts {
        for (place, result) in places.into_iter().zip(results) {
            merged[place] = Some(result);
        }
    }
    merged.into_iter().enumerate().map(|(place, result)| result.unwrap_or_else(|| missing(place))).collect()
}

/// A leader answered something else than what it was asked.
pub(crate) fn incomplete() -> BrokerError {
    BrokerError::new(ErrorCode::Internal, "the leader's answer leaves this out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_divided_by_leader_and_its_results_come_back_in_its_order() {
        let hint = |node: u64| Some(LeaderHint { node: NodeId(node), address: format!("n{node}:1") });
        let shares = divide([hint(3), None, hint(2), hint(3), None]);
        let places: Vec<_> = shares.iter().map(|share| share.places.clone()).collect();
        assert_eq!(places, [vec![1, 4], vec![2], vec![0, 3]]);
        assert!(shares[0].leader.is_none());
        let parts = places.into_iter().zip([vec!["b", "e"], vec!["c"], vec!["a"]]);
        assert_eq!(merge(5, parts, |_| "missing"), ["a", "b", "c", "missing", "e"]);
    }

    #[test]
    fn what_was_sent_and_not_answered_is_unknown_only_if_it_changes_something() {
        let leader = LeaderHint { node: NodeId(2), address: "n2:1".to_owned() };
        let broken = Status::unavailable("connection reset");
        assert_eq!(failed(&leader, Effect::Change, &broken).code, ErrorCode::Timeout);
        assert_eq!(failed(&leader, Effect::None, &broken).code, ErrorCode::Unavailable);
        let unreached = Status::from_error(Box::new(ConnectError("refused".into())));
        assert_eq!(failed(&leader, Effect::Change, &unreached).code, ErrorCode::Unavailable);
        let told = v1::ErrorDetail::new(ErrorCode::NoSpace, "full").into_status();
        assert_eq!(failed(&leader, Effect::Change, &told).code, ErrorCode::NoSpace);
    }
}
