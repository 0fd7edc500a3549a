//! How a node without data gets its cluster: a node of its configuration that belongs to one tells it, or an order does, whichever
//! comes first. What it must never do is to begin a cluster that nobody asked it to begin.

use std::sync::Arc;
use std::time::Duration;

use highwater_storage::directory::DirectoryOptions;
use highwater_types::ClusterId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::config::NodeConfig;
use crate::http::{Health, Readiness};
use crate::introduction::{Introduction, Order, Ordered, Stage};
use crate::remote::{Channels, identify};

/// How long until the seeds are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Every how many times the log says so.
const SAY_AGAIN: u32 = 20;

/// What others see of a node's start, and where orders to it arrive.
pub(super) struct Entrance {
    introduction: Arc<Introduction>,
    readiness: Readiness,
    orders: mpsc::Receiver<Ordered>,
}

/// What a directory is to be born as.
pub(super) struct Birth {
    pub(super) options: DirectoryOptions,
    /// Whom to tell when it was.
    pub(super) ordered: Option<oneshot::Sender<()>>,
}

impl Entrance {
    pub(super) fn new(
        introduction: Arc<Introduction>,
        readiness: Readiness,
        orders: mpsc::Receiver<Ordered>,
    ) -> Self {
        Self { introduction, readiness, orders }
    }

    /// What is said of the node.
    pub(super) fn introduction(&self) -> Arc<Introduction> {
        Arc::clone(&self.introduction)
    }

    /// The node has come further, and who asks is told so.
    pub(super) fn reach(&mut self, stage: Stage) {
        self.introduction.reach(stage);
        if matches!(stage, Stage::Born { .. }) {
            // Whoever waits with another order looks again.
            self.orders.close();
            while self.orders.try_recv().is_ok() {}
        }
        let is_waiting = matches!(stage, Stage::Unborn | Stage::Born { is_member: false, founder: false, .. });
        let waiting = is_waiting.then(|| Health::Waiting(self.introduction.why_not_serving()));
        self.readiness.set(waiting.unwrap_or_default());
    }

    /// Waits, for as long as it takes, until somebody says what the node is to be part of. Orders that come later are refused.
    pub(super) async fn wait(&mut self, config: &NodeConfig, channels: &Channels) -> Birth {
        self.reach(Stage::Unborn);
        tracing::info!("{}", self.introduction.why_not_serving());
        let seeds = config.addresses_to_join();
        tokio::select! {
            ordered = self.orders.recv() => match ordered {
                Some(Ordered { order: Order { cluster, founds, ask }, done }) => {
                    tracing::info!(%cluster, founds, "this node was made part of a cluster");
                    let options = DirectoryOptions { founds, ask, ..DirectoryOptions::new(config.node, Some(cluster)) };
                    Birth { options, ordered: Some(done) }
                }
                // The introduction lives as long as this.
                None => std::future::pending().await,
            },
            cluster = find_cluster(&seeds, channels) => {
                Birth { options: DirectoryOptions::new(config.node, Some(cluster)), ordered: None }
            }
        }
    }
}

/// Asks the seeds for as long as none of them belongs to a cluster.
async fn find_cluster(seeds: &[String], channels: &Channels) -> ClusterId {
    if seeds.is_empty() {
        return std::future::pending().await;
    }
    let mut attempt = 0_u32;
    loop {
        for seed in seeds {
            match identify(channels, seed).await {
                Ok(cluster) => {
                    tracing::info!(%cluster, seed, "joining a cluster");
                    return cluster;
                }
                Err(error) if attempt.is_multiple_of(SAY_AGAIN) => {
                    tracing::info!(seed, %error, "waiting for a node of the cluster to join");
                }
                Err(_) => {}
            }
        }
        attempt = attempt.wrapping_add(1);
        sleep(ASK_AGAIN).await;
    }
}
