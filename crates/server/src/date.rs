//! The `date` of gRPC answers, by the node's clock. Whoever serves HTTP/2 below adds the machine's to an
//! answer that has none.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use highwater_types::{Clock, TimestampMs};
use http::HeaderValue;
use http::header::DATE;
use tower_layer::Layer;
use tower_service::Service;

/// The last second that a date of HTTP can tell, in the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Dates answers.
#[derive(Clone)]
pub(crate) struct DateLayer {
    clock: Arc<dyn Clock>,
}

impl DateLayer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for DateLayer {
    type Service = DateService<S>;

    fn layer(&self, inner: S) -> DateService<S> {
        DateService { inner, clock: Arc::clone(&self.clock) }
    }
}

/// See [`DateLayer`].
#[derive(Clone)]
pub(crate) struct DateService<S> {
    inner: S,
    clock: Arc<dyn Clock>,
}

impl<S, Request, Body> Service<Request> for DateService<S>
where
    S: Service<Request, Response = http::Response<Body>>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Dated<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Dated { answer: self.inner.call(request), clock: Arc::clone(&self.clock) }
    }
}

/// An answer that gets its date when it is there.
pub(crate) struct Dated<F> {
    answer: F,
    clock: Arc<dyn Clock>,
}

impl<F, Body, Error> Future for Dated<F>
where
    F: Future<Output = Result<http::Response<Body>, Error>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        if let (Ok(answer), Some(date)) = (&mut answer, date(self.clock.now())) {
            answer.headers_mut().insert(DATE, date);
        }
        Poll::Ready(answer)
    }
}

/// The time as HTTP writes it; what lies beyond its years is their first or last second.
fn date(now: TimestampMs) -> Option<HeaderValue> {
    let seconds = u64::try_from(now.0).unwrap_or(0) / 1000;
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(SECONDS_MAX));
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_that_a_clock_may_show_has_a_date() {
        let cases = [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_700_000_000_999, "Tue, 14 Nov 2023 22:13:20 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (now, expected) in cases {
            assert_eq!(date(TimestampMs(now)).expect("a header's text"), expected, "{now}");
        }
    }
}
