//! The watermarks of described partitions that other nodes lead: each of those nodes is asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use highwater_broker::{BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_proto::v1::describe_topics_result::Result as Described;
use highwater_types::{ErrorCode, NodeId};

use super::forward::{Caller, Effect, Forwarding, answered, with_grace};
use super::status::detail;

/// How long another node may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

/// What a leader said: its partitions by topic and number, or why it did not.
type Told = Result<BTreeMap<(String, u32), v1::PartitionDescription>, BrokerError>;

/// Puts in what only the leaders know: epoch and watermarks, or why they are not known.
pub(crate) async fn fill(forwarding: &Forwarding, results: &mut [v1::DescribeTopicsResult]) {
    let mut names: BTreeMap<(u64, String), BTreeSet<String>> = BTreeMap::new();
    for topic in topics(results) {
        let leaders = topic.partitions.iter().filter_map(led_elsewhere);
        for leader in leaders.map(|leader| (leader.node_id, leader.address.clone())) {
            names.entry(leader).or_default().insert(topic.name.clone());
        }
    }
    if names.is_empty() {
        return;
    }
    let asked = names.into_iter().map(|((node, address), names)| async move {
        let leader = LeaderHint { node: NodeId(node), address };
        let told = ask(forwarding, &leader, names).await;
        ((leader.node.0, leader.address), told)
    });
    let told: BTreeMap<(u64, String), Told> = join_all(asked).await.into_iter().collect();
    for topic in topics(results) {
        for partition in &mut topic.partitions {
            let Some(leader) = led_elsewhere(partition) else { continue };
            if let Some(told) = told.get(&(leader.node_id, leader.address.clone())) {
                take_over(partition, &topic.name, told);
            }
        }
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
                partition.error = told.error.clone();
            }
        }
        Err(error) => {
            let index = highwater_types::PartitionIndex(partition.partition);
            partition.error = Some(detail(error.clone().with_topic(topic).with_partition(index)));
        }
    }
}

async fn ask(forwarding: &Forwarding, leader: &LeaderHint, names: BTreeSet<String>) -> Told {
    let Caller { mut client, slot: _slot } = forwarding.admin(leader)?;
    let request = v1::DescribeTopicsRequest {
        names: names.into_iter().collect(),
        include_offsets: true,
        ..v1::DescribeTopicsRequest::default()
    };
    let call = client.describe_topics(forwarding.request(request));
    let answer = answered(leader, Effect::None, with_grace(FORWARD_TIMEOUT), call).await?;
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
