//! A fake of the asked node's replicas: what it does with a request is the test's.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use highwater_consensus::{AppendReply, PeerReply, PeerRequest, Ping, Pong, RefusedRequest};
use highwater_peer::{PeerIdentity, Receive};
use highwater_types::{GroupId, Incarnation, ProcessEpoch};
use tokio::sync::watch;

use super::messages::all_of;

/// A request as it came out.
#[derive(Debug, Clone)]
pub struct Seen {
    pub from: PeerIdentity,
    pub to: Incarnation,
    pub group: GroupId,
    pub all: String,
}

pub type Answer = Result<PeerReply, RefusedRequest>;
type Script = dyn Fn(GroupId, PeerRequest) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// Notes what arrives, and answers by a script.
pub struct Receiver {
    script: Box<Script>,
    seen: watch::Sender<Vec<Seen>>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new(|_, _| async { Ok(PeerReply::Append(AppendReply::Stored)) })
    }
}

impl Receiver {
    pub fn new<F>(script: impl Fn(GroupId, PeerRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let script =
            move |group, request| Box::pin(script(group, request)) as Pin<Box<dyn Future<Output = _> + Send>>;
        Self { script: Box::new(script), seen: watch::Sender::new(Vec::new()) }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until so many requests have arrived.
    pub async fn has_seen(&self, count: usize) {
        self.seen.subscribe().wait_for(|seen| seen.len() >= count).await.unwrap();
    }
}

#[async_trait]
impl Receive for Receiver {
    async fn receive(
        &self,
        from: &PeerIdentity,
        to: Incarnation,
        group: GroupId,
        request: PeerRequest,
    ) -> Result<PeerReply, RefusedRequest> {
        let seen = Seen { from: *from, to, group, all: all_of(&request) };
        self.seen.send_modify(|all| all.push(seen));
        (self.script)(group, request).await
    }

    fn receive_ping(&self, from: &PeerIdentity, ping: Ping) -> Result<Pong, RefusedRequest> {
        if ping.epoch != from.process {
            return Err(RefusedRequest::Malformed { reason: "a ping of another process".to_owned() });
        }
        Ok(Pong { epoch: ProcessEpoch(7), sent_at_us: ping.sent_at_us, run: Some(3) })
    }
}
