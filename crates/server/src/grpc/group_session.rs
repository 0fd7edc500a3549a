//! A full consumer over one stream: the node is a member of the group in the client's name. One task for each session.
//!
//! ```text
//!  requests ──▶ orders: commits, releases ──────────────▶ the coordinator
//!                                                           ▲    │ what is assigned and revoked
//!  client ◀── outlet ◀── what the client is told ◀── keeper ┘ ◀──┘
//!                 ▲        (ledger)                    │
//!                 └── records ◀── reader ◀─────────────┘ ◀── the leaders
//! ```
//!
//! Invariants
//! - the client is told that a partition is assigned before any of its records, and gets none after it was told that it is revoked;
//! - a partition is given up only when the client said so, and what it committed before has been answered, or when it never heard of the
//!   partition;
//! - records are read only while there is credit. A session holds one push in HTTP/2's hands, one in the channel, one that is to follow, and one
//!   of each leader;
//! - only a client that half-closed leaves. A session that ends in another way leaves the member to its session timeout.

mod keeper;
mod lanes;
mod ledger;
mod orders;
mod partitions;
mod reader;
mod reading;
mod session;
mod starts;
mod terms;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use highwater_broker::{Broker, BrokerError};
use highwater_proto::v1;
use highwater_proto::v1::group_session_request::Message as Said;
use highwater_types::ErrorCode;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::keeper::Keeper;
use self::orders::Orders;
use self::reader::{Reader, Sources};
use self::session::Session;
use self::terms::Terms;
use super::forward::Forwarding;
use super::groups::Groups;
use super::outlet::{End, Outlet};
use super::status::status;
use crate::inbound::BrokenOff;

/// A session's stream.
pub(crate) struct GroupSession<S> {
    pub(crate) broker: Arc<Broker>,
    pub(crate) forwarding: Forwarding,
    pub(crate) groups: Groups,
    /// Where the client is.
    pub(crate) host: Option<SocketAddr>,
    pub(crate) requests: S,
    /// Whether the requests broke off.
    pub(crate) broken_off: BrokenOff,
    pub(crate) outlet: Outlet<v1::GroupSessionResponse>,
    pub(crate) stopping: CancellationToken,
}

impl<S> GroupSession<S>
where
    S: Stream<Item = Result<v1::GroupSessionRequest, Status>> + Send + Unpin,
{
    /// Serves the stream until the client leaves or is gone.
    pub(crate) async fn run(mut self) {
        let outlet = self.outlet.clone();
        let mut session = match self.start().await {
            Ok(session) => session,
            Err(end) => return outlet.end(end).await,
        };
        let end = tokio::select! {
            biased;
            end = self.serve(&mut session) => end,
            () = outlet.closed() => Err(End::ClientGone),
        };
        let end = match end {
            Err(End::ClientGone) => self.hear_the_rest(&mut session),
            end => end,
        };
        let end = match end {
            Ok(()) => session.leave().await,
            Err(end) => end,
        };
        outlet.end(end).await;
    }

    /// A client that half-closes and goes away without waiting for an answer leaves like any other.
    fn hear_the_rest(&mut self, session: &mut Session) -> Result<(), End> {
        while let Some(request) = self.requests.next().now_or_never() {
            match request {
                Some(request) => session.take(request.map_err(|_| End::ClientGone)?)?,
                None if self.broken_off.is_set() => break,
                None => return Ok(()),
            }
        }
        Err(End::ClientGone)
    }

    /// Reads the first message.
    async fn start(&mut self) -> Result<Session, End> {
        let start = match self.requests.next().await {
            Some(Ok(v1::GroupSessionRequest { message: Some(Said::Start(start)) })) => start,
            Some(Ok(_)) => return Err(protocol("the first message of a session must be 'start'")),
            Some(Err(broken)) => return Err(End::Failed(broken)),
            None => return Err(End::Ok),
        };
        let terms = Terms::parse(start).map_err(|error| End::Failed(status(error)))?;
        let Terms { join, rebalance_timeout, wishes, credit_bytes } = terms;
        let group = join.group.clone();
        let (broker, groups, random) = (&self.broker, &self.groups, self.broker.random());
        let sources = Sources {
            broker: Arc::clone(broker),
            forwarding: self.forwarding.clone(),
            groups: groups.clone(),
            group: group.clone(),
        };
        let keeper = Keeper::new(groups.clone(), self.host, join, rebalance_timeout, Arc::clone(random));
        let orders = Orders::new(groups.clone(), group, Arc::clone(random));
        let reader = Reader::new(sources, wishes);
        Ok(Session::new(Arc::clone(broker), self.outlet.clone(), keeper, reader, orders, credit_bytes))
    }

    /// Serves until the client half-closes.
    async fn serve(&mut self, session: &mut Session) -> Result<(), End> {
        loop {
            let request = tokio::select! {
                biased;
                () = self.stopping.cancelled() => {
                    let stopping = BrokerError::new(ErrorCode::Unavailable, "the node is shutting down");
                    return Err(End::Failed(status(stopping)));
                }
                request = self.requests.next(), if session.has_room() => request,
                worked = session.work() => {
                    worked?;
                    continue;
                }
            };
            match request {
                Some(Ok(request)) => session.take(request)?,
                Some(Err(error)) if !self.broken_off.is_set() => return Err(End::Failed(error)),
                None if !self.broken_off.is_set() => return Ok(()),
                Some(Err(_)) | None => return Err(End::ClientGone),
            }
        }
    }
}

fn protocol(message: &str) -> End {
    End::Failed(status(BrokerError::invalid_request(message)))
}
