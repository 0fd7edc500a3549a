//! What a node says of itself to those who know only its address, from the moment that it listens; and the order to be born, which
//! it takes while it belongs to no cluster.
//!
//! Invariants: the cluster that a process would found is drawn once and never again by another process, and only an order that
//! names it makes the node a founder. An order is answered when what it asks for is durable. What is said of the node's cluster is
//! durable before it is said.

use std::sync::Arc;

use highwater_broker::{BrokerError, FEATURE_LEVEL_NEWEST};
use highwater_peer::PROTOCOL_VERSIONS;
use highwater_proto::internal::v1;
use highwater_types::{ClusterId, ErrorCode, NodeId, Random};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::config::NodeConfig;

/// Orders that wait while one is carried out.
const ORDERS_MAX: usize = 8;

/// See the module.
pub(crate) struct Introduction {
    node: NodeId,
    /// Where clients reach it.
    address: String,
    process: u64,
    would_found: ClusterId,
    seeds: Vec<String>,
    takes_orders: bool,
    /// Whether it begins the cluster of its configuration.
    founds: bool,
    stage: Mutex<Stage>,
    orders: mpsc::Sender<Ordered>,
}

/// How far the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It looks at its data.
    Opening,
    /// It has no data and belongs to no cluster.
    Unborn,
    /// It belongs to a cluster.
    Born {
        cluster: ClusterId,
        /// Whether it began the cluster.
        founder: bool,
        /// Whether it has something of the cluster's metadata.
        is_member: bool,
    },
}

/// What a node without data is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) cluster: ClusterId,
    /// Whether it begins the cluster.
    pub(crate) founds: bool,
    /// Where nodes of the cluster are.
    pub(crate) ask: Vec<String>,
}

/// An order, and whom to tell that it was carried out.
pub(crate) struct Ordered {
    pub(crate) order: Order,
    pub(crate) done: oneshot::Sender<()>,
}

impl Introduction {
    /// That of a node which looks at its data, and where the orders to it arrive. Clients reach it at `address`.
    pub(crate) fn new(
        config: &NodeConfig,
        address: String,
        random: &dyn Random,
    ) -> (Arc<Self>, mpsc::Receiver<Ordered>) {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let introduction = Self {
            node: config.node,
            address,
            process: random.next_u64(),
            would_found: ClusterId::draw(random),
            seeds: config.addresses_to_join(),
            takes_orders: config.first_voters.is_empty(),
            founds: config.founds(),
            stage: Mutex::new(Stage::Opening),
            orders,
        };
        (Arc::new(introduction), receiver)
    }

    /// The node has come further.
    pub(crate) fn reach(&self, stage: Stage) {
        *self.stage.lock() = stage;
    }

