//! What a producer knows about the topics it sends to. It asks the cluster at the first record of a topic, again when
//! that is old, and when an answer showed that it is wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::topic::TopicMetadata;

#[derive(Clone)]
struct Known {
    topic: Arc<TopicMetadata>,
    loaded: Instant,
    generation: u64,
}

/// See the module.
pub(crate) struct Topics {
    cluster: Arc<Cluster>,
    age_max: Duration,
    known: RwLock<HashMap<String, Known>>,
}

impl Topics {
    pub(crate) fn new(cluster: Arc<Cluster>, age_max: Duration) -> Self {
        Self { cluster, age_max, known: RwLock::new(HashMap::new()) }
    }

    /// The topic as it is in this generation, after waiting at most until the deadline for the cluster.
    pub(crate) async fn get(
        &self,
        name: &str,
        generation: u64,
        deadline: Instant,
    ) -> Result<Arc<TopicMetadata>, ClientError> {
        let known = self.known.read().get(name).filter(|known| known.generation == generation).cloned();
        if let Some(known) = &known
            && known.loaded.elapsed() < self.age_max
        {
            return Ok(Arc::clone(&known.topic));
        }
        let mut backoff = self.cluster.config.backoff();
        loop {
            let error = match self.cluster.topic(name).await {
                Ok(topic) => return Ok(self.remember(name, Arc::new(topic), generation)),
                Err(error) => error,
            };
            match &known {
                // What is only old works as long as the cluster cannot say otherwise.
                Some(known) if error.is_retriable() => {
                    return Ok(self.remember(name, Arc::clone(&known.topic), generation));
                }
                _ if !error.is_retriable() => {
                    self.known.write().remove(name);
                    return Err(error);
                }
                _ => {}
            }
            let retry_at = Instant::now() + backoff.next_wait();
            if retry_at >= deadline {
                return Err(error);
            }
            tokio::time::sleep_until(retry_at).await;
        }
    }

    fn remember(&self, name: &str, topic: Arc<TopicMetadata>, generation: u64) -> Arc<TopicMetadata> {
        let known = Known { topic: Arc::clone(&topic), loaded: Instant::now(), generation };
        self.known.write().insert(name.to_owned(), known);
        topic
    }
}
