//! Calls to the group service: any node answers, and goes to the coordinator itself. So a node that answered is asked again, or the
//! coordinator where it said which node that is; and another one when it cannot be reached or has no way to the coordinator.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::LeaderHint;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Response, Status};

use crate::cluster::Cluster;
use crate::connections::Server;
use crate::error::ClientError;

/// How long one node may take for a call that does not wait for anything.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct GroupCalls {
    cluster: Arc<Cluster>,
    /// The node that answered last.
    preferred: Mutex<Option<Arc<str>>>,
}

impl GroupCalls {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, preferred: Mutex::new(None) }
    }

    /// Makes one call at one node, which may take so long.
    pub(crate) async fn once<T, F>(
        &self,
        timeout: Duration,
        call: impl Fn(Server) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let preferred = self.preferred.lock().clone();
        let address = preferred.unwrap_or_else(|| self.cluster.connections.current());
        let outcome = self.cluster.connections.call_at(&address, timeout, call).await;
        let fails = outcome.as_ref().is_err_and(ClientError::is_retriable);
        if fails {
            // One that is cut off from the coordinator answers too.
            self.cluster.connections.avoid(&address);
        }
        let mut preferred = self.preferred.lock();
        if !fails {
            *preferred = Some(address);
        } else if preferred.as_ref() == Some(&address) {
            *preferred = None;
        }
        drop(preferred);
        if let Err(ClientError::Api(detail)) = &outcome {
            self.go_to(detail.leader.as_ref());
        }
        outcome
    }

    /// The coordinator is there, if anybody said so: what is asked next need not be forwarded.
    pub(crate) fn go_to(&self, coordinator: Option<&LeaderHint>) {
        if let Some(hint) = coordinator.filter(|hint| !hint.address.is_empty()) {
            *self.preferred.lock() = Some(hint.address.as_str().into());
        }
    }

    /// Makes a call until it is answered by something that waiting does not change, or until the deadline. So only calls that may
    /// take place twice. Cancel-safe as far as the call is.
    ///
    /// # Errors
    /// What the last attempt came to.
    pub(crate) async fn until<T, F>(
        &self,
        deadline: Instant,
        call: impl Fn(Server) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut backoff = self.cluster.config.leader_backoff();
        loop {
            let timeout = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT_MAX);
            let outcome = self.once(timeout, &call).await;
            let retry_at = Instant::now() + backoff.next_wait();
            match outcome {
                Err(error) if error.is_retriable() && retry_at < deadline => {
                    tracing::debug!(%error, "a call about a group failed and is made again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep_until(retry_at).await;
        }
    }
}
