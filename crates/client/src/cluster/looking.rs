//! Looks for leaders: asks one server after another about the topics that somebody misses a leader of. One look at a time,
//! whoever wants it, and between two of them a short wait, since an election takes its time.
//!
//! The task of it runs only while something is wanted. Whoever still misses a leader after a look wants the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::{DescribeClusterRequest, DescribeTopicsRequest};
use tokio::time::Instant;

use crate::cluster::{Cluster, jittered};
use crate::connections::Server;
use crate::error::ClientError;

/// How long the first server may take to answer a look; the time doubles while none does.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// After so many looks in a row it is no election that is waited for: they become rarer.
const QUICK_LOOKS: u32 = 100;
/// Most topics in one look.
const TOPICS_MAX: usize = 100;

/// What is wanted.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    wanted: BTreeSet<Arc<str>>,
    is_running: bool,
    last: Option<Instant>,
    /// Looks that followed one another without a pause.
    in_a_row: u32,
    /// Looks without an answer since the last one that had one.
    unanswered: u32,
}

impl Cluster {
    /// The leaders of a topic's partitions are to be looked for. Returns at once; [`Cluster::changes`] tells when that
    /// was done, whatever came of it.
    pub(crate) fn look_again(self: &Arc<Self>, topic: &Arc<str>) {
        let mut looking = self.looking.lock();
        if !looking.wanted.contains(topic) {
            looking.wanted.insert(Arc::clone(topic));
        }
        if !looking.is_running {
            looking.is_running = true;
            let cluster = Arc::clone(self);
            tokio::spawn(async move { cluster.look_while_wanted().await });
        }
    }

    async fn look_while_wanted(self: Arc<Self>) {
        while let Some(not_before) = self.next_look() {
            tokio::time::sleep_until(not_before).await;
            let (names, unanswered) = self.take_wanted();
            let timeout = LOOK_TIMEOUT.saturating_mul(1 << unanswered.min(5)).min(self.config.request_timeout);
            let outcome = self.look(names, timeout).await;
            if let Err(error) = &outcome {
                tracing::debug!(%error, "a look for leaders had no answer");
            }
            // The next one asks another: this one may not have heard of the new leader yet.
            self.connections.rotate();
            {
                let mut looking = self.looking.lock();
                looking.unanswered = if outcome.is_ok() { 0 } else { unanswered.saturating_add(1) };
                looking.last = Some(Instant::now());
            }
            self.announce();
            // Whoever is woken by that has its turn before it counts as content.
            tokio::task::yield_now().await;
        }
    }

    /// When the next look is due. `None` ends the task: nothing is wanted.
    fn next_look(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut looking = self.looking.lock();
        if looking.wanted.is_empty() {
            looking.is_running = false;
            return None;
        }
        let quiet = self.config.leader_retry.max(self.config.backoff_max).saturating_mul(2);
        let Some(last) = looking.last.filter(|last| now < *last + quiet) else {
            looking.in_a_row = 0;
            return Some(now);
        };
        looking.in_a_row = looking.in_a_row.saturating_add(1);
        let is_quick = looking.in_a_row <= QUICK_LOOKS;
        let wait = if is_quick { self.config.leader_retry } else { self.config.backoff_max };
        Some(last + jittered(wait, &self.config))
    }

    fn take_wanted(&self) -> (Vec<String>, u32) {
        let mut looking = self.looking.lock();
        let mut names = Vec::new();
        while names.len() < TOPICS_MAX
            && let Some(name) = looking.wanted.pop_first()
        {
            names.push(name.to_string());
        }
        (names, looking.unanswered)
    }

    async fn look(&self, names: Vec<String>, timeout: Duration) -> Result<(), ClientError> {
        let address = self.connections.current();
        let nodes = |server: Server| async move {
            server.admin().describe_cluster(DescribeClusterRequest::default()).await
        };
        let topics = |server: Server| {
            let request = DescribeTopicsRequest { names: names.clone(), ..Default::default() };
            async move { server.admin().describe_topics(request).await }
        };
        let (nodes, topics) = tokio::join!(
            self.connections.call_at(&address, timeout, nodes),
            self.connections.call_at(&address, timeout, topics)
        );
        if let Ok(nodes) = nodes
            && nodes.metadata_version >= self.metadata_version_min()
        {
            self.take_nodes(&nodes);
        }
        let topics = topics?;
        if topics.metadata_version >= self.metadata_version_min() {
            self.saw_metadata_version(topics.metadata_version);
            self.take_topics(&topics);
        }
        Ok(())
    }
}
