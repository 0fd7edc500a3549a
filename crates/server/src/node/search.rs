//! How a node without data looks for its cluster among the nodes that its configuration names.
//!
//! A node that is to found the cluster looks too, for its disk may have been emptied since it did. Invariant: it founds only when each
//! of them has said, in one round, that it belongs to no cluster. One that is away may be the one that knows better.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_proto::internal::v1;
use highwater_types::ClusterId;
use tokio::time::sleep;

use crate::config::NodeConfig;
use crate::remote::{Channels, identify};

/// How long until they are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Every how many times the log says so.
const SAY_AGAIN: u32 = 20;

/// See the module.
pub(super) struct Search<'a> {
    pub(super) config: &'a NodeConfig,
    pub(super) channels: &'a Channels,
}

/// What one of the others says.
enum Said {
    /// It belongs to a cluster, and knows what that is.
    Belongs(ClusterId),
    /// It belongs to none.
    Free,
    /// Nothing that can be gone by.
    Nothing(String),
}

impl Search<'_> {
    /// Asks again and again, for as long as it takes. The cluster to join; none when this node is to found it.
    pub(super) async fn run(&self) -> Option<ClusterId> {
        let addresses = self.config.addresses_to_join();
        if addresses.is_empty() {
            // Only an order can tell.
            return std::future::pending().await;
        }
        let mut attempt = 0_u32;
        loop {
            let is_said = attempt.is_multiple_of(SAY_AGAIN);
            let asked = addresses.iter().map(|address| async move { (address, self.ask(address).await) });
            let mut answers: FuturesUnordered<_> = asked.collect();
            let mut free = 0;
            while let Some((address, said)) = answers.next().await {
                match said {
                    Said::Belongs(cluster) => {
                        tracing::info!(%cluster, address, "joining a cluster");
                        return Some(cluster);
                    }
                    Said::Free => {
                        free += 1;
                        if is_said {
                            tracing::info!(address, "a node of the configuration is in no cluster yet itself");
                        }
                    }
                    Said::Nothing(reason) if is_said => {
                        tracing::info!(address, reason, "waiting for a node of the cluster");
                    }
                    Said::Nothing(_) => {}
                }
            }
            if self.config.founds() && free == addresses.len() {
                tracing::info!(
                    "every other node of the configuration is as new as this one, which founds the cluster"
                );
                return None;
            }
            attempt = attempt.wrapping_add(1);
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask(&self, address: &str) -> Said {
        let answer = match identify(self.channels, address).await {
            Ok(answer) => answer,
            Err(error) => return Said::Nothing(error.to_string()),
        };
        let node = answer.node_id;
        match answer.state() {
            // This node itself too, should it be among them.
            v1::NodeState::Unborn => Said::Free,
            v1::NodeState::Member => match answer.cluster_id.parse() {
                Ok(cluster) => Said::Belongs(cluster),
                Err(_) => Said::Nothing(format!(
                    "node {node} says that its cluster is '{}', which is no id of a cluster",
                    answer.cluster_id
                )),
            },
            v1::NodeState::Awaiting => Said::Nothing(format!(
                "node {node} is to be part of cluster {} and was not taken in yet; if no node of that is left, empty its directory",
                answer.cluster_id
            )),
            v1::NodeState::Opening | v1::NodeState::Unspecified => {
                Said::Nothing(format!("node {node} is starting"))
            }
        }
    }
}
