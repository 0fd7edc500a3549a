//! A producer's links, one to each node that leads what it sends to. Opens them when they are wanted, and again after they
//! broke, with growing waits.
//!
//! Invariant: at most one link to an address; what still comes of an earlier one is ignored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::producer::link::{FromLink, LINK_BATCHES_MAX, Link, LinkId};
use crate::producer::partition_queue::CorrelationId;
use crate::topic::PartitionKey;
use highwater_types::Backoff;

/// A failure is forgotten after so long without another attempt.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// An address that failed.
struct Failing {
    since: Instant,
    /// It is open again, and has yet to answer.
    is_open: bool,
    retry_at: Instant,
    backoff: Backoff,
}

/// See the module.
pub(crate) struct Links {
    cluster: Arc<Cluster>,
    links: BTreeMap<Arc<str>, Link>,
    failing: BTreeMap<Arc<str>, Failing>,
    next_id: u64,
    /// For the links to put their events in.
    sink: mpsc::Sender<FromLink>,
    events: mpsc::Receiver<FromLink>,
}

impl Links {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let (sink, events) = mpsc::channel(LINK_BATCHES_MAX);
        Self { cluster, links: BTreeMap::new(), failing: BTreeMap::new(), next_id: 0, sink, events }
    }

    /// Waits for events and appends those that are there to `out`. Cancel-safe.
    pub(crate) async fn receive(&mut self, out: &mut Vec<FromLink>) {
        // It holds a sink itself, so that this never ends without an event.
        self.events.recv_many(out, LINK_BATCHES_MAX).await;
    }

    /// Opens a link to this address unless there is one, or it failed a moment ago.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn want(&mut self, address: &Arc<str>, now: Instant) -> Result<(), ClientError> {
        let is_due = self.failing.get(address).is_none_or(|failing| failing.retry_at <= now);
        if !is_due || self.links.contains_key(address) {
            return Ok(());
        }
        let server = self.cluster.connections.server(address)?;
        let timeout = self.cluster.config.request_timeout;
        let link = Link::start(LinkId(self.next_id), server, timeout, self.sink.clone());
        self.next_id += 1;
        self.links.insert(Arc::clone(address), link);
        Ok(())
    }

    /// There is news of this address: it is tried at once.
    pub(crate) fn hurry(&mut self, address: &str, now: Instant) {
        if let Some(failing) = self.failing.get_mut(address) {
            failing.retry_at = now;
            failing.backoff.reset();
        }
    }

    /// The link of this id, if it is not lost.
    pub(crate) fn get(&mut self, id: LinkId, address: &str) -> Option<&mut Link> {
        self.links.get_mut(address).filter(|link| link.id == id)
    }

    /// Takes an answered batch off the link at this address; tells whose it was.
    pub(crate) fn answered(&mut self, address: &str, correlation: CorrelationId) -> Option<PartitionKey> {
        self.links.get_mut(address)?.answered(correlation)
    }

    /// A link that takes a request now.
    pub(crate) fn ready(&mut self, address: &str) -> Option<&mut Link> {
        self.links.get_mut(address).filter(|link| link.has_room())
    }

    /// The link takes requests.
    pub(crate) fn on_opened(&mut self, id: LinkId, address: &str) {
        if let Some(link) = self.get(id, address) {
            link.is_open = true;
            if let Some(failing) = self.failing.get_mut(address) {
                failing.is_open = true;
            }
        }
    }

    /// The link answered: the address works.
    pub(crate) fn on_answered(&mut self, address: &str) {
        self.failing.remove(address);
    }

    /// The link is over. Returns whether it was there.
    pub(crate) fn lose(&mut self, address: &Arc<str>, now: Instant) -> bool {
        if self.links.remove(address).is_none() {
            return false;
        }
        self.cluster.connections.move_on_from(address);
        self.failing.retain(|_, failing| now < failing.retry_at + FORGET_AFTER);
        let failing = self.failing.entry(Arc::clone(address)).or_insert_with(|| Failing {
            since: now,
            is_open: false,
            retry_at: now,
            backoff: self.cluster.config.backoff(),
        });
        if std::mem::take(&mut failing.is_open) {
            failing.since = now;
        }
        failing.retry_at = now + failing.backoff.next_wait();
        true
    }

    /// How long there has been no link to this address, if one failed.
    pub(crate) fn failing_for(&self, address: &str, now: Instant) -> Option<Duration> {
        self.failing.get(address).filter(|failing| !failing.is_open).map(|failing| now - failing.since)
    }

    /// Links that owe an answer for too long.
    pub(crate) fn silent(&self, silence_max: Duration, now: Instant) -> Vec<Arc<str>> {
        let is_silent = |link: &Link| link.oldest().is_some_and(|oldest| oldest + silence_max <= now);
        self.links.iter().filter(|(_, link)| is_silent(link)).map(|(address, _)| Arc::clone(address)).collect()
    }

    /// When to look at the links again though nothing happened.
    pub(crate) fn next_wake(&self, silence_max: Duration) -> Option<Instant> {
        let silent = self.links.values().filter_map(Link::oldest).map(|oldest| oldest + silence_max);
        silent.chain(self.failing.values().map(|failing| failing.retry_at)).min()
    }
}
