//! Members of a consumer group: they come, process slowly, commit, hang, leave and crash, and in the end have processed everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_client::{
    Client, ClientError, CommitMode, GroupBatch, GroupConsumerConfig, OffsetCommit, OffsetCommitter,
    RebalanceListener, Revocation, TopicPartition,
};
use highwater_types::Offset;
use tokio::time::{Instant, sleep, timeout};

use super::settle::until_healthy;
use super::{CALL_WITHIN, Phase, Shared};
use crate::chance::Chance;
use crate::history::Place;

/// The group.
const GROUP: &str = "workers";

/// The name of a member's machine, from 0.
pub(crate) fn name_of(number: u32) -> String {
    format!("member{number}")
}

/// What a member owns and has been handed, as both of its tasks see it.
struct Booked {
    shared: Arc<Shared>,
    member: String,
}

impl Booked {
    fn place(partition: &TopicPartition) -> Place {
        Place { topic: partition.topic.to_string(), partition: partition.partition }
    }

    fn gone(&self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|partition| self.shared.group.gone(&self.member, &Self::place(partition)));
    }
}

impl RebalanceListener for Booked {
    async fn on_assigned(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.shared.group.assigned(&self.shared.history, &self.member, &Self::place(partition));
        }
    }

    async fn on_revoked(&mut self, revocation: Revocation<'_>) {
        self.gone(revocation.partitions);
    }

    async fn on_lost(&mut self, partitions: &[TopicPartition]) {
        self.gone(partitions);
    }
}

/// Has the shards of groups created, on all nodes: like a topic, what a node has never seen when another's disk is emptied is lost.
pub(super) async fn prepare(shared: &Shared, client: &Client) {
    let Some(place) = shared.load.places().into_iter().next() else { return };
    let commit = OffsetCommit::new(TopicPartition::new(place.topic, place.partition), Offset::ZERO);
    loop {
        match timeout(CALL_WITHIN, client.admin().commit_offsets("the first", std::slice::from_ref(&commit)))
            .await
        {
            Ok(Ok(outcomes)) if outcomes.iter().all(Result::is_ok) => break,
            Ok(Ok(_)) | Err(_) => shared.trace.note("there are no groups yet"),
            Ok(Err(error)) => shared.trace.note(format_args!("there are no groups yet: {error}")),
        }
        sleep(Duration::from_millis(200)).await;
    }
    until_healthy(shared, client).await;
}

