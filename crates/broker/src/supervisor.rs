//! What a leader does for its group beside appending: it tells the cluster that a new partition is ready, and brings the group's
//! members to what the metadata wants.
//!
//! The metadata's placement is what is wanted; who is a member is what the group says. Only the leader closes the gap, one safe
//! step at a time, and any later leader goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use highwater_consensus::{Desired, Group, Member, Reconciled};
use highwater_controller::{FeatureLevel, MetadataCommand, MetadataImage, PartitionPhase};
use highwater_types::{NodeId, PartitionId, PartitionIndex, Term, TopicId};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::broker::Broker;
use crate::draining::Drains;

/// How long until the next look at what is not settled yet.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long what happens together is waited for: a node that is gone changes all of its groups.
const SETTLE: Duration = Duration::from_millis(20);
/// How long until the next look when nothing happens.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// How long a change of a group's membership may take before it is looked at afresh.
const STEP_DEADLINE: Duration = Duration::from_secs(10);
/// Groups whose members are changed at one time.
const STEPS_AT_ONCE: usize = 32;

/// What a look at a group found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Settled,
    Unsettled,
}

/// A group that this node leads and serves, and the term.
type Led = (PartitionId, Group, Term);
/// A group that was looked after, as of which version of the metadata and in which term, and what was found.
type Stepped = (PartitionId, (u64, Term), Looked);

/// Looks after the partitions that this node leads, until the broker stops. Steps of groups that stand still take seconds; who leads
/// and what is new is told meanwhile.
pub(crate) async fn supervise_partitions(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    stopping.run_until_cancelled(broker.look_after_partitions()).await;
}

