//! What other nodes know of described partitions: the leaders about watermarks and who lags, each replica about itself. Every node is
//! asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use highwater_broker::{Broker, BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_proto::v1::describe_topics_result::Result as Described;
use highwater_types::{ErrorCode, NodeId};

use super::forward::{Caller, Effect, Forwarding, answered, with_grace};
use super::status::detail;

/// How long another node may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for one that is only asked about its replica.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node is asked about.
#[derive(Default)]
struct Asked {
    names: BTreeSet<String>,
    /// Whether it is believed to lead some of it.
    leads: bool,
}

/// What a node said: its partitions by topic and number, or why it did not.
type Told = Result<BTreeMap<(String, u32), v1::PartitionDescription>, BrokerError>;

/// Puts in what only the leaders know, epoch, watermarks and who lags, or why that is not known; and what each replica says of itself.
pub(crate) async fn fill(broker: &Broker, forwarding: &Forwarding, results: &mut [v1::DescribeTopicsResult]) {
    let mut names: BTreeMap<(u64, String), Asked> = BTreeMap::new();
    for topic in topics(results) {
        for partition in &topic.partitions {
            if let Some(leader) = led_elsewhere(partition) {
                let asked = names.entry((leader.node_id, leader.address.clone())).or_default();
                asked.leads = true;
                asked.names.insert(topic.name.clone());
            }
            let others =
                partition.replicas.iter().filter_map(|replica| broker.reachable_node(NodeId(replica.node_id)));
            for other in others {
                names.entry((other.node.0, other.address)).or_default().names.insert(topic.name.clone());
            }
        }
    }
    if names.is_empty() {
        return;
    }
    let asked = names.into_iter().map(|((node, address), asked)| async move {
        let node = LeaderHint { node: NodeId(node), address };
        let told = ask(forwarding, &node, asked).await;
        ((node.node.0, node.address), told)
    });
    let told: BTreeMap<(u64, String), Told> = join_all(asked).await.into_iter().collect();
    for topic in topics(results) {
        for partition in &mut topic.partitions {
            if let Some(leader) = led_elsewhere(partition)
                && let Some(told) = told.get(&(leader.node_id, leader.address.clone()))
            {
                take_over(partition, &topic.name, told);
            }
            for ((node, _), told) in &told {
                let told =
                    told.as_ref().ok().and_then(|told| told.get(&(topic.name.clone(), partition.partition)));
                if let Some(told) = told {
                    take_own(partition, *node, told);
                }
            }
        }
    }
}

/// Puts in what a node says of its own replica.
fn take_own(partition: &mut v1::PartitionDescription, node: u64, told: &v1::PartitionDescription) {
    let own = |replica: &&v1::ReplicaDescription| replica.node_id == node;
    let Some(own) = told.replicas.iter().find(own) else { return };
    if let Some(replica) = partition.replicas.iter_mut().find(|replica| replica.node_id == node) {
        replica.high_watermark = own.high_watermark;
        replica.quarantine_reason.clone_from(&own.quarantine_reason);
        replica.quarantined_ranges.clone_from(&own.quarantined_ranges);
    }
}

fn topics(results: &mut [v1::DescribeTopicsResult]) -> impl Iterator<Item = &mut v1::TopicDescription> {
    results.iter_mut().filter_map(|result| match &mut result.result {
        Some(Described::Topic(topic)) => Some(topic),
        _ => None,
    })
}

fn led_elsewhere(partition: &v1::PartitionDescription) -> Option<&v1::LeaderHint> {
    let error = partition.error.as_ref()?;
    error.leader.as_ref().filter(|_| error.error_code() == Some(ErrorCode::NotLeader))
}

fn take_over(partition: &mut v1::PartitionDescription, topic: &str, told: &Told) {
    match told {
        // A leader that knows its watermarks, or says what is wrong with it or who leads instead.
        Ok(told) => {
            if let Some(told) = told.get(&(topic.to_owned(), partition.partition)) {
                partition.leader_node_id = told.leader_node_id;
                partition.leader_epoch = told.leader_epoch;
                partition.offsets = told.offsets;
                take_members(partition, told);
                partition.error = told.error.clone();
            }
        }
        Err(error) => {
            let index = highwater_types::PartitionIndex(partition.partition);
            partition.error = Some(detail(error.clone().with_topic(topic).with_partition(index)));
        }
    }
}

/// Puts in what a leader says of all replicas. How long ago a node was heard of is this node's own knowledge.
fn take_members(partition: &mut v1::PartitionDescription, told: &v1::PartitionDescription) {
    let seen: BTreeMap<u64, Option<u64>> =
        partition.replicas.iter().map(|replica| (replica.node_id, replica.last_seen_ms)).collect();
    if !told.replicas.iter().any(|replica| replica.is_leader) {
        return;
    }
    partition.replicas.clone_from(&told.replicas);
    for replica in &mut partition.replicas {
        replica.last_seen_ms = seen.get(&replica.node_id).copied().unwrap_or(replica.last_seen_ms);
    }
}

async fn ask(forwarding: &Forwarding, leader: &LeaderHint, asked: Asked) -> Told {
    let deadline = if asked.leads { FORWARD_TIMEOUT } else { REPLICA_TIMEOUT };
    let Caller { mut client, slot: _slot } = forwarding.admin(leader)?;
    let request = v1::DescribeTopicsRequest {
        names: asked.names.into_iter().collect(),
        include_offsets: true,
        ..v1::DescribeTopicsRequest::default()
    };
    let call = client.describe_topics(forwarding.request(request));
    let answer = answered(leader, Effect::None, with_grace(deadline), call).await?;
    let topics = answer.results.into_iter().filter_map(|result| match result.result {
        Some(Described::Topic(topic)) => Some(topic),
        _ => None,
    });
    Ok(topics
        .flat_map(|topic| {
            let name = topic.name;
            topic.partitions.into_iter().map(move |partition| ((name.clone(), partition.partition), partition))
        })
        .collect())
}
