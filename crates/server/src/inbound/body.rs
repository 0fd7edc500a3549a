//! A request's body that takes the bytes of its messages from the node's budget.
//!
//! Invariant: data that begins a message is handed on only when the whole message has its bytes.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use highwater_broker::BytesPermit;
use highwater_proto::v1;
use highwater_types::{ErrorCode, limits};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use super::budget::{InboundBudget, NoRoom, Reception};
use super::meter::Meter;
use super::{BrokenOff, Share};

type RoomFuture = Pin<Box<dyn Future<Output = Result<BytesPermit, NoRoom>> + Send>>;

/// See the module.
pub(super) struct InboundBody {
    inner: Body,
    budget: InboundBudget,
    meter: Meter,
    /// Of the newest message; of all that began in one frame when there were several.
    current: Option<BytesPermit>,
    /// Of the message before, while the decoder has not taken it.
    earlier: Option<BytesPermit>,
    current_bytes: usize,
    /// When the newest message is to be whole.
    due: Instant,
    /// Data that waits for room.
    held: Option<(Bytes, usize, RoomFuture)>,
    /// While the sender is waited for in the middle of a message.
    reception: Option<(Reception, Pin<Box<WaitForCancellationFutureOwned>>)>,
    share: Weak<Share>,
    broken_off: BrokenOff,
}

impl InboundBody {
    pub(super) fn new(inner: Body, budget: InboundBudget, share: Weak<Share>, broken_off: BrokenOff) -> Self {
        Self {
            inner,
            budget,
            meter: Meter::new(limits::GRPC_REQUEST_BYTES_MAX),
            current: None,
            earlier: None,
            current_bytes: 0,
            due: Instant::now(),
            held: None,
            reception: None,
            share,
            broken_off,
        }
    }

    /// More is asked for, so the messages that were whole have been taken.
    fn give_back(&mut self) {
        self.earlier = None;
        if !self.meter.is_within_message()
            && let Some(permit) = self.current.take()
            && let Some(share) = self.share.upgrade()
        {
            *share.lock() = Some(permit);
        }
    }

    /// Keeps the share of the messages that begin in the data at hand.
    fn begin(&mut self, bytes: usize, permit: BytesPermit) {
        self.earlier = self.current.replace(permit);
        self.current_bytes = bytes;
        self.due = Instant::now() + time_to_receive(bytes);
    }

    /// The sender's next bytes are not there yet; the message may have to make way meanwhile.
    fn poll_given_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.meter.is_within_message() {
            return Poll::Pending;
        }
        let (budget, bytes, due) = (&self.budget, self.current_bytes, self.due);
        let (_, given_up) = self.reception.get_or_insert_with(|| {
            let reception = budget.wait_for_sender(bytes, due);
            let given_up = Box::pin(reception.given_up().cancelled_owned());
            (reception, given_up)
        });
        given_up.as_mut().poll(context)
    }

    fn no_room(&self, what: &str) -> Status {
        let capacity = self.budget.capacity_bytes();
        let message =
            format!("{what} the {capacity} bytes that the node receives at one time; try again later");
        v1::ErrorDetail::new(ErrorCode::Throttled, message).into_status()
    }
}

