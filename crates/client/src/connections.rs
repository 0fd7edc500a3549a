//! The channels to the servers: those that the user named, and the nodes that the cluster told of. It decides nothing
//! about leaders; it knows which server has its turn for what any of them can answer.
//!
//! A channel connects at its first call and again after it broke; when it cannot, the call
//! fails and the next server has its turn. What only reads goes to the next one already while this one is silent. Waiting between attempts is up to the caller.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_proto::internal::v1::cluster_service_client::ClusterServiceClient;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::group_service_client::GroupServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_types::limits::{GRPC_MESSAGE_BYTES_MAX, HTTP2_FRAME_BYTES};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::config::ClientConfig;
use crate::error::ClientError;

/// Bytes that the peer may send ahead on one connection.
const WINDOW_BYTES: u32 = 8 << 20;
/// How long a server that failed is passed over while there are others.
const SUSPECT_FOR: Duration = Duration::from_secs(10);

/// How long a server may be silent before the next one is asked too: a process that stands still keeps its connections.
const SILENCE: Duration = Duration::from_millis(500);

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The address as the user or the cluster gave it.
    pub(crate) address: Arc<str>,
    channel: Channel,
}

impl Server {
    pub(crate) fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    pub(crate) fn groups(&self) -> GroupServiceClient<Channel> {
        GroupServiceClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }
}

#[derive(Debug, Default)]
struct Pool {
    dialled: BTreeMap<Arc<str>, Server>,
    /// Every server that can have its turn: the nodes, and the user's addresses that are none of theirs. At least one.
    turns: Vec<Arc<str>>,
    current: usize,
    /// When these could not be reached last.
    failed: BTreeMap<Arc<str>, Instant>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connections {
    config: ClientConfig,
    seeds: Vec<Arc<str>>,
    pool: Mutex<Pool>,
}

impl Connections {
    /// Checks the addresses; connects to none.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let seeds: Vec<Arc<str>> = config.servers.iter().map(|address| Arc::from(address.as_str())).collect();
        if seeds.is_empty() {
            return Err(ClientError::NoServers);
        }
        let pool = Mutex::new(Pool { turns: seeds.clone(), ..Pool::default() });
        let connections = Self { config: config.clone(), seeds, pool };
        for seed in &connections.seeds {
            connections.server(seed)?;
        }
        Ok(connections)
    }

