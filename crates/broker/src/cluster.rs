//! A node's place in its cluster: it makes itself known, and keeps in touch with the other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use highwater_controller::{FeatureLevel, MetadataCommand, NodeRegistration};
use highwater_types::{ErrorCode, NodeId};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::broker::{Broker, BrokerOptions, CLIENT_LISTENER, PEER_LISTENER, stopping};
use crate::error::{BrokerError, LeaderHint};
use crate::known_nodes::{KnownNodes, NodeStanding};
use crate::routing::leader_hint;

/// How long a node rests before it turns to another one again that it could not reach.
const REACH_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long a node that was let in waits until it finds itself in the metadata. It asks again then: one that was removed meanwhile hears
/// nothing of the metadata any more, and is told so.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
/// How often a node that waits to be let in says so in the log.
const STILL_WAITING: Duration = Duration::from_secs(10);

impl Broker {
    /// Makes sure that the cluster has its identity and knows this node. Returns when this node has the cluster's metadata. A node
    /// that the cluster knows already need not wait for it: it says what changed about it later.
    pub(crate) async fn join_cluster(self: &Arc<Self>) -> Result<(), BrokerError> {
        if self.options.founder && self.image().cluster().is_none() && self.metadata_group.is_sole_voter() {
            let (cluster, at) = (self.options.cluster, self.clock.now());
            let born = MetadataCommand::ClusterBorn { cluster, feature_level: FeatureLevel::NEWEST, at };
            self.propose(&born).await?;
        }
        let is_known = self
            .image()
            .node(self.options.node)
            .is_some_and(|node| node.incarnation == self.options.incarnation);
        if is_known && !self.metadata_group.is_sole_voter() {
            let broker = Arc::clone(self);
            tokio::spawn(async move { broker.register_again().await });
            return Ok(());
        }
        self.register_until_known().await
    }

    /// Says what changed about a node that the cluster knew when it stopped. It may have been removed since.
    async fn register_again(&self) {
        if let Err(error) = self.register_until_known().await
            && !self.stopping.is_cancelled()
        {
            self.refused.send_replace(Some(error.to_string()));
        }
    }

    /// Waits until this node knows that the cluster goes on without it, and says why. Its peers may have said so before. Cancel-safe.
    pub async fn shut_out(&self) -> String {
        let BrokerOptions { node, incarnation, .. } = &self.options;
        let known = KnownNodes { metadata: self.metadata.clone() };
        let mut refused = self.refused.subscribe();
        tokio::select! {
            standing = known.gone(*node, *incarnation) => {
                let fate = match standing {
                    NodeStanding::Replaced { by } => format!("has another data directory now, of incarnation {by}"),
                    NodeStanding::Removed | NodeStanding::Belongs => "was removed from the cluster".to_owned(),
                };
                format!("node {node} {fate}; started with an empty data directory it joins anew")
            }
            // The sender lives as long as this broker.
            Ok(refused) = refused.wait_for(Option::is_some) => refused.clone().unwrap_or_default(),
        }
    }

    /// Registers, however long nobody answers.
    async fn register_until_known(&self) -> Result<(), BrokerError> {
        loop {
            let registering = async {
                let register = self.registration();
                let mut registering = std::pin::pin!(self.propose_until_shown(&register, Some(FOUND_WITHIN)));
                loop {
                    tokio::select! {
                        registered = &mut registering => break registered,
                        () = sleep(STILL_WAITING) => {
                            let seeds = self.options.seeds.join(", ");
                            tracing::info!(seeds, "waiting for the cluster to take this node in");
                        }
                    }
                }
            };
            let registered = tokio::select! {
                () = self.stopping.cancelled() => return Err(stopping()),
                registered = registering => registered,
            };
            match registered {
                Ok(_) => return Ok(()),
                Err(error) if error.code == ErrorCode::Timeout => {
                    tracing::warn!(%error, "the cluster does not take this node in yet");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Says who this node is. To say the same again changes nothing, but on return this node's metadata are as new as the cluster's
    /// were when it asked.
    pub(crate) async fn register(&self) -> Result<(), BrokerError> {
        self.propose(&self.registration()).await.map(drop)
    }

    fn registration(&self) -> MetadataCommand {
        MetadataCommand::RegisterNode { cluster: self.options.cluster, node: self.own_record() }
    }

    fn own_record(&self) -> NodeRegistration {
        let client = (CLIENT_LISTENER.to_owned(), self.options.client_address.clone());
        let peer = self.options.peer_address.clone().map(|address| (PEER_LISTENER.to_owned(), address));
        NodeRegistration {
            id: self.options.node,
            incarnation: self.options.incarnation,
            addresses: BTreeMap::from_iter([client].into_iter().chain(peer)),
            rack: self.options.rack.clone(),
            feature_level_newest: FeatureLevel::NEWEST,
            registered_at: self.clock.now(),
        }
    }

    /// Where clients reach a node.
    pub(crate) fn hint(&self, node: NodeId) -> Option<LeaderHint> {
        leader_hint(&self.image(), node)
    }
}

/// Tells the layers below where the other nodes are, and learns from each what it leads, until the broker stops.
pub(crate) async fn follow_nodes(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    let mut images = broker.metadata.watch();
    let mut followed: BTreeMap<NodeId, (BTreeMap<String, String>, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let nodes: BTreeMap<NodeId, BTreeMap<String, String>> = {
            let image = images.borrow_and_update();
            let others = image.nodes().filter(|node| node.id != broker.options.node);
            others.map(|node| (node.id, node.addresses.clone())).collect()
        };
        broker.hosting.host().set_peers(nodes.keys().copied().collect::<BTreeSet<NodeId>>());
        followed.retain(|node, (addresses, following)| {
            let stays = nodes.get(node) == Some(addresses);
            if !stays {
                following.abort();
            }
            if !nodes.contains_key(node) {
                broker.remote.part_with(*node);
                broker.leaders.forget(*node);
            }
            stays
        });
        for (node, addresses) in nodes {
            if followed.contains_key(&node) {
                continue;
            }
            if let Some(address) = addresses.get(PEER_LISTENER) {
                broker.remote.meet(node, address);
            }
            let following = follow_leaders(Arc::clone(&broker), node, addresses.get(CLIENT_LISTENER).cloned());
            followed.insert(node, (addresses, tokio::spawn(following)));
        }
        let changed = tokio::select! {
            () = stopping.cancelled() => false,
            changed = images.changed() => changed.is_ok(),
        };
        if !changed {
            break;
        }
    }
    followed.into_values().for_each(|(_, following)| following.abort());
}

/// Learns what a node leads, over and over.
async fn follow_leaders(broker: Arc<Broker>, node: NodeId, address: Option<String>) {
    let Some(address) = address else { return };
    loop {
        if let Ok(mut updates) = broker.remote.follow_leaders(&address).await {
            while let Some(update) = updates.next().await {
                broker.leaders.told_by(node, &update);
            }
        }
        sleep(REACH_AGAIN_AFTER).await;
    }
}
