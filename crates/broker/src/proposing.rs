//! Changing the cluster's metadata from any node: the command goes to the node that leads the metadata group, and the
//! answer comes back when this node shows the change.

use std::time::Duration;

use bytes::Bytes;
use highwater_controller::{MetadataCommand, MetadataResponse};
use highwater_types::{ClusterId, ErrorCode, limits};
use tokio::time::{sleep, timeout};

use crate::broker::{Broker, CLIENT_LISTENER, stopping};
use crate::error::{BrokerError, LeaderHint};
use crate::remote::RemoteProposed;

/// How long a proposal may take.
const DEADLINE: Duration = Duration::from_millis(limits::ADMIN_TIMEOUT_MS);
/// How long a proposal rests before it is sent again, when nobody leads or was reached.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Broker {
    /// Commits a metadata command within the deadline for admin requests. On return this node's image shows its effect.
    ///
    /// A command may be proposed more than once on the way, which changes nothing for any command but that which hands out
    /// producer ids.
    pub(crate) async fn propose(&self, command: &MetadataCommand) -> Result<MetadataResponse, BrokerError> {
        self.propose_until_shown(command, Some(DEADLINE)).await
    }

    /// The same of a command that takes this node out of the cluster: on return it is decided. That this node shows it is not waited
    /// for, for it hears nothing of the metadata from then on.
    pub(crate) async fn propose_last(
        &self,
        command: &MetadataCommand,
    ) -> Result<MetadataResponse, BrokerError> {
        self.propose_until_shown(command, None).await
    }

    /// The same; what was decided and is not shown here so long after that is proposed again. None does not wait for that.
    pub(crate) async fn propose_until_shown(
        &self,
        command: &MetadataCommand,
        shown_within: Option<Duration>,
    ) -> Result<MetadataResponse, BrokerError> {
        let mut last = None;
        let proposed = timeout(DEADLINE, self.propose_until_answered(command, shown_within, &mut last));
        proposed.await.unwrap_or_else(|_| {
            let ms = limits::ADMIN_TIMEOUT_MS;
            let why = last.map(|error: BrokerError| format!(" ({error})")).unwrap_or_default();
            let message = format!(
                "the cluster's metadata did not answer within {ms} ms{why}; the change may yet take place"
            );
            Err(BrokerError::new(ErrorCode::Timeout, message))
        })
    }

    async fn propose_until_answered(
        &self,
        command: &MetadataCommand,
        shown_within: Option<Duration>,
        last: &mut Option<BrokerError>,
    ) -> Result<MetadataResponse, BrokerError> {
        let encoded = command.encode();
        let mut hint = None;
        let mut attempt = 0;
        loop {
            let error = match self.propose_once(&encoded, shown_within, hint.take(), attempt).await {
                Err(error) if self.is_tried_again(&error) => error,
                outcome => return outcome,
            };
            attempt += 1;
            hint = error.leader.clone();
            let rests = hint.is_none();
            *last = Some(error);
            if rests {
                tokio::select! {
                    () = self.stopping.cancelled() => return Err(stopping()),
                    () = sleep(TRY_AGAIN_AFTER) => {}
                }
            }
        }
    }

    /// Whether the command did not reach a leader that could decide, so that another attempt may.
    fn is_tried_again(&self, error: &BrokerError) -> bool {
        let never_decided = matches!(
            error.code,
            ErrorCode::NotLeader | ErrorCode::LeaderNotAvailable | ErrorCode::Unavailable | ErrorCode::Timeout
        );
        never_decided && !self.stopping.is_cancelled()
    }

    async fn propose_once(
        &self,
        command: &Bytes,
        shown_within: Option<Duration>,
        hint: Option<LeaderHint>,
        attempt: usize,
    ) -> Result<MetadataResponse, BrokerError> {
        let status = self.metadata_group.status();
        if status.is_leader || status.quarantined.is_some() {
            let proposed = self.metadata.propose(&self.metadata_group, command.clone()).await?;
            return self.metadata.read_response(&proposed);
        }
        let image = self.image();
        let led_by = || {
            let leader = image.node(status.leader?)?;
            leader.addresses.get(CLIENT_LISTENER).cloned()
        };
        let address = hint.map(|hint| hint.address).or_else(led_by).or_else(|| self.some_other_node(attempt));
        let Some(address) = address else {
            let message = "nobody leads the cluster's metadata now";
            return Err(BrokerError::new(ErrorCode::LeaderNotAvailable, message));
        };
        let proposed = self.remote.propose(&address, self.options.cluster, command.clone()).await?;
        // A refusal changed nothing that this node would have to show, and one that was removed never will.
        let response = self
            .metadata
            .read_response(&proposed.response)
            .map_err(|refusal| refusal.with_metadata_version(proposed.metadata_version))?;
        let Some(shown_within) = shown_within else { return Ok(response) };
        let mut images = self.metadata.watch();
        let shown = images.wait_for(|image| image.version().0 >= proposed.metadata_version);
        // The sender lives as long as this broker. A node that stops may hear nothing any more, and is not to be held up by that.
        let is_shown = tokio::select! {
            biased;
            shown = timeout(shown_within, shown) => shown.is_ok(),
            () = self.stopping.cancelled() => false,
        };
        if !is_shown {
            let message = format!("it was decided at {address}, and this node has not heard of that yet");
            return Err(BrokerError::new(ErrorCode::Unavailable, message));
        }
        Ok(response)
    }

    /// The addresses of other nodes in turn, for one that may know who leads.
    fn some_other_node(&self, attempt: usize) -> Option<String> {
        let image = self.image();
        let known = image.nodes().filter(|node| node.id != self.options.node);
        let addresses: Vec<String> = known
            .filter_map(|node| node.addresses.get(CLIENT_LISTENER).cloned())
            .chain(self.options.seeds.iter().cloned())
            .collect();
        addresses.get(attempt % addresses.len().max(1)).cloned()
    }

    /// Handles a command that another node sends here, because this node leads the metadata group.
    ///
    /// # Errors
    /// `NOT_LEADER` when it does not, with a hint; or the sender belongs to another cluster.
    pub async fn receive_proposal(
        &self,
        cluster: ClusterId,
        command: Bytes,
    ) -> Result<RemoteProposed, BrokerError> {
        self.lead_metadata_for(cluster)?;
        let response = self.metadata.propose(&self.metadata_group, command).await?;
        Ok(RemoteProposed { response, metadata_version: self.metadata_version() })
    }

    /// That this node leads the metadata of the sender's cluster.
    ///
    /// # Errors
    /// `NOT_LEADER` when it does not, with a hint; or the sender belongs to another cluster.
    pub(crate) fn lead_metadata_for(&self, cluster: ClusterId) -> Result<(), BrokerError> {
        if cluster != self.options.cluster {
            let message = format!(
                "the sender belongs to cluster {cluster}, this node to cluster {}: one of them has the wrong address",
                self.options.cluster
            );
            // It asks elsewhere: another address may be of its cluster.
            return Err(BrokerError::new(ErrorCode::Unavailable, message));
        }
        let status = self.metadata_group.status();
        if !status.is_leader {
            let code = match status.leader {
                Some(_) => ErrorCode::NotLeader,
                None => ErrorCode::LeaderNotAvailable,
            };
            let mut error = BrokerError::new(code, "this node does not lead the cluster's metadata");
            error.leader = status.leader.and_then(|leader| self.hint(leader));
            return Err(error);
        }
        Ok(())
    }
}
