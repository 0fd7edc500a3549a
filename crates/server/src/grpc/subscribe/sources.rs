//! Where a subscription's records come from: this node's partitions, and those of other leaders.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_broker::{Broker, BrokerError, Pushed, Subscription};
use highwater_proto::v1;
use highwater_types::limits;

use super::parse;
use super::upstreams::{Upstreams, Wanted};
use crate::grpc::forward::{Forwarding, Origin, Share, divide};

/// All sources of one subscription.
pub(super) struct Sources {
    /// None when this node leads nothing of it, or all of that has ended.
    pub(super) local: Option<Subscription>,
    pub(super) upstreams: Upstreams,
    /// Whose turn it is when both have something.
    local_first: bool,
}

/// What a source has to say.
pub(super) enum Next {
    /// Records of this node.
    Local(Pushed),
    /// A message of another leader.
    Remote(v1::SubscribeResponse),
    /// Every partition has ended.
    Done,
}

impl Sources {
    /// Starts what is asked for. Other leaders are asked with [`Sources::next`].
    pub(super) async fn start(
        broker: &Arc<Broker>,
        forwarding: &Forwarding,
        origin: Origin,
        start: v1::SubscribeStart,
        push_bytes_max: usize,
    ) -> Result<Self, BrokerError> {
        let subscribe = parse(start.clone())?;
        let (local, wanted) = split(broker, origin, &start);
        let local = match local {
            Local::All => Some(broker.subscribe(subscribe).await?),
            Local::Some(partitions) => {
                let part = v1::SubscribeStart { partitions, ..start };
                Some(broker.subscribe(parse(part)?).await?)
            }
            Local::None => None,
        };
        let upstreams = Upstreams::begin(forwarding, wanted, push_bytes_max);
        Ok(Self { local, upstreams, local_first: true })
    }

    /// Whether there is, or will be, something to be said that needs no credit.
    pub(super) fn has_news(&self) -> bool {
        self.upstreams.has_news()
    }

    /// The next message, of each source in turn; without credit none that has records. Cancel-safe.
    pub(super) async fn next(&mut self, max_bytes: usize, has_credit: bool) -> Next {
        if !has_credit {
            return Next::Remote(self.upstreams.next_news().await);
        }
        if self.local.is_none() && self.upstreams.is_done() {
            return Next::Done;
        }
        let local = async {
            match &mut self.local {
                Some(subscription) => subscription.next(max_bytes).await,
                None => std::future::pending().await,
            }
        };
        let pushed = if self.local_first {
            tokio::select! {
                biased;
                pushed = local => pushed,
                message = self.upstreams.next() => { self.local_first = true; return Next::Remote(message) }
            }
        } else {
            tokio::select! {
                biased;
                message = self.upstreams.next() => { self.local_first = true; return Next::Remote(message) }
                pushed = local => pushed,
            }
        };
        self.local_first = false;
        match pushed {
            Some(pushed) => Next::Local(pushed),
            None => {
                self.local = None;
                if self.upstreams.is_done() { Next::Done } else { Next::Remote(self.upstreams.next().await) }
            }
        }
    }
}

/// What this node serves itself.
enum Local {
    /// The whole request, or what is wrong with it.
    All,
    Some(Vec<v1::SubscribePartition>),
    None,
}

fn split(broker: &Broker, origin: Origin, start: &v1::SubscribeStart) -> (Local, Vec<Wanted>) {
    let asked = if start.partitions.is_empty() {
        let count = broker.partition_count(&start.topic).unwrap_or_default();
        (0..count).map(|partition| v1::SubscribePartition { partition, position: None }).collect()
    } else {
        start.partitions.clone()
    };
    let distinct: BTreeSet<u32> = asked.iter().map(|asked| asked.partition).collect();
    if distinct.len() != asked.len() || asked.len() > limits::PARTITIONS_PER_REQUEST_MAX {
        return (Local::All, Vec::new());
    }
    let target =
        |asked: &v1::SubscribePartition| Forwarding::target(broker, origin, &start.topic, asked.partition);
    let mut local = Local::None;
    let mut wanted = Vec::new();
    for Share { leader, places } in divide(asked.iter().map(target)) {
        let partitions: Vec<_> = places.into_iter().map(|place| asked[place]).collect();
        match leader {
            None => local = Local::Some(partitions),
            Some(leader) => {
                let start = v1::SubscribeStart { partitions, ..start.clone() };
                wanted.push(Wanted { leader, start });
            }
        }
    }
    if wanted.is_empty() { (Local::All, wanted) } else { (local, wanted) }
}
