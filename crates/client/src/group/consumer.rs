//! A member of a group, as an application uses it.

use std::sync::Arc;
use std::time::Duration;

use highwater_types::PartitionId;
use tokio::sync::mpsc;

use crate::cluster::Cluster;
use crate::consumer::StartPosition;
use crate::error::ClientError;
use crate::group::handing_out::HandingOut;
use crate::group::keeper::Keeper;
use crate::group::rebalancing::Rebalancing;
use crate::group::shared::{Inner, Phase, Shared};
use crate::group::{
    GroupBatch, GroupConsumerConfig, GroupRecord, OffsetCommitter, PartitionLag, RebalanceListener,
    TopicPartition,
};
use crate::reader::Reader;

/// How long [`GroupConsumer::close`] takes at most, beside the rebalance timeout.
const CLOSE_MAX: Duration = Duration::from_secs(15);

/// A member of a consumer group: reads the partitions that it is given of some topics, and says how far it has got.
///
/// ```no_run
/// # async fn example(client: highwater_client::Client) -> Result<(), highwater_client::ClientError> {
/// use highwater_client::GroupConsumerConfig;
///
/// let config = GroupConsumerConfig::new("billing", ["orders"]);
/// let mut consumer = client.group_consumer(config, ())?;
/// loop {
///     let order = consumer.next().await?;
///     // Process it. That the next one is asked for says that it is done.
///     drop(order);
/// }
/// # }
/// ```
///
/// Partitions come and go as other members do. Each partition's records come in order, one partition at a time being read by one
/// member. The membership is kept alive in the background, however long the application takes for a record: it is the
/// partitions that go to others that it has [`GroupConsumerConfig::rebalance_timeout`] for.
///
/// # What is promised
///
/// Each record is processed **at least once**, as long as the application asks for the next one, or commits, only when it is done with
/// those before. When a consumer dies
/// - before it processed a record, or between that and the commit: the record is processed (again) by the next owner of the partition;
/// - while the commit is on its way: it may be processed again, and is never left out;
/// - after the commit was answered: it is not processed again. A committed offset is durable on a majority.
///
/// A consumer that is not heard of for the group's session timeout has lost its partitions, and knows it before anyone else has them,
/// as long as its clock runs: it hands out no more of their records, tells [`RebalanceListener::on_lost`], joins again, and what
/// it commits late is refused. A record that it is still processing then may be processed by another at the same time.
///
/// # Its end
///
/// [`GroupConsumer::close`] commits, gives up, and leaves, so that others have the partitions at once. Dropping it begins the same
/// without waiting for it; when the runtime ends before that is done, the session timeout does the rest.
#[derive(Debug)]
pub struct GroupConsumer {
    shared: Arc<Shared>,
    handing_out: HandingOut,
}

