//! Server push with credit: one task for each subscription.
//!
//! Invariant: records are only read while there is credit and the client takes what was
//! pushed before, so a stream holds one push in the channel and one in HTTP/2's hands. Of what other nodes lead it holds
//! besides what [`upstreams`] says.

mod sources;
mod upstreams;

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use highwater_broker::{Broker, BrokerError, Pushed, StartAt, Subscribe};
use highwater_proto::v1;
use highwater_types::{ErrorCode, Offset, PartitionIndex, TimestampMs, limits};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::sources::{Next, Sources};
use super::convert;
use super::format::Format;
use super::forward::{Forwarding, Origin};
use super::outlet::{End, Outlet};
use super::status::{detail, status};

/// One subscription's stream.
pub(crate) struct SubscribeStream<S> {
    pub(crate) broker: Arc<Broker>,
    pub(crate) forwarding: Forwarding,
    pub(crate) origin: Origin,
    pub(crate) requests: S,
    pub(crate) outlet: Outlet<v1::SubscribeResponse>,
    pub(crate) stopping: CancellationToken,
}

/// What a stream needs besides the subscription.
struct Terms {
    credit: i128,
    push_bytes_max: usize,
    format: Format,
}

impl<S> SubscribeStream<S>
where
    S: Stream<Item = Result<v1::SubscribeRequest, Status>> + Send + Unpin,
{
    /// Serves the stream until the client is done or gone.
    pub(crate) async fn run(mut self) {
        let outlet = self.outlet.clone();
        let end = tokio::select! {
            end = self.serve() => end,
            () = outlet.closed() => End::ClientGone,
        };
        outlet.end(end).await;
    }

    async fn serve(&mut self) -> End {
        match self.start().await {
            Ok((sources, terms)) => match self.push_all(sources, terms).await {
                Ok(()) => End::Ok,
                Err(end) => end,
            },
            Err(end) => end,
        }
    }

    /// Reads the first message and starts what it asks for.
    async fn start(&mut self) -> Result<(Sources, Terms), End> {
        let start = match self.requests.next().await {
            Some(Ok(v1::SubscribeRequest { message: Some(v1::subscribe_request::Message::Start(start)) })) => {
                start
            }
            Some(Ok(_)) => return Err(protocol("the first message of a subscription must be 'start'")),
            Some(Err(broken)) => return Err(End::Failed(broken)),
            None => return Err(End::Ok),
        };
        let failed = |error| End::Failed(status(error));
        let terms = Terms {
            credit: i128::from(start.credit_bytes),
            push_bytes_max: convert::bytes_or(start.max_push_bytes, limits::PUSH_BYTES_DEFAULT)
                .min(limits::PUSH_BYTES_MAX),
            format: Format::parse(start.format).map_err(failed)?,
        };
        let (forwarding, origin, max) = (&self.forwarding, self.origin, terms.push_bytes_max);
        let started = Sources::start(&self.broker, forwarding, origin, start, max).await;
        Ok((started.map_err(failed)?, terms))
    }

    /// Pushes of each partition first where it starts, then records as credit allows. What other nodes lead is not waited for.
    async fn push_all(&mut self, mut sources: Sources, mut terms: Terms) -> Result<(), End> {
        if let Some(subscription) = &mut sources.local {
            let topic_id = subscription.topic_id().to_string();
            while let Some((partition, started)) = subscription.next_start() {
                let message = match started {
                    Ok(fetched) => push(partition, &topic_id, convert::batches(fetched), 0),
                    Err(error) => failed_partition(error),
                };
                self.outlet.send(message, 0).await?;
            }
        }
        loop {
            let has_credit = terms.credit > 0;
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {
                    let stopping = BrokerError::new(ErrorCode::Unavailable, "the node is shutting down");
                    return Err(End::Failed(status(stopping)));
                }
                request = self.requests.next() => match request {
                    Some(request) => terms.credit += i128::from(credit(request)?),
                    None => return Ok(()),
                },
                next = sources.next(terms.push_bytes_max, has_credit), if has_credit || sources.has_news() => match next {
                    Next::Local(pushed) => self.push_records(&mut sources, &mut terms, pushed).await?,
                    Next::Remote(message) => self.pass_on(&mut terms, message).await?,
                    Next::Done => return Ok(()),
                },
            }
        }
    }

    /// Pushes what one partition gave, and takes its bytes off the credit.
    async fn push_records(
        &mut self,
        sources: &mut Sources,
        terms: &mut Terms,
        (partition, from, result): Pushed,
    ) -> Result<(), End> {
        let Some(subscription) = &mut sources.local else { return Ok(()) };
        let topic_id = subscription.topic_id().to_string();
        let rendered = result.and_then(|fetched| terms.format.render(fetched, from, terms.push_bytes_max));
        match rendered {
            Ok((data, bytes)) => {
                subscription.advance(partition, Offset(data.next_offset));
                terms.credit -= i128::try_from(bytes).unwrap_or(i128::MAX);
                self.outlet.send(push(partition, &topic_id, data, bytes), bytes).await
            }
            Err(error) => {
                subscription.end(partition);
                self.outlet.send(failed_partition(error.with_partition(partition)), 0).await
            }
        }
    }

    /// Passes a leader's message on, and takes its bytes off the credit.
    async fn pass_on(&self, terms: &mut Terms, message: v1::SubscribeResponse) -> Result<(), End> {
        let charged = match &message.message {
            Some(v1::subscribe_response::Message::Push(push)) => push.charged_bytes,
            _ => 0,
        };
        terms.credit -= i128::from(charged);
        self.outlet.send(message, usize::try_from(charged).unwrap_or(usize::MAX)).await
    }
}

