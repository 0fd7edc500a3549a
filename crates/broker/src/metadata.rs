//! The metadata group as this node runs it: the shell around the pure state machine.
//!
//! It applies what is committed, publishes each image to the node, and proposes
//! commands. It never decides what a command means: [`highwater_controller`] does.
//!
//! Invariant: an image is published before the response to its command is given out, so
//! whoever got an answer finds its effect on this node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_consensus::{ConsensusError, Group, Proposal};
use highwater_controller::{MetadataCommand, MetadataImage, MetadataResponse, MetadataState, codec};
use highwater_storage::{Applied, Applier, Entry, Payload, RestoreError};
use highwater_types::{ErrorCode, limits};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::broker::{Broker, stopping};
use crate::error::BrokerError;

/// The metadata as this node has applied it. Clones share it.
#[derive(Clone)]
pub(crate) struct Metadata {
    state: Arc<Mutex<MetadataState>>,
    images: watch::Sender<MetadataImage>,
    /// The version of the last image with other topics than before.
    topics: watch::Sender<u64>,
}

impl Metadata {
    /// The state before the first entry.
    pub(crate) fn new() -> Self {
        let images = watch::Sender::new(MetadataImage::default());
        Self { state: Arc::default(), images, topics: watch::Sender::new(0) }
    }

    /// What the group's log calls.
    pub(crate) fn applier(&self) -> Box<dyn Applier> {
        Box::new(MetadataApplier { metadata: self.clone() })
    }

    /// The metadata now.
    pub(crate) fn image(&self) -> MetadataImage {
        self.images.borrow().clone()
    }

    /// Sees every later image, or the last of several.
    pub(crate) fn watch(&self) -> watch::Receiver<MetadataImage> {
        self.images.subscribe()
    }

    /// Changes when topics may have.
    pub(crate) fn watch_topics(&self) -> watch::Receiver<u64> {
        self.topics.subscribe()
    }

    /// Shows an image.
    fn publish(&self, image: &MetadataImage) {
        let before = self.images.send_replace(image.clone());
        if !before.shares_topics_with(image) {
            self.topics.send_replace(image.version().0);
        }
    }

    /// Waits until the metadata have this version or a newer one.
    ///
    /// # Errors
    /// `TIMEOUT` when they do not get there within the deadline for admin requests.
    async fn wait_for_version(&self, version: u64) -> Result<(), BrokerError> {
        let mut images = self.watch();
        let deadline = Duration::from_millis(limits::ADMIN_TIMEOUT_MS);
        let reached = images.wait_for(|image| image.version().0 >= version);
        // The sender lives as long as this.
        if timeout(deadline, reached).await.is_ok() {
            return Ok(());
        }
        let (ms, now) = (limits::ADMIN_TIMEOUT_MS, self.images.borrow().version().0);
        let message = format!(
            "this node did not get metadata version {version} within {ms} ms; it has version {now}: try again, or ask another node"
        );
        Err(BrokerError::new(ErrorCode::Timeout, message).with_metadata_version(now))
    }

    /// Whether a command would be accepted now.
    pub(crate) fn check(&self, command: &MetadataCommand) -> Result<(), BrokerError> {
        self.state.lock().check(command).map_err(|error| {
            let refusal = error.refusal();
            BrokerError::new(refusal.code, refusal.message)
        })
    }

    /// Commits an encoded command and returns the encoded answer. On return its effect is in [`Metadata::image`]. Dropping the
    /// future leaves open whether the command is committed.
    pub(crate) async fn propose(&self, group: &Group, command: Bytes) -> Result<Bytes, BrokerError> {
        // What cannot be read must not get into the log: every node would fail to apply it.
        codec::decode_command(&command).map_err(|error| BrokerError::invalid_request(error.to_string()))?;
        let proposed = group.propose(Proposal::Control(command)).await.map_err(|error| translate(&error))?;
        Ok(proposed.response)
    }

    /// What the state machine answered: a refusal is an error.
    pub(crate) fn read_response(&self, response: &[u8]) -> Result<MetadataResponse, BrokerError> {
        match codec::decode_response(response) {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(refusal)) => Err(BrokerError::new(refusal.code, refusal.message)
                .with_metadata_version(self.images.borrow().version().0)),
            Err(error) => Err(BrokerError::new(ErrorCode::Internal, error.to_string())),
        }
    }
}

impl Broker {
    /// Waits until this node shows the metadata of this version or a newer one; 0 is no wait. Cancel-safe.
    ///
    /// # Errors
    /// `TIMEOUT` when it does not get there in time, `UNAVAILABLE` when the node stops.
    pub async fn wait_for_metadata(&self, version: u64) -> Result<(), BrokerError> {
        if version <= self.metadata_version() {
            return Ok(());
        }
        tokio::select! {
            () = self.stopping.cancelled() => Err(stopping()),
            reached = self.metadata.wait_for_version(version) => reached,
        }
    }
}

/// A failure of the metadata group, as a client sees it.
fn translate(error: &ConsensusError) -> BrokerError {
    let code = match error {
        ConsensusError::NotLeader { leader: Some(_) } => ErrorCode::NotLeader,
        ConsensusError::NotLeader { leader: None } => ErrorCode::LeaderNotAvailable,
        ConsensusError::Quarantined { .. } => ErrorCode::Quarantined,
        ConsensusError::Stopped => ErrorCode::Unavailable,
        ConsensusError::Store(error) if error.is_no_space() => ErrorCode::NoSpace,
        ConsensusError::Unknown { .. } | ConsensusError::NoLeader { .. } => ErrorCode::Unavailable,
        _ => ErrorCode::Timeout,
    };
    BrokerError::new(code, format!("the cluster's metadata could not be changed: {error}"))
}

/// The state machine at the end of the metadata group's log.
struct MetadataApplier {
    metadata: Metadata,
}

impl Applier for MetadataApplier {
    /// # Panics
    /// When a committed command is not one that this build knows. Another build has applied it,
    /// so going on without it would let this node's metadata drift from the cluster's.
    fn apply(&mut self, entry: &Entry) -> Applied {
        let Payload::Control(command) = &entry.payload else {
            return Applied::default();
        };
        let mut state = self.metadata.state.lock();
        let (response, delta) = state.apply_encoded(command).unwrap_or_else(|error| {
            panic!("metadata entry {} cannot be applied by this version: {error}", entry.id)
        });
        if delta.from != delta.to {
            self.metadata.publish(state.image());
        }
        Applied { response, log_start: None }
    }

    fn snapshot(&self) -> Bytes {
        self.metadata.state.lock().snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let restored = if snapshot.is_empty() {
            MetadataState::default()
        } else {
            MetadataState::restore(snapshot).map_err(|error| RestoreError(error.to_string()))?
        };
        let mut state = self.metadata.state.lock();
        *state = restored;
        self.metadata.publish(state.image());
        Ok(())
    }
}
