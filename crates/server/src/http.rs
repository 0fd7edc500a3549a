//! The HTTP listener: `/healthz` says that the process is alive, `/readyz` whether it serves and why not, `/metrics` has figures
//! in the text form that Prometheus reads.
//! One request handler, no framework; bodies of requests are never read.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{ClientStream, Connection};

/// How long a client may take to send a request's head, or be idle between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What the answers are.
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
/// What those to `/metrics` are: Prometheus takes nothing that does not say so.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How far the node serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Health {
    /// It is starting or stopping.
    #[default]
    NotServing,
    /// It starts, and waits for somebody: for whom, and what to do.
    Waiting(String),
    /// It serves.
    Ready,
    /// It serves for reading only what is proven whole, for this reason.
    ReadOnly(String),
}

/// Gives the figures of a node that has started.
type Figures = Arc<OnceLock<Box<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>>>;

/// How far the node serves, now. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    health: Arc<Mutex<Health>>,
    figures: Figures,
}

impl Readiness {
    pub(crate) fn set(&self, health: Health) {
        *self.health.lock() = health;
    }

    /// From here on `/metrics` shows these.
    pub(crate) fn set_figures(&self, figures: impl Fn() -> BoxFuture<'static, String> + Send + Sync + 'static) {
        // A node starts once.
        let _ = self.figures.set(Box::new(figures));
    }

    async fn figures(&self) -> String {
        match self.figures.get() {
            Some(figures) => figures().await,
            None => String::new(),
        }
    }

    fn health(&self) -> Health {
        self.health.lock().clone()
    }
}

/// Serves connections until `stopping`; requests under way are answered.
pub(crate) async fn serve<IO: ClientStream>(
    incoming: impl Stream<Item = io::Result<Connection<IO>>> + Send,
    readiness: Readiness,
    stopping: CancellationToken,
) {
    let mut incoming = std::pin::pin!(incoming.take_until(stopping.cancelled()));
    let connections = TaskTracker::new();
    while let Some(accepted) = incoming.next().await {
        if let Ok(connection) = accepted {
            connections.spawn(serve_connection(connection, readiness.clone(), stopping.clone()));
        }
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection<IO: ClientStream>(
    connection: Connection<IO>,
    readiness: Readiness,
    stopping: CancellationToken,
) {
    let answer = service_fn(move |request| {
        let readiness = readiness.clone();
        async move { Ok::<_, Infallible>(respond(&request, &readiness).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        // It would be the machine's, which need not be the node's.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(connection), answer);
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection ended with an error");
    }
}

async fn respond(request: &Request<Incoming>, readiness: &Readiness) -> Response<String> {
    let (status, text) = answer(request.method(), request.uri().path(), readiness).await;
    let body = if request.method() == Method::HEAD { String::new() } else { text };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = if request.uri().path() == "/metrics" { METRICS_TYPE } else { TEXT_TYPE };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn answer(method: &Method, path: &str, readiness: &Readiness) -> (StatusCode, String) {
    let (status, text) = match path {
        "/healthz" | "/readyz" | "/metrics" if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned())
        }
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match readiness.health() {
            Health::Ready => (StatusCode::OK, "ready\n".to_owned()),
            Health::NotServing => (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n".to_owned()),
            Health::Waiting(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
            Health::ReadOnly(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("degraded, for reading only: {reason}\n"))
            }
        },
        "/metrics" => (StatusCode::OK, readiness.figures().await),
        _ => (StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n".to_owned()),
    };
    (status, text)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_node_is_alive_before_it_is_ready() {
        let readiness = Readiness::default();
        let status = async |path| answer(&Method::GET, path, &readiness).await.0;
        assert_eq!(status("/healthz").await, StatusCode::OK);
        assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        readiness.set(Health::Ready);
        assert_eq!(status("/readyz").await, StatusCode::OK);
        assert_eq!(answer(&Method::GET, "/metrics", &readiness).await, (StatusCode::OK, String::new()));
        readiness.set_figures(|| std::future::ready("highwater_scrub_rounds_total 3\n".to_owned()).boxed());
        assert!(answer(&Method::GET, "/metrics", &readiness).await.1.contains("rounds_total 3"));
        readiness.set(Health::ReadOnly("the journal is damaged".to_owned()));
        let (degraded, why) = answer(&Method::GET, "/readyz", &readiness).await;
        assert_eq!(degraded, StatusCode::SERVICE_UNAVAILABLE);
        assert!(why.contains("the journal is damaged"), "{why}");
        assert_eq!(status("/healthz").await, StatusCode::OK);
        assert_eq!(status("/elsewhere").await, StatusCode::NOT_FOUND);
        assert_eq!(answer(&Method::POST, "/healthz", &readiness).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}
