//! Asks the leaders of some partitions, one call for each node, and follows those that move meanwhile.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use highwater_types::{ErrorCode, PartitionIndex};
use tokio::time::Instant;
use tonic::{Response, Status};

use crate::cluster::Cluster;
use crate::connections::Server;
use crate::error::ClientError;
use crate::topic::TopicMetadata;

/// How long a partition's leader is waited for: elections take less.
const LEADER_WAIT: Duration = Duration::from_secs(10);

/// What partitions answered, in the order in which they were asked.
pub(crate) type Outcomes<R> = Vec<Result<R, ClientError>>;

/// Makes `call` at each leader with what its partitions are asked. A refusal that ends with an election is waited out for a
/// while; so is a connection that breaks if the call `repeats`, that is, may take place twice.
///
/// # Errors
/// What a whole call says, or that a leader cannot be reached.
pub(crate) async fn by_leader<Q: Copy, R, F>(
    cluster: &Arc<Cluster>,
    topic: &TopicMetadata,
    asked: Vec<(PartitionIndex, Q)>,
    repeats: bool,
    call: impl Fn(Server, Vec<Q>) -> F,
) -> Result<Outcomes<R>, ClientError>
where
    F: Future<Output = Result<Response<Outcomes<R>>, Status>>,
{
    let timeout = cluster.config.request_timeout;
    let deadline = Instant::now() + LEADER_WAIT.min(timeout);
    let mut backoff = cluster.config.leader_backoff();
    let mut answered: BTreeMap<usize, Result<R, ClientError>> = BTreeMap::new();
    loop {
        let mut groups: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (index, (partition, _)) in asked.iter().enumerate() {
            if answered.get(&index).is_none_or(|outcome| outcome.as_ref().is_err_and(is_passing)) {
                groups.entry(cluster.best_address(&topic.key(*partition))).or_default().push(index);
            }
        }
        let mut missing = None;
        for (address, indexes) in groups {
            let queries = || indexes.iter().map(|index| asked[*index].1).collect();
            match cluster.connections.call_at(&address, timeout, |server| call(server, queries())).await {
                Ok(results) if results.len() != indexes.len() => {
                    return Err(cluster.protocol("not one result for each partition"));
                }
                Ok(results) => {
                    for (index, result) in indexes.into_iter().zip(results) {
                        if let Err(ClientError::Api(detail)) = &result {
                            cluster.on_refusal(&topic.key(asked[index].0), &address, detail);
                        }
                        answered.insert(index, result);
                    }
                }
                Err(error @ ClientError::Connection { .. }) if repeats => {
                    cluster.look_again(&topic.name);
                    missing = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let is_passing_now = answered.values().any(|outcome| outcome.as_ref().is_err_and(is_passing));
        let retry_at = Instant::now() + backoff.next_wait();
        if (missing.is_none() && !is_passing_now) || retry_at >= deadline {
            return missing.map_or_else(|| Ok(answered.into_values().collect()), Err);
        }
        tokio::time::sleep_until(retry_at).await;
    }
}

/// Whether a refusal is over when a leader serves the partition.
fn is_passing(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::NotLeader | ErrorCode::LeaderNotAvailable | ErrorCode::OffsetNotAvailable)
    )
}