impl GroupConsumer {
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        config: GroupConsumerConfig,
        listener: impl RebalanceListener,
    ) -> Result<Self, ClientError> {
        config.check()?;
        let reader_config = config.reader();
        let shared = Arc::new(Shared::new(Arc::clone(&cluster), config));
        let reader = Reader::start(cluster, reader_config, Arc::clone(&shared.set));
        let (fail, failed) = mpsc::channel(1);
        tokio::spawn(Keeper::new(Arc::clone(&shared), fail).run());
        tokio::spawn(Rebalancing::new(Arc::clone(&shared), listener).run());
        tokio::spawn(Arc::clone(&shared).commit_in_background());
        Ok(Self { handing_out: HandingOut::new(Arc::clone(&shared), reader, failed), shared })
    }

    /// The next record of any partition that this member owns. It waits for as long as there is none. Asking says that everything
    /// that was handed out before is processed, unless offsets are committed by hand.
    ///
    /// Cancel-safe: no record is lost when it is dropped, and what it said holds.
    ///
    /// # Errors
    /// One that names a partition ends the reading of that partition until it is sought or assigned again, and the others go on. Any
    /// other one is the end: this consumer cannot be a member of its group.
    pub async fn next(&mut self) -> Result<GroupRecord, ClientError> {
        std::future::poll_fn(|context| self.handing_out.poll_record(context)).await
    }

    /// The next records of one partition, as [`GroupConsumer::next`]: for many small records it is faster.
    ///
    /// Cancel-safe in the same way.
    ///
    /// # Errors
    /// As [`GroupConsumer::next`].
    pub async fn next_batch(&mut self) -> Result<GroupBatch, ClientError> {
        std::future::poll_fn(|context| self.handing_out.poll_batch(context)).await
    }

    /// Says that what was handed out is looked after elsewhere: nothing waits for it.
    pub(crate) fn settle(&mut self) {
        self.shared.settle(&mut self.shared.inner());
    }

    /// Says that all that was handed out is processed, also the last of it, and commits that. On return it is durable on a majority.
    /// It is tried again while the group's coordinator is being replaced, for as long as the client's `request_timeout`.
    ///
    /// When it is dropped, the offsets may or may not be committed, and count as processed.
    ///
    /// # Errors
    /// As [`OffsetCommitter::commit`].
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        self.shared.inner().progress.all_is_done();
        let deadline = tokio::time::Instant::now() + self.shared.cluster.config.request_timeout;
        self.shared.commit_processed(None, deadline).await
    }

    /// Says that all that was handed out is processed, also the last of it, and lets that be committed in the background, now. A failure
    /// is logged, and the next commit makes up for it.
    pub fn commit_soon(&mut self) {
        self.shared.inner().progress.all_is_done();
        self.shared.commit_now.notify_one();
    }

    /// Commits given offsets, from anywhere, as [`crate::RebalanceListener::on_revoked`] can.
    pub fn committer(&self) -> OffsetCommitter {
        OffsetCommitter::new(Arc::clone(&self.shared))
    }

    /// The partitions that this member owns and reads, by topic id and number.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.inner().progress.partitions().values().map(|owned| owned.name()).collect()
    }

    /// How far this member is with each of its partitions, as the cluster told with the last records. Asks nobody.
    pub fn lag(&self) -> Vec<PartitionLag> {
        let mut inner = self.shared.inner();
        let lag = |owned: &crate::group::progress::Owned| {
            let end = owned.high_watermark;
            let lag = owned.position.zip(end).map(|(at, end)| u64::try_from(end.0 - at.0).unwrap_or(0));
            PartitionLag { partition: owned.name(), position: owned.position, high_watermark: end, lag }
        };
        inner.progress.partitions().values().map(lag).collect()
    }

    /// Hands out nothing more of a partition until [`GroupConsumer::resume`], and reads nothing ahead. It stays this member's; when it
    /// goes to another and comes back, it is no longer paused.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ClientError> {
        let mut inner = self.shared.inner();
        let id = owned(&inner, partition)?;
        let reading = inner.progress.stop(id);
        self.shared.unread(reading);
        Ok(())
    }

    /// Goes on with a partition that was paused, where it was.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ClientError> {
        let mut inner = self.shared.inner();
        let id = owned(&inner, partition)?;
        self.shared.read(&mut inner, id);
        Ok(())
    }

    /// Goes on elsewhere with a partition. What is before counts as processed: the next commit says so, also when that is back.
    /// A partition that was paused goes on.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn seek(&mut self, partition: &TopicPartition, to: StartPosition) -> Result<(), ClientError> {
        let mut inner = self.shared.inner();
        let id = owned(&inner, partition)?;
        let reading = inner.progress.seek(id, to);
        self.shared.unread(reading);
        self.shared.read(&mut inner, id);
        Ok(())
    }

    /// Ends the membership in order: commits what was processed, tells the listener that the partitions are revoked, and leaves, so that
    /// others have them at once. The last record that was handed out counts as processed only if that was said: see
    /// [`GroupConsumer::commit`].
    ///
    /// It takes as long as the listener, at most the rebalance timeout and a quarter of a minute. When it is dropped, it goes on in
    /// the background.
    ///
    /// # Errors
    /// What was processed and could not be committed: it is processed again.
    pub async fn close(self) -> Result<(), ClientError> {
        self.end(false).await
    }

    /// As [`GroupConsumer::close`], but the partitions wait for this member's instance to come back, for as long as a session.
    ///
    /// # Errors
    /// As [`GroupConsumer::close`], and when the member has no [`GroupConsumerConfig::instance_id`].
    pub async fn close_for_a_while(self) -> Result<(), ClientError> {
        if self.shared.config.instance_id.is_none() {
            return Err(ClientError::InvalidSetting { name: "instance_id", value: 0, min: 1 });
        }
        self.end(true).await
    }

    async fn end(self, for_a_while: bool) -> Result<(), ClientError> {
        self.shared.close(for_a_while);
        let mut phase = self.shared.phase.subscribe();
        let left = phase.wait_for(|phase| *phase == Phase::Left);
        let wait = self.shared.config.rebalance_timeout.saturating_add(CLOSE_MAX);
        if tokio::time::timeout(wait, left).await.is_err() {
            tracing::warn!(group = self.shared.config.group, "the listener does not end; the session will");
        }
        self.shared.inner().last_commit.clone()
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.shared.close(false);
    }
}

fn owned(inner: &Inner, of: &TopicPartition) -> Result<PartitionId, ClientError> {
    inner
        .progress
        .find(of)
        .ok_or_else(|| ClientError::NotAssigned { topic: of.topic.to_string(), partition: of.partition.0 })
}
