//! The channels to the servers, and which of them is in use.
//!
//! A channel connects at its first call and again after it broke; when it cannot, the call
//! fails and the next server has its turn. Waiting between attempts is up to the caller.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_types::limits::{GRPC_MESSAGE_BYTES_MAX, HTTP2_FRAME_BYTES};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::config::ClientConfig;
use crate::error::ClientError;

/// How often a connection is probed; one that does not answer for as long again is broken.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes that the peer may send ahead on one connection.
const WINDOW_BYTES: u32 = 8 << 20;

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    index: usize,
    /// The address as the user gave it.
    pub(crate) address: String,
    channel: Channel,
}

impl Server {
    pub(crate) fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }
}

/// All servers. At least one.
#[derive(Debug)]
pub(crate) struct Connections {
    servers: Vec<Server>,
    current: AtomicUsize,
    request_timeout: Duration,
}

impl Connections {
    /// Checks the addresses; connects to none.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let server = |(index, address): (usize, &String)| {
            let channel = (config.dial)(endpoint(address, config)?);
            Ok(Server { index, address: address.clone(), channel })
        };
        let servers = config.servers.iter().enumerate().map(server).collect::<Result<Vec<_>, ClientError>>()?;
        if servers.is_empty() {
            return Err(ClientError::NoServers);
        }
        Ok(Self { servers, current: AtomicUsize::new(0), request_timeout: config.request_timeout })
    }

    /// The server to use now.
    pub(crate) fn current(&self) -> Server {
        self.servers[self.current.load(Ordering::Relaxed) % self.servers.len()].clone()
    }

    /// After a failure of this server the next one has its turn, unless somebody moved on already.
    pub(crate) fn move_on_from(&self, server: &Server) {
        let next = (server.index + 1) % self.servers.len();
        let _ = self.current.compare_exchange(server.index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes one unary call, on each server in turn until one can be reached. Only for calls that may
    /// take place twice, since a lost answer looks like a server out of reach.
    pub(crate) async fn call_any<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut outcome = Err(ClientError::NoServers);
        for _ in 0..self.servers.len() {
            outcome = self.call_once(&call).await;
            if !matches!(outcome, Err(ClientError::Connection { .. })) {
                break;
            }
        }
        outcome
    }

    /// Makes one unary call on the current server.
    pub(crate) async fn call_once<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let server = self.current();
        let outcome = match tokio::time::timeout(self.request_timeout, call(server.clone())).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => ClientError::from_status(&status, &server.address),
            Err(_) => no_answer(&server, self.request_timeout),
        };
        if matches!(outcome, ClientError::Connection { .. }) {
            self.move_on_from(&server);
        }
        Err(outcome)
    }
}

/// The error of a server that does not answer in time.
pub(crate) fn no_answer(server: &Server, waited: Duration) -> ClientError {
    let reason = format!("no answer within {} ms", waited.as_millis());
    ClientError::Connection { server: server.address.clone(), reason }
}

fn endpoint(address: &str, config: &ClientConfig) -> Result<Endpoint, ClientError> {
    let invalid = || ClientError::InvalidAddress { address: address.to_owned() };
    let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(uri).map_err(|_| invalid())?;
    if endpoint.uri().host().is_none_or(str::is_empty) || endpoint.uri().scheme_str() != Some("http") {
        return Err(invalid());
    }
    Ok(endpoint
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_before_anything_connects() {
        for address in ["", "http://", "host with spaces:1", "ftp://127.0.0.1:7400"] {
            let error = Connections::new(&ClientConfig::new([address])).map(|_| ()).expect_err(address);
            assert!(matches!(error, ClientError::InvalidAddress { .. }), "{address}: {error}");
        }
        let none = Connections::new(&ClientConfig::new(Vec::<String>::new())).map(|_| ());
        assert_eq!(none, Err(ClientError::NoServers));
    }

    #[tokio::test]
    async fn a_server_that_fails_hands_over_to_the_next_once() {
        let connections = Connections::new(&ClientConfig::new(["a:1", "b:1"])).expect("addresses");
        let first = connections.current();
        connections.move_on_from(&first);
        connections.move_on_from(&first);
        assert_eq!(connections.current().address, "b:1");
    }
}