/// Looks after the metadata group while this node leads it, until the broker stops.
pub(crate) async fn supervise_metadata(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    let mut images = broker.metadata.watch();
    let mut status = broker.metadata_group.watch();
    let mut drains = Drains::default();
    loop {
        images.borrow_and_update();
        status.borrow_and_update();
        let look = stopping.run_until_cancelled(broker.look_after_metadata(&mut drains));
        let Some(found) = look.await else { return };
        let pause = pause_after(found);
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = images.changed() => if changed.is_err() { return },
            changed = status.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

impl Broker {
    async fn look_after_partitions(self: &Arc<Self>) {
        let mut images = self.metadata.watch();
        let mut changes = self.hosting.host().changes();
        let mut settled = BTreeMap::new();
        // One task at most; it ends with this.
        let mut steps = JoinSet::new();
        loop {
            images.borrow_and_update();
            changes.borrow_and_update();
            let began = Instant::now();
            let (led, mut found) = self.led();
            let image = self.image();
            let terms: BTreeMap<PartitionId, Term> = led.iter().map(|(id, _, term)| (*id, *term)).collect();
            settled.retain(|id, _| terms.contains_key(id));
            self.leaders.lead(terms);
            self.tell_ready(&image, &led).await;
            let was_stepping = !steps.is_empty();
            if !was_stepping {
                let version = image.version().0;
                let is_open = |(id, group, term): &Led| {
                    settled.get(id) != Some(&(version, *term)) || group.has_rejoining()
                };
                let open = led.into_iter().filter(is_open).collect();
                let broker = Arc::clone(self);
                steps.spawn(async move {
                    let stepped = broker.take_steps(&image, open).await;
                    // Where there is much, the rest of the node has as much of the time as this.
                    sleep(began.elapsed().min(LOOK_AGAIN)).await;
                    stepped
                });
            }
            let took = began.elapsed();
            let mut look_at = Instant::now() + pause_after(found);
            loop {
                tokio::select! {
                    changed = images.changed() => if changed.is_err() { return } else { break },
                    changed = changes.changed() => if changed.is_err() { return } else { break },
                    Some(stepped) = steps.join_next() => {
                        for (id, at, looked) in stepped.expect("a step does not panic, and is not given up alone") {
                            match looked {
                                Looked::Settled => drop(settled.insert(id, at)),
                                Looked::Unsettled => found = Looked::Unsettled,
                            }
                        }
                        // What changed meanwhile was not looked after.
                        let pause = if was_stepping { Duration::ZERO } else { pause_after(found) };
                        look_at = Instant::now() + pause;
                    }
                    () = sleep_until(look_at) => break,
                }
            }
            // Where a look takes long there is much, and the less often it is told the more goes into one word.
            sleep(took.clamp(SETTLE, LOOK_AGAIN)).await;
        }
    }

    /// The groups that this node leads and serves; unsettled when it leads one that it does not serve.
    fn led(&self) -> (Vec<Led>, Looked) {
        let mut all = Looked::Settled;
        let mut led = Vec::new();
        for (id, group) in self.hosting.groups() {
            let status = group.status();
            if status.is_serving {
                led.push((id, group, status.term));
            } else if status.is_leader {
                // No change tells when the others stand by it again.
                all = Looked::Unsettled;
            }
        }
        (led, all)
    }

    /// Takes the next step of each of these groups, as far as there is one.
    async fn take_steps(&self, image: &MetadataImage, open: Vec<Led>) -> Vec<Stepped> {
        let version = image.version().0;
        stream::iter(open)
            .map(|(id, group, term)| async move {
                (id, (version, term), self.look_after(image, id, &group).await)
            })
            .buffer_unordered(STEPS_AT_ONCE)
            .collect()
            .await
    }

    /// Tells the cluster which of its new partitions have a leader.
    async fn tell_ready(&self, image: &MetadataImage, led: &[Led]) {
        let mut ready: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for (id, _, _) in led {
            if image.partition(*id).is_some_and(|partition| partition.phase == PartitionPhase::Creating) {
                ready.entry(id.topic).or_default().push(id.index);
            }
        }
        for (topic, partitions) in ready {
            if let Some(topic) = image.topic(topic) {
                self.mark_ready(topic, partitions).await;
            }
        }
    }

    async fn look_after(&self, image: &MetadataImage, id: PartitionId, group: &Group) -> Looked {
        let Some(record) = image.partition(id) else { return Looked::Settled };
        if record.phase == PartitionPhase::Creating {
            return Looked::Unsettled;
        }
        let voters = record.replicas.iter().filter_map(|node| member(image, *node)).collect();
        if self.step(group, &Desired { voters, learners: BTreeSet::new() }).await == Looked::Unsettled {
            return Looked::Unsettled;
        }
        let Some(moved) = &record.reassignment else { return Looked::Settled };
        let (replicas, since) = (Arc::clone(&record.replicas), moved.since);
        let done = MetadataCommand::ReassignmentDone { partition: id, replicas: replicas.to_vec(), since };
        match self.propose(&done).await {
            Ok(_) => tracing::info!(partition = %id, ?replicas, "the partition's replicas have moved"),
            Err(error) => {
                tracing::warn!(partition = %id, %error, "the cluster was not told that a move is done")
            }
        }
        Looked::Unsettled
    }

    async fn look_after_metadata(&self, drains: &mut Drains) -> Looked {
        let group = &self.metadata_group;
        let status = group.status();
        if !status.is_serving {
            return Looked::Settled;
        }
        let image = self.image();
        self.raise_feature_level(&image).await;
        let current: BTreeSet<NodeId> = status.voters.iter().flatten().copied().collect();
        let is_handing_over = self.hand_over_metadata(&image).await;
        if !group.status().is_leader {
            return Looked::Unsettled;
        }
        let is_unsettled = self.drain_nodes(&self.image(), drains).await || is_handing_over;
        let Some(voters) = self.planned_metadata_voters(&image, &current) else {
            return Looked::Settled;
        };
        let all: BTreeSet<Member> =
            image.nodes().map(|node| Member { node: node.id, incarnation: node.incarnation }).collect();
        let voters: BTreeSet<Member> = voters.into_iter().filter_map(|node| member(&image, node)).collect();
        // Who is not registered yet cannot be a member.
        if voters.is_empty() {
            return Looked::Unsettled;
        }
        let learners = all.difference(&voters).copied().collect();
        match self.step(group, &Desired { voters, learners }).await {
            Looked::Settled if is_unsettled => Looked::Unsettled,
            looked => looked,
        }
    }

    /// Raises the level of features in use to what every node supports.
    async fn raise_feature_level(&self, image: &MetadataImage) {
        let Some(cluster) = image.cluster() else { return };
        let supported = image.nodes().map(|node| node.feature_level_newest).min();
        let Some(level) = supported.map(|level| level.min(FeatureLevel::NEWEST)) else { return };
        if level > cluster.feature_level {
            match self.propose(&MetadataCommand::RaiseFeatureLevel { level }).await {
                Ok(_) => {
                    tracing::info!(%level, "every node supports a newer level of features, which is in use now")
                }
                Err(error) => tracing::warn!(%level, %error, "the level of features could not be raised"),
            }
        }
    }

    /// Takes the next step towards the members wanted. None is taken towards voters of whom no majority is there: begun, it could
    /// neither be finished nor taken back, and the group would stand still.
    async fn step(&self, group: &Group, desired: &Desired) -> Looked {
        let there = desired.voters.iter().filter(|voter| self.is_there(voter.node)).count();
        if there * 2 <= desired.voters.len() {
            tracing::debug!(group = %group.id(), there, "the group's members stay: too few of the new voters are there");
            return Looked::Unsettled;
        }
        match timeout(STEP_DEADLINE, group.reconcile(desired)).await {
            Ok(Ok(Reconciled::Done)) => Looked::Settled,
            Ok(Ok(Reconciled::Stepped)) => Looked::Unsettled,
            Ok(Ok(Reconciled::CatchingUp(lacking))) => {
                tracing::debug!(group = %group.id(), ?lacking, "the group's members wait for those that lack entries");
                Looked::Unsettled
            }
            Ok(Err(error)) => {
                tracing::debug!(group = %group.id(), %error, "the group's members could not be changed yet");
                Looked::Unsettled
            }
            Err(_) => {
                tracing::warn!(group = %group.id(), "changing the group's members takes long");
                Looked::Unsettled
            }
        }
    }
}

fn pause_after(found: Looked) -> Duration {
    if found == Looked::Settled { LOOK_ANYWAY } else { LOOK_AGAIN }
}

fn member(image: &MetadataImage, node: NodeId) -> Option<Member> {
    image.node(node).map(|record| Member { node, incarnation: record.incarnation })
}