/// One life of the machine of this member after the other: a crash ends it anywhere.
pub(crate) async fn run(shared: Arc<Shared>, number: u32, life: u32) {
    let name = name_of(number);
    let chance = shared.chance(&format!("{name} {life}"));
    let client = shared.client(&format!("{name} {life}"));
    shared.reach(Phase::Load).await;
    for membership in 0.. {
        let member = format!("{name}.{life}.{membership}");
        let stays = Duration::from_millis(chance.within(500..8000));
        match one_membership(&shared, &client, (&member, &chance), stays).await {
            Ok(()) => shared.trace.note(format_args!("{member} has left")),
            Err(error) => {
                shared.trace.note(format_args!("{member} is out: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
        shared.group.ended(&member);
        sleep(Duration::from_millis(chance.below(500))).await;
    }
}

/// Joins, processes for a while, and leaves; once the load is over it stays.
async fn one_membership(
    shared: &Arc<Shared>,
    client: &Client,
    (member, chance): (&str, &Chance),
    stays: Duration,
) -> Result<(), ClientError> {
    let topics = shared.load.topics.keys().cloned().chain(shared.load.churns.then(|| "churn0".to_owned()));
    let commit = match chance.one_in(2) {
        true => CommitMode::ByHand,
        false => CommitMode::OnNext { interval: Duration::from_millis(chance.within(50..1500)) },
    };
    let config = GroupConsumerConfig {
        instance_id: chance.one_in(3).then(|| member.split('.').next().unwrap_or_default().to_owned()),
        rebalance_timeout: Duration::from_millis(chance.within(200..4000)),
        commit,
        ..GroupConsumerConfig::new(GROUP, topics)
    };
    let is_by_hand = commit == CommitMode::ByHand;
    let listener = Booked { shared: Arc::clone(shared), member: member.to_owned() };
    let mut consumer = client.group_consumer(config, listener)?;
    let committer = consumer.committer();
    let until = Instant::now() + stays;
    let mut next: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    while Instant::now() < until || !shared.is_loading() {
        let pause = Duration::from_millis(300);
        match timeout(pause, consumer.next_batch()).await {
            Ok(Ok(batch)) => {
                process(shared, member, chance, &batch).await;
                next.insert(TopicPartition::new(batch.topic, batch.partition), batch.next_offset);
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        if is_by_hand && chance.one_in(3) {
            commit_all(shared, &committer, &mut next).await;
        }
    }
    if is_by_hand {
        commit_all(shared, &committer, &mut next).await;
    }
    consumer.close().await
}

/// Takes its time now and then, also longer than it has to give something up.
async fn process(shared: &Shared, member: &str, chance: &Chance, batch: &GroupBatch) {
    let place = Place { topic: batch.topic.to_string(), partition: batch.partition };
    shared.trace.note(format_args!("{member} is handed {place} up to {}", batch.next_offset));
    for record in &batch.records {
        shared.group.processed(&shared.history, member, &place, record.offset);
    }
    if chance.one_in(20) && shared.is_loading() {
        sleep(Duration::from_millis(chance.below(3000))).await;
    }
}

/// Commits what was processed, partition by partition, and books what was acknowledged.
async fn commit_all(shared: &Shared, committer: &OffsetCommitter, next: &mut BTreeMap<TopicPartition, Offset>) {
    for (partition, offset) in std::mem::take(next) {
        let place = Booked::place(&partition);
        let commit = OffsetCommit::new(partition.clone(), offset);
        match timeout(CALL_WITHIN, committer.commit(&[commit])).await {
            Ok(Ok(())) if shared.group.is_checked(&place) => shared.group.committed(&place, offset),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                shared.trace.note(format_args!("{place} is not committed: {error}"));
                if error.is_retriable() {
                    next.insert(partition, offset);
                }
            }
            Err(_) => {
                shared.trace.note(format_args!("{place} is not committed in time"));
                next.insert(partition, offset);
            }
        }
    }
}

/// Asks for committed offsets now and then: they never go back.
pub(super) async fn probe(shared: Arc<Shared>) {
    let chance = shared.chance("committed");
    let client = shared.client("committed");
    while shared.is_loading() {
        sleep(Duration::from_millis(chance.within(200..1500))).await;
        let places = shared.load.places();
        let known: Vec<Offset> = places.iter().map(|place| shared.group.known(place)).collect();
        let Some(told) = committed(&shared, &client, &places).await else { continue };
        for ((place, known), told) in places.iter().zip(known).zip(told) {
            if told < known {
                shared
                    .history
                    .violation(format!("commit-lost: {place} is told as {told}, {known} was committed"));
            }
            shared.group.committed(place, told);
        }
    }
}

/// Waits until the group has committed everything.
pub(super) async fn settle(shared: &Shared, client: &Client, ends: &BTreeMap<Place, Offset>) {
    let places: Vec<Place> = ends.keys().cloned().collect();
    loop {
        if let Some(told) = committed(shared, client, &places).await {
            let behind = places.iter().zip(told).find(|(place, told)| *told < ends[*place]);
            match behind {
                None => return,
                Some((place, told)) => {
                    shared
                        .trace
                        .note(format_args!("the group is at {told} of {place}, which ends at {}", ends[place]));
                }
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// What is committed of these partitions, if that was told in time.
async fn committed(shared: &Shared, client: &Client, places: &[Place]) -> Option<Vec<Offset>> {
    let partitions: Vec<TopicPartition> =
        places.iter().map(|place| TopicPartition::new(place.topic.as_str(), place.partition)).collect();
    match timeout(CALL_WITHIN, client.admin().fetch_offsets(GROUP, &partitions)).await {
        Ok(Ok(told)) => {
            let failed = told.iter().find_map(|told| told.error.as_ref());
            if let Some(error) = failed {
                shared.trace.note(format_args!("no committed offsets: {error}"));
                return None;
            }
            Some(told.iter().map(|told| told.offset.unwrap_or(Offset::ZERO)).collect())
        }
        Ok(Err(error)) => {
            shared.trace.note(format_args!("no committed offsets: {error}"));
            None
        }
        Err(_) => {
            shared.trace.note("no committed offsets in time");
            None
        }
    }
}
