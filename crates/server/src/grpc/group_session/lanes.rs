//! The leaders that a session reads from, each by itself: one that hangs holds up its own partitions alone.
//!
//! Of each leader there is one fetch under way, or its records wait to be pushed: so what a session holds of a leader is one
//! push at most.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use highwater_broker::{Broker, BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_types::{Offset, PartitionId};

use super::reading::Key;
use crate::grpc::fetch::fetch_from;
use crate::grpc::forward::Forwarding;

/// How long a leader waits for records before it says that there are none.
const READ_WAIT: Duration = Duration::from_secs(10);

/// A partition to be read from an offset on.
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) topic: String,
    pub(super) offset: Offset,
}

/// What a leader answered.
pub(super) struct Fetched {
    pub(super) address: Address,
    pub(super) asked: Vec<Wanted>,
    pub(super) answer: Result<v1::FetchResponse, BrokerError>,
}

/// A leader: the address of another node, or none for this one.
pub(super) type Address = Option<String>;

type FetchFuture = Pin<Box<dyn Future<Output = (Vec<Wanted>, Result<v1::FetchResponse, BrokerError>)> + Send>>;

/// All of them.
#[derive(Default)]
pub(super) struct Lanes(BTreeMap<Address, Lane>);

/// One leader.
#[derive(Default)]
pub(super) struct Lane {
    fetch: Option<FetchFuture>,
    /// Pushes that wait to be taken.
    pub(super) waiting: usize,
    /// The partition that gave something last: the next ones are first in turn.
    pub(super) after: Option<PartitionId>,
    /// Whether the fetch under way asks for what is not wanted any more.
    is_outdated: bool,
}

impl Lane {
    /// Whether another fetch is to be sent.
    fn is_free(&self) -> bool {
        self.waiting == 0 && (self.fetch.is_none() || self.is_outdated)
    }
}

impl Lanes {
    pub(super) fn lane(&mut self, address: &Address) -> &mut Lane {
        self.0.entry(address.clone()).or_default()
    }

    /// What is wanted of the leader has changed: a fetch that waits for records there is not waited for.
    pub(super) fn change(&mut self, leader: Option<&LeaderHint>) {
        self.lane(&address_of(leader)).is_outdated = true;
    }

    /// The leaders of which something else can be asked.
    pub(super) fn free(&self) -> Vec<(Address, Option<PartitionId>)> {
        let free = self.0.iter().filter(|(_, lane)| lane.is_free());
        free.map(|(address, lane)| (address.clone(), lane.after)).collect()
    }

    /// Nothing is wanted of a leader any more.
    pub(super) fn close(&mut self, address: &Address) {
        self.0.remove(address);
    }

    /// Whether another node is waited for.
    pub(super) fn has_remote(&self) -> bool {
        self.0.iter().any(|(address, lane)| address.is_some() && lane.fetch.is_some())
    }

    /// Asks a leader, and lets go of what it was asked before.
    pub(super) fn ask(
        &mut self,
        leader: Option<LeaderHint>,
        broker: &Arc<Broker>,
        forwarding: &Forwarding,
        asked: Vec<Wanted>,
        request: v1::FetchRequest,
    ) {
        let lane = self.lane(&address_of(leader.as_ref()));
        lane.is_outdated = false;
        let (broker, forwarding) = (Arc::clone(broker), forwarding.clone());
        let request = v1::FetchRequest {
            partitions: asked.iter().map(fetch_partition).collect(),
            max_wait_ms: u32::try_from(READ_WAIT.as_millis()).unwrap_or(u32::MAX),
            ..request
        };
        lane.fetch = Some(Box::pin(async move {
            let answer = fetch_from(leader.as_ref(), &broker, &forwarding, request).await;
            (asked, answer.map(|(answer, _)| answer))
        }));
    }

    /// The next answer of any leader. Never, when none is asked. Cancel-safe.
    pub(super) async fn next(&mut self) -> Fetched {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Fetched> {
        for (address, lane) in &mut self.0 {
            let Some(fetch) = &mut lane.fetch else { continue };
            if let Poll::Ready((asked, answer)) = fetch.as_mut().poll(context) {
                lane.fetch = None;
                return Poll::Ready(Fetched { address: address.clone(), asked, answer });
            }
        }
        Poll::Pending
    }
}

pub(super) fn address_of(leader: Option<&LeaderHint>) -> Address {
    leader.map(|leader| leader.address.clone())
}

fn fetch_partition(wanted: &Wanted) -> v1::FetchPartition {
    v1::FetchPartition {
        topic: wanted.topic.clone(),
        topic_id: wanted.key.partition.topic.to_string(),
        partition: wanted.key.partition.index.0,
        offset: wanted.offset.0,
        max_bytes: 0,
    }
}
