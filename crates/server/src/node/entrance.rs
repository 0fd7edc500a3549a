//! How a node without data gets its cluster: a node of its configuration that belongs to one tells it, or an order does, whichever
//! comes first; or the configuration says that it begins the cluster, and nobody that it names belongs to one. What it must never do
//! is to begin a cluster that nobody asked it to begin, or a second one.

use std::sync::Arc;

use highwater_storage::directory::DirectoryOptions;
use tokio::sync::{mpsc, oneshot};

use super::search::Search;
use crate::config::NodeConfig;
use crate::http::{Health, Readiness};
use crate::introduction::{Introduction, Order, Ordered, Stage};
use crate::remote::Channels;

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
        let search = Search { config, channels };
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
            cluster = search.run() => {
                Birth { options: DirectoryOptions::new(config.node, cluster), ordered: None }
            }
        }
    }
}
