//! Appending batches.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use highwater_partition::Appended;
use highwater_records::{Batch, RecordsError};
use highwater_types::{ErrorCode, TopicName};

use crate::broker::{Broker, stopping};
use crate::error::BrokerError;
use crate::request::{Produce, ProduceData, Produced};
use crate::routing::explain;

/// A batch that has its place in its partition's order. Resolves when it is committed, has
/// failed, or its deadline has passed. Dropping it does not withdraw the batch.
pub struct PendingProduce {
    outcome: Pin<Box<dyn Future<Output = Result<Produced, BrokerError>> + Send>>,
}

impl Future for PendingProduce {
    type Output = Result<Produced, BrokerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll(context)
    }
}

impl Broker {
    /// Appends a batch and waits until it is committed: durable as the topic's `durability` says,
    /// on a majority, and readable. Dropping the future leaves open whether it is written.
    ///
    /// # Errors
    /// Why it was not written; after `TIMEOUT` that is unknown.
    pub async fn produce(self: &Arc<Self>, request: Produce) -> Result<Produced, BrokerError> {
        self.submit(request).await?.await
    }

    /// Gives a batch its place in its partition's order. A caller that pipelines awaits this
    /// for one batch of a partition before the next, and the outcomes apart. Cancel-safe: what has no
    /// place is not written.
    ///
    /// # Errors
    /// Why it got no place; nothing is written then.
    pub async fn submit(self: &Arc<Self>, request: Produce) -> Result<PendingProduce, BrokerError> {
        if self.stopping.is_cancelled() {
            return Err(stopping());
        }
        let Produce { topic, partition: index, data, deadline } = request;
        let route = self.route(&topic, index)?;
        let about = |error: BrokerError| error.with_topic(&topic.name).with_partition(index);
        if TopicName::is_internal(&route.topic.name) {
            let message = format!("'{}' is the cluster's own topic: clients only read it", topic.name);
            return Err(about(BrokerError::new(ErrorCode::InvalidRequest, message)));
        }
        let (count, enqueued) = match data {
            ProduceData::Batch(bytes) => {
                let batch = Batch::parse(bytes).map_err(|error| about(invalid_batch(&error)))?;
                let count = i64::from(batch.record_count());
                (count, route.partition.enqueue(batch, deadline).await)
            }
            ProduceData::Records(records) => {
                let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
                (count, route.partition.enqueue_records(records, deadline).await)
            }
        };
        let pending = enqueued.map_err(|error| self.explain(&error, &route))?;
        let broker = Arc::clone(self);
        let outcome = Box::pin(async move {
            match pending.outcome().await {
                Ok(appended) => Ok(produced(&appended, count)),
                Err(error) => Err(explain(&broker.image(), &error, &route)),
            }
        });
        Ok(PendingProduce { outcome })
    }
}

fn produced(appended: &Appended, count: i64) -> Produced {
    Produced {
        base_offset: appended.base_offset,
        last_offset: appended.base_offset.plus(count - 1),
        log_append_time: appended.log_append_time,
        log_start: appended.log_start,
    }
}

fn invalid_batch(error: &RecordsError) -> BrokerError {
    BrokerError::new(error.code(), format!("the batch is not valid: {error}"))
}
