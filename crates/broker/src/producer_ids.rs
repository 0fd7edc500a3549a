//! Ids for idempotent producers, out of blocks that metadata entries hand to this node.
//!
//! Invariant: no id is given out twice in the cluster, whatever crashes: a block is committed
//! before its first id is given out, and what is left of it after a restart is never used.

use highwater_controller::{MetadataCommand, Outcome};
use highwater_types::limits::PRODUCER_ID_BLOCK;
use highwater_types::{ErrorCode, ProducerEpoch, ProducerId};
use tokio::sync::Mutex;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::request::ProducerIdentity;

/// What is left of the current block.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    left: Mutex<std::ops::Range<i64>>,
}

impl Broker {
    /// Gives out a producer id that was never given out before, with epoch 0. Cancel-safe: a
    /// block may be lost to a cancelled call, never given out twice.
    ///
    /// # Errors
    /// Why no block could be had.
    pub async fn init_producer(&self) -> Result<ProducerIdentity, BrokerError> {
        let mut left = self.producer_ids.left.lock().await;
        if left.is_empty() {
            let allocate = MetadataCommand::AllocateProducerIds { count: PRODUCER_ID_BLOCK };
            let response = self.propose(&allocate).await?;
            let Outcome::ProducerIds { first, count } = response.outcome else {
                let message = "the cluster's metadata gave no producer ids";
                return Err(BrokerError::new(ErrorCode::Internal, message));
            };
            *left = first.0..first.0.saturating_add(count);
        }
        let id = ProducerId(left.start);
        left.start += 1;
        Ok(ProducerIdentity { id, epoch: ProducerEpoch(0) })
    }
}
