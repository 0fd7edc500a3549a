//! Records, answers and groups as scenarios show them.

use std::collections::BTreeMap;

use highwater_groups::{
    CurrentAssignment, Epoch, Group, GroupChange, GroupHead, GroupRecord, MemberAnswer, MemberDescription,
};
use highwater_types::PartitionId;

use super::topics::Topics;

/// `orders:0-2,4 clicks:0`, or `nothing`.
pub(crate) fn partitions(topics: &Topics, partitions: impl IntoIterator<Item = PartitionId>) -> String {
    let mut by_topic: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for partition in partitions {
        by_topic.entry(topics.label(partition.topic)).or_default().push(partition.index.0);
    }
    let runs = |indexes: &[u32]| {
        let run = |run: &[u32]| match run {
            [one] => one.to_string(),
            run => format!("{}-{}", run[0], run[run.len() - 1]),
        };
        indexes.chunk_by(|a, b| a + 1 == *b).map(run).collect::<Vec<_>>().join(",")
    };
    match by_topic.is_empty() {
        true => "nothing".to_owned(),
        false => {
            let shown: Vec<_> =
                by_topic.iter().map(|(topic, indexes)| format!("{topic}:{}", runs(indexes))).collect();
            shown.join(" ")
        }
    }
}

/// Partitions with the epochs since when they are held: `orders:0-1@1 orders:2@3`.
fn held(topics: &Topics, held: &BTreeMap<PartitionId, Epoch>) -> String {
    let mut by_epoch: BTreeMap<Epoch, Vec<PartitionId>> = BTreeMap::new();
    for (partition, since) in held {
        by_epoch.entry(*since).or_default().push(*partition);
    }
    match by_epoch.is_empty() {
        true => "nothing".to_owned(),
        false => {
            let shown =
                by_epoch.into_iter().map(|(since, held)| format!("{}@{since}", partitions(topics, held)));
            shown.collect::<Vec<_>>().join(" ")
        }
    }
}

pub(crate) fn record(topics: &Topics, record: &GroupRecord) -> String {
    let shown = match &record.change {
        GroupChange::Group(head) => head_line(head),
        GroupChange::Deleted => "deleted".to_owned(),
        GroupChange::Member(description) => member_line(description),
        GroupChange::MemberRemoved(member) => format!("{member} removed"),
        GroupChange::Target { member, partitions: target } => {
            format!("{member} target {}", partitions(topics, target.iter()))
        }
        GroupChange::Assigned(epoch) => format!("assigned {epoch}"),
        GroupChange::Current { member, current } => format!("{member} {}", current_line(topics, current)),
        GroupChange::Offset { partition, offset } => {
            let epoch = offset.leader_epoch.map(|epoch| format!(" leader epoch {epoch}")).unwrap_or_default();
            let (partition, metadata) = (partitions(topics, [*partition]), &offset.metadata);
            format!("offset {partition}={}{epoch} '{metadata}' at {}", offset.offset, offset.committed_at)
        }
        GroupChange::OffsetDeleted(partition) => format!("offset {} deleted", partitions(topics, [*partition])),
        GroupChange::TopicForgotten(topic) => format!("topic {} forgotten", topics.label(*topic)),
    };
    format!("log {} {shown}", record.group)
}

fn head_line(head: &GroupHead) -> String {
    let topics: Vec<_> = head.topics.iter().map(|(name, known)| format!(" {name}={}", known.count)).collect();
    let empty = head.empty_since.map(|since| format!(" empty since {since}")).unwrap_or_default();
    format!("epoch {}{}{empty}", head.epoch, topics.concat())
}

fn member_line(description: &MemberDescription) -> String {
    let names: Vec<_> = description.subscription.names().map(|name| name.as_str()).collect();
    let instance = description.instance.as_ref().map(|id| format!(" instance {id}")).unwrap_or_default();
    let assignor = description.assignor.map(|assignor| format!(" by {assignor}")).unwrap_or_default();
    format!("{} reads {}{instance}{assignor}", description.member, names.join(","))
}

pub(crate) fn current_line(topics: &Topics, current: &CurrentAssignment) -> String {
    let state = format!("{:?}", current.state).to_lowercase();
    let revoking = match current.revoking.is_empty() {
        true => String::new(),
        false => format!(" revoking {}", held(topics, &current.revoking)),
    };
    let (epoch, revision) = (current.epoch, current.revision);
    format!("{state} epoch {epoch} rev {revision} holds {}{revoking}", held(topics, &current.held))
}

pub(crate) fn answer(topics: &Topics, answer: &MemberAnswer) -> String {
    let owns = match &answer.assignment {
        Some(assignment) => format!(" owns {}", partitions(topics, assignment.iter())),
        None => String::new(),
    };
    let gives_up = if answer.is_to_give_up { " and gives up" } else { "" };
    format!("tell epoch {} rev {}{owns}{gives_up}", answer.epoch, answer.revision)
}

pub(crate) fn group(topics: &Topics, group: &Group) -> Vec<String> {
    let phase = format!("{:?}", group.phase()).to_lowercase();
    let mut lines = vec![format!("{phase} epoch {} assigned {}", group.epoch(), group.assignment_epoch())];
    for member in group.members() {
        let target = partitions(topics, member.target.iter());
        let (id, host) = (&member.description.client_id, &member.description.client_host);
        let current = current_line(topics, &member.current);
        lines.push(format!("{} ({id} at {host}) {current} target {target}", member.description.member));
    }
    lines
}