    /// The server at an address.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn server(&self, address: &Arc<str>) -> Result<Server, ClientError> {
        let mut pool = self.pool.lock();
        if let Some(server) = pool.dialled.get(address) {
            return Ok(server.clone());
        }
        let channel = (self.config.dial)(endpoint(address, &self.config)?);
        let server = Server { address: Arc::clone(address), channel };
        pool.dialled.insert(Arc::clone(address), server.clone());
        Ok(server)
    }

    /// The address of the server that has its turn now.
    pub(crate) fn current(&self) -> Arc<str> {
        let pool = self.pool.lock();
        Arc::clone(&pool.turns[pool.current])
    }

    pub(crate) fn count(&self) -> usize {
        self.pool.lock().turns.len()
    }

    /// After a failure of this server another has its turn, unless somebody moved on already.
    pub(crate) fn move_on_from(&self, address: &Arc<str>) {
        let now = Instant::now();
        let mut pool = self.pool.lock();
        pool.failed.insert(Arc::clone(address), now);
        if pool.turns[pool.current] == *address {
            pool.turn(now);
        }
    }

    /// Another server has its turn rather than this one, which may have failed.
    pub(crate) fn avoid(&self, address: &Arc<str>) {
        let mut pool = self.pool.lock();
        if pool.turns[pool.current] == *address {
            pool.turn(Instant::now());
        }
    }

    /// Every server once, in the order of their turns from now on: those last that failed a moment ago.
    fn in_turn(&self) -> Vec<Arc<str>> {
        let now = Instant::now();
        let pool = self.pool.lock();
        let (later, first) = pool.turns.split_at(pool.current);
        let mut in_turn: Vec<Arc<str>> = first.iter().chain(later).cloned().collect();
        in_turn.sort_by_key(|address| pool.is_suspect(address, now));
        in_turn
    }

    /// This server has its turn, if it is still one of them.
    fn prefer(&self, address: &Arc<str>) {
        let mut pool = self.pool.lock();
        if let Some(index) = pool.turns.iter().position(|turn| turn == address) {
            pool.current = index;
        }
    }

    /// Gives the next server its turn though this one did not fail, because what it says did not help.
    pub(crate) fn rotate(&self) {
        self.pool.lock().turn(Instant::now());
    }

    /// These are the cluster's nodes now. Those that are gone are forgotten.
    pub(crate) fn learn(&self, nodes: impl IntoIterator<Item = Arc<str>>) {
        let mut turns: Vec<Arc<str>> =
            nodes.into_iter().filter(|address| endpoint(address, &self.config).is_ok()).collect();
        for seed in &self.seeds {
            if !turns.contains(seed) {
                turns.push(Arc::clone(seed));
            }
        }
        let mut pool = self.pool.lock();
        let current = &pool.turns[pool.current];
        pool.current = turns.iter().position(|address| address == current).unwrap_or(0);
        pool.turns = turns;
        let Pool { dialled, turns, failed, .. } = &mut *pool;
        dialled.retain(|address, _| turns.contains(address));
        failed.retain(|address, _| turns.contains(address));
    }

    /// Makes one unary call that only reads, on each server in turn until one can be reached. The next is asked too when one is silent
    /// for a moment; the first answer counts, and whoever gave it has its turn from then on.
    pub(crate) async fn read_any<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (mut left, timeout) = (self.in_turn().into_iter(), self.config.request_timeout);
        // Those without an answer, in the order in which they were asked.
        let (mut asked, mut silent) = (FuturesUnordered::new(), Vec::<Arc<str>>::new());
        let mut outcome = Err(ClientError::NoServers);
        loop {
            match left.next() {
                Some(address) => {
                    silent.push(Arc::clone(&address));
                    let call = &call;
                    asked.push(async move {
                        let answer = self.call_at(&address, timeout, call).await;
                        (address, answer)
                    });
                }
                None if asked.is_empty() => return outcome,
                None => {}
            }
            let next_turn = tokio::time::sleep(SILENCE);
            tokio::select! {
                Some((address, answer)) = asked.next() => {
                    if !matches!(answer, Err(ClientError::Connection { .. })) {
                        let longer = silent.iter().take_while(|asked| **asked != address);
                        longer.for_each(|silent| self.move_on_from(silent));
                        self.prefer(&address);
                        return answer;
                    }
                    silent.retain(|asked| *asked != address);
                    outcome = answer;
                }
                () = next_turn, if left.len() > 0 => {}
            }
        }
    }

    /// Makes one unary call, on each server in turn until one can be reached. Only for calls that may
    /// take place twice, since a lost answer looks like a server out of reach.
    pub(crate) async fn call_any<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut outcome = Err(ClientError::NoServers);
        for _ in 0..self.count() {
            outcome = self.call_once(&call).await;
            if !matches!(outcome, Err(ClientError::Connection { .. })) {
                break;
            }
        }
        outcome
    }

    /// Makes one unary call on the server that has its turn.
    pub(crate) async fn call_once<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_at(&self.current(), self.config.request_timeout, call).await
    }

    /// Makes one unary call on the server at this address.
    pub(crate) async fn call_at<T, F>(
        &self,
        address: &Arc<str>,
        timeout: Duration,
        call: impl Fn(Server) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let server = self.server(address)?;
        let outcome = match tokio::time::timeout(timeout, call(server)).await {
            Ok(Ok(response)) => {
                self.pool.lock().failed.remove(address);
                return Ok(response.into_inner());
            }
            Ok(Err(status)) => ClientError::from_status(&status, address),
            Err(_) => no_answer(address, timeout),
        };
        if matches!(outcome, ClientError::Connection { .. }) {
            self.move_on_from(address);
        }
        Err(outcome)
    }
}

impl Pool {
    /// The next that did not fail a moment ago; simply the next if all did.
    fn turn(&mut self, now: Instant) {
        let count = self.turns.len();
        let next = (1..=count).map(|step| (self.current + step) % count);
        let next = next
            .clone()
            .find(|index| !self.is_suspect(&self.turns[*index], now))
            .or_else(|| next.clone().next());
        self.current = next.unwrap_or(0);
    }

    /// Whether it failed a moment ago.
    fn is_suspect(&self, address: &Arc<str>, now: Instant) -> bool {
        self.failed.get(address).is_some_and(|failed| now < *failed + SUSPECT_FOR)
    }
}

/// The error of a server that does not answer in time.
pub(crate) fn no_answer(server: &str, waited: Duration) -> ClientError {
    let reason = format!("no answer within {} ms", waited.as_millis());
    ClientError::Connection { server: server.to_owned(), reason }
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
        .http2_keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(address: &str) -> Arc<str> {
        address.into()
    }

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
        assert_eq!(&*connections.current(), "b:1");
    }

    #[tokio::test]
    async fn nodes_that_are_learnt_have_their_turns_and_those_that_vanish_are_forgotten() {
        let connections = Connections::new(&ClientConfig::new(["a:1"])).expect("an address");
        connections.learn([address("b:1"), address("c:1"), address("no address")]);
        assert_eq!((&*connections.current(), connections.count()), ("a:1", 3));
        connections.server(&address("c:1")).expect("an address");
        connections.move_on_from(&address("a:1"));
        assert_eq!(&*connections.current(), "b:1");
        connections.rotate();
        assert_eq!(&*connections.current(), "c:1");
        connections.rotate();
        assert_eq!(&*connections.current(), "b:1", "what failed a moment ago is passed over");
        connections.learn([address("b:1")]);
        assert_eq!(connections.count(), 2);
        assert!(!connections.pool.lock().dialled.contains_key("c:1"));
    }
}