impl HttpBody for InboundBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.held.is_none() {
            self.give_back();
            let frame = match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.poll_given_up(context));
                    let status = self.no_room("the message stood still while others waited for room among");
                    return Poll::Ready(Some(Err(status)));
                }
            };
            self.reception = None;
            if let Some(Err(_)) = &frame {
                self.broken_off.set();
            }
            let data = match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            };
            let begun = self.meter.advance(&data);
            if begun == 0 {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(permit) = self.budget.try_acquire(begun) {
                self.begin(begun, permit);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            let budget = self.budget.clone();
            self.held = Some((data, begun, Box::pin(async move { budget.acquire(begun).await })));
        }
        let Some((_, _, room)) = &mut self.held else { return Poll::Pending };
        let permit = ready!(room.as_mut().poll(context));
        let Some((data, begun, _)) = self.held.take() else { return Poll::Pending };
        match permit {
            Ok(permit) => {
                self.begin(begun, permit);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(NoRoom) => Poll::Ready(Some(Err(self.no_room("the message found no room among")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// How long a message of so many bytes may take to arrive when others wait for room.
fn time_to_receive(bytes: usize) -> Duration {
    let seconds = u64::try_from(bytes / limits::INBOUND_BYTES_PER_SECOND_MIN).unwrap_or(u64::MAX);
    Duration::from_millis(limits::INBOUND_STALL_MS).saturating_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::poll_fn;
    use tokio::sync::mpsc;

    use super::*;

    /// A body that yields what it is sent.
    struct Sent(mpsc::UnboundedReceiver<Bytes>);

    impl HttpBody for Sent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    fn body(budget: &InboundBudget, share: &Arc<Share>) -> (mpsc::UnboundedSender<Bytes>, InboundBody) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let kept = Arc::downgrade(share);
        (sender, InboundBody::new(Body::new(Sent(receiver)), budget.clone(), kept, BrokenOff::default()))
    }

    fn message(length: u32) -> Bytes {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(bytes.len() + usize::try_from(length).expect("small"), 7);
        Bytes::from(bytes)
    }

    async fn next(body: &mut InboundBody) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test]
    async fn a_stream_gives_a_message_back_when_it_asks_for_the_next() {
        let budget = InboundBudget::new(100);
        let (sender, mut body) = body(&budget, &Arc::default());
        sender.send(message(95).slice(..50)).expect("open");
        next(&mut body).await.expect("data").expect("room");
        assert!(budget.try_acquire(1).is_none(), "the whole message is counted from its first byte");
        sender.send(message(95).slice(50..)).expect("open");
        next(&mut body).await.expect("data").expect("room");
        assert!(budget.try_acquire(1).is_none(), "it is still in the decoder");
        drop(sender);
        assert!(next(&mut body).await.is_none());
        assert!(budget.try_acquire(100).is_some());
    }

    #[tokio::test]
    async fn a_unary_calls_message_is_counted_until_it_is_answered() {
        let budget = InboundBudget::new(100);
        let share = Arc::default();
        let (sender, mut body) = body(&budget, &share);
        sender.send(message(95)).expect("open");
        drop(sender);
        next(&mut body).await.expect("data").expect("room");
        assert!(next(&mut body).await.is_none());
        drop(body);
        assert!(budget.try_acquire(1).is_none());
        drop(share);
        assert!(budget.try_acquire(100).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn two_messages_that_do_not_fit_together_come_one_after_the_other() {
        let budget = InboundBudget::new(100);
        let (slow, mut first) = body(&budget, &Arc::default());
        let (quick, mut second) = body(&budget, &Arc::default());
        slow.send(message(80).slice(..10)).expect("open");
        next(&mut first).await.expect("data").expect("room");
        quick.send(message(80)).expect("open");
        let second = tokio::spawn(async move { next(&mut second).await.expect("data").is_ok() });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "there is no room");
        slow.send(message(80).slice(10..)).expect("open");
        next(&mut first).await.expect("data").expect("whole");
        drop(first);
        assert!(second.await.expect("ends"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stands_still_fails_when_another_needs_its_room() {
        let budget = InboundBudget::new(100);
        let (_stuck, mut first) = body(&budget, &Arc::default());
        let (quick, mut second) = body(&budget, &Arc::default());
        _stuck.send(message(80).slice(..10)).expect("open");
        next(&mut first).await.expect("data").expect("room");
        let first = tokio::spawn(async move { next(&mut first).await.expect("an end") });
        quick.send(message(80)).expect("open");
        next(&mut second).await.expect("data").expect("room was made");
        let refused = first.await.expect("ends").expect_err("given up");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    }
}