    /// Who the node is.
    pub(crate) fn response(&self) -> v1::IdentifyResponse {
        let stage = *self.stage.lock();
        let (cluster_id, founder, state) = match stage {
            Stage::Opening => (String::new(), false, v1::NodeState::Opening),
            Stage::Unborn => (String::new(), false, v1::NodeState::Unborn),
            Stage::Born { cluster, founder, is_member: false } => {
                (cluster.to_string(), founder, v1::NodeState::Awaiting)
            }
            Stage::Born { cluster, founder, is_member: true } => {
                (cluster.to_string(), founder, v1::NodeState::Member)
            }
        };
        v1::IdentifyResponse {
            cluster_id,
            node_id: self.node.0,
            state: state.into(),
            founder,
            process: self.process,
            would_found: self.would_found.to_string(),
            seeds: self.seeds.clone(),
            peer_version_min: *PROTOCOL_VERSIONS.start(),
            peer_version_max: *PROTOCOL_VERSIONS.end(),
            feature_level_newest: FEATURE_LEVEL_NEWEST,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Why the node does not serve yet, and what to do about it.
    pub(crate) fn why_not_serving(&self) -> String {
        let (node, address) = (self.node, &self.address);
        match *self.stage.lock() {
            Stage::Opening | Stage::Born { is_member: true, .. } => {
                format!("node {node} is starting; try again")
            }
            Stage::Unborn if self.founds => {
                let others = self.seeds.join(", ");
                format!(
                    "node {node} founds the cluster of its configuration when each of {others} says that it belongs to no \
                     cluster, or joins theirs: are they running?"
                )
            }
            Stage::Unborn if !self.takes_orders => {
                let voters = self.seeds.join(", ");
                format!(
                    "node {node} waits for the first voters of its configuration to found the cluster: are they running? \
                     It asks {voters}"
                )
            }
            Stage::Unborn => {
                let seeds = match self.seeds.join(", ") {
                    seeds if seeds.is_empty() => String::new(),
                    seeds => format!("; or start the cluster of its seeds ({seeds}), and it joins that"),
                };
                format!(
                    "node {node} belongs to no cluster yet: found one with `highwater cluster init --server {address}`{seeds}"
                )
            }
            Stage::Born { cluster, is_member: false, .. } => format!(
                "node {node} belongs to cluster {cluster}, and no node of that has taken it in yet: are they running? If \
                 `highwater cluster init` was cut short, type it again"
            ),
        }
    }

    /// Takes the order to be part of a cluster. On return it is, durably.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) async fn be_born(&self, request: v1::BirthRequest) -> Result<(), BrokerError> {
        let cluster: ClusterId = request.cluster_id.parse().map_err(|_| {
            BrokerError::invalid_request(format!("'{}' is no id of a cluster", request.cluster_id))
        })?;
        loop {
            match *self.stage.lock() {
                Stage::Born { cluster: own, .. } if own == cluster => return Ok(()),
                Stage::Born { cluster: own, .. } => {
                    return Err(BrokerError::invalid_request(format!(
                        "node {} belongs to cluster {own} already, not to {cluster}: who founds clusters here at the same time?",
                        self.node
                    )));
                }
                Stage::Opening => {
                    return Err(BrokerError::new(ErrorCode::Unavailable, self.opening()));
                }
                Stage::Unborn => self.check(&request, cluster)?,
            }
            let (done, is_done) = oneshot::channel();
            let order = Order { cluster, founds: request.founds, ask: request.addresses.clone() };
            let stopped = || BrokerError::new(ErrorCode::Unavailable, "the node is stopping");
            match self.orders.send(Ordered { order, done }).await {
                Ok(()) => match is_done.await {
                    Ok(()) => return Ok(()),
                    // Another order came first, or the node failed over this one.
                    Err(_) if *self.stage.lock() == Stage::Unborn => return Err(stopped()),
                    Err(_) => {}
                },
                Err(_) if *self.stage.lock() == Stage::Unborn => return Err(stopped()),
                Err(_) => {}
            }
        }
    }

    fn opening(&self) -> String {
        format!("node {} is starting; try again", self.node)
    }

    fn check(&self, request: &v1::BirthRequest, cluster: ClusterId) -> Result<(), BrokerError> {
        let refused = |message: String| Err(BrokerError::invalid_request(message));
        if request.node_id != self.node.0 || request.process != self.process {
            let (node, meant) = (self.node, request.node_id);
            return refused(format!(
                "node {node} answers here, and not the process of node {meant} that was asked before: type the command again"
            ));
        }
        if !self.takes_orders {
            return refused(format!(
                "the configuration of node {} names first voters: they found its cluster, and it takes no orders",
                self.node
            ));
        }
        if request.founds && cluster != self.would_found {
            let (node, would_found) = (self.node, self.would_found);
            return refused(format!("node {node} would found cluster {would_found}, not {cluster}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::SystemRandom;

    use super::*;

    fn order(introduction: &Introduction, cluster: ClusterId, founds: bool) -> v1::BirthRequest {
        let said = introduction.response();
        v1::BirthRequest {
            node_id: said.node_id,
            process: said.process,
            cluster_id: cluster.to_string(),
            founds,
            addresses: vec!["a:1".to_owned()],
        }
    }

    fn unborn() -> (Arc<Introduction>, mpsc::Receiver<Ordered>) {
        let config = NodeConfig { awaits_init: true, ..NodeConfig::local("nowhere".into()) };
        let (introduction, orders) = Introduction::new(&config, "a:7400".to_owned(), &SystemRandom);
        introduction.reach(Stage::Unborn);
        (introduction, orders)
    }

    #[tokio::test]
    async fn of_two_orders_at_once_the_second_is_refused_for_the_cluster_of_the_first() {
        let (introduction, mut orders) = unborn();
        let [first, second] = [ClusterId::draw(&SystemRandom), ClusterId::draw(&SystemRandom)];
        let [one, other] = [first, second].map(|cluster| {
            let introduction = Arc::clone(&introduction);
            tokio::spawn(async move { introduction.be_born(order(&introduction, cluster, false)).await })
        });
        let taken = orders.recv().await.expect("one order");
        let cluster = taken.order.cluster;
        introduction.reach(Stage::Born { cluster, founder: false, is_member: false });
        // Who waited may be gone.
        let _ = taken.done.send(());
        drop(orders);
        let outcomes = [one.await.expect("answered"), other.await.expect("answered")];
        let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "{outcomes:?}");
        assert!(refused[0].to_string().contains(&cluster.to_string()), "{}", refused[0]);
        introduction.be_born(order(&introduction, cluster, false)).await.expect("the same again");
    }

    #[tokio::test]
    async fn only_the_cluster_that_this_process_would_found_is_founded() {
        let (introduction, _orders) = unborn();
        let other = ClusterId::draw(&SystemRandom);
        let refused = introduction.be_born(order(&introduction, other, true)).await.expect_err("another's");
        assert!(refused.to_string().contains("would found"), "{refused}");
        let mut late = order(&introduction, other, false);
        late.process += 1;
        let refused = introduction.be_born(late).await.expect_err("the process that was asked is gone");
        assert!(refused.to_string().contains("type the command again"), "{refused}");
    }

    #[test]
    fn a_node_without_a_cluster_says_what_to_do() {
        let (introduction, _orders) = unborn();
        let why = introduction.why_not_serving();
        assert!(why.contains("`highwater cluster init --server a:7400`"), "{why}");
    }
}