fn parse(start: v1::SubscribeStart) -> Result<Subscribe, BrokerError> {
    let topic = convert::topic_ref(start.topic, &start.topic_id)?;
    let default = position(start.position)?;
    let partitions = start.partitions.into_iter().map(|partition| {
        let at = match partition.position {
            Some(own) => position(Some(own))?,
            None => default,
        };
        Ok((PartitionIndex(partition.partition), at))
    });
    let partitions = partitions.collect::<Result<Vec<_>, BrokerError>>()?;
    Ok(Subscribe { topic, partitions, default })
}

pub(super) fn position(position: Option<v1::StartPosition>) -> Result<StartAt, BrokerError> {
    use v1::start_position::Position;
    match position.and_then(|position| position.position) {
        None => Ok(StartAt::Earliest),
        Some(Position::Offset(offset)) => Ok(StartAt::Offset(convert::offset(offset)?)),
        Some(Position::TimestampMs(time)) => Ok(StartAt::Time(TimestampMs(time))),
        Some(Position::Named(named)) => match v1::NamedPosition::try_from(named) {
            Ok(v1::NamedPosition::Unspecified | v1::NamedPosition::Earliest) => Ok(StartAt::Earliest),
            Ok(v1::NamedPosition::Latest) => Ok(StartAt::Latest),
            Err(_) => Err(BrokerError::invalid_request(format!("{named} is not a place in a partition"))),
        },
    }
}

/// The credit that a message adds.
fn credit(request: Result<v1::SubscribeRequest, Status>) -> Result<u64, End> {
    match request.map_err(End::Failed)?.message {
        Some(v1::subscribe_request::Message::Credit(credit)) => Ok(credit.bytes),
        _ => Err(protocol("every message after the first must be 'credit'")),
    }
}

fn protocol(message: &str) -> End {
    End::Failed(status(BrokerError::invalid_request(message)))
}

fn push(
    partition: PartitionIndex,
    topic_id: &str,
    data: v1::RecordData,
    bytes: usize,
) -> v1::SubscribeResponse {
    let push = v1::SubscribePush {
        partition: partition.0,
        topic_id: topic_id.to_owned(),
        data: Some(data),
        charged_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    };
    v1::SubscribeResponse { message: Some(v1::subscribe_response::Message::Push(push)) }
}

fn failed_partition(error: BrokerError) -> v1::SubscribeResponse {
    let message = v1::subscribe_response::Message::Error(detail(error));
    v1::SubscribeResponse { message: Some(message) }
}
