//! A member of a consumer group as it is shown.

use std::collections::BTreeMap;

use highwater_client::{MemberDescription, TopicPartition};
use serde::Serialize;

use crate::output::{Cell, Table, Tone};

/// Of a member's id, as many characters as tell members apart.
const SHORT_ID_CHARS: usize = 8;

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct TopicPartitionsView {
    pub(crate) topic: String,
    /// In ascending order.
    pub(crate) partitions: Vec<u32>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct MemberView {
    pub(crate) member_id: String,
    /// Its place in the group, when that outlives its process.
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) member_epoch: u32,
    /// What it wants to read.
    pub(crate) topics: Vec<String>,
    /// What it owns.
    pub(crate) assignment: Vec<TopicPartitionsView>,
    /// What it is to give up and still has.
    pub(crate) giving_up: Vec<TopicPartitionsView>,
    /// What it is to own in the end.
    pub(crate) target: Vec<TopicPartitionsView>,
    /// Whether it left for a while and its partitions wait for it.
    pub(crate) is_away: bool,
}

impl From<MemberDescription> for MemberView {
    fn from(member: MemberDescription) -> Self {
        Self {
            member_id: member.member_id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            member_epoch: member.member_epoch,
            topics: member.topics,
            assignment: by_topic(&member.assignment),
            giving_up: by_topic(&member.giving_up),
            target: by_topic(&member.target),
            is_away: member.is_away,
        }
    }
}

/// What a member of that id is called among these: by its instance, or by as much of its id as tells it from the others.
pub(super) fn member_name(id: &str, members: &[MemberView]) -> String {
    if let Some(instance) =
        members.iter().find(|member| member.member_id == id).and_then(|member| member.instance_id.clone())
    {
        return instance;
    }
    let short: String = id.chars().take(SHORT_ID_CHARS).collect();
    let alike = members.iter().filter(|member| member.member_id.starts_with(&short)).count();
    if alike > 1 { id.to_owned() } else { short }
}

/// The members, one in a row.
pub(super) fn member_table(members: &[MemberView]) -> Table {
    let headings = ["MEMBER", "CLIENT", "HOST", "OWNS", "GIVES UP", "STATE"];
    let mut table = Table::new(&headings).spare(&["CLIENT", "HOST", "GIVES UP", "STATE"]);
    for member in members {
        let state = if member.is_away { "away for a while" } else { "" };
        let owns = match listed(&member.assignment) {
            nothing if nothing.is_empty() => "nothing".to_owned(),
            owns => owns,
        };
        table.row(vec![
            member_name(&member.member_id, members).into(),
            member.client_id.clone().into(),
            member.client_host.clone().into(),
            owns.into(),
            Cell::toned(listed(&member.giving_up), Some(Tone::Notice)),
            Cell::toned(state, Some(Tone::Notice)),
        ]);
    }
    table
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<TopicPartitionsView> {
    let mut topics: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for of in partitions {
        topics.entry(&of.topic).or_default().push(of.partition.0);
    }
    let topic = |(topic, mut partitions): (&str, Vec<u32>)| {
        partitions.sort_unstable();
        TopicPartitionsView { topic: topic.to_owned(), partitions }
    };
    topics.into_iter().map(topic).collect()
}

/// Partitions for people: `orders 0-3,5; payments 1`.
fn listed(topics: &[TopicPartitionsView]) -> String {
    let topic = |of: &TopicPartitionsView| format!("{} {}", of.topic, runs(&of.partitions));
    topics.iter().map(topic).collect::<Vec<_>>().join("; ")
}

/// Numbers in ascending order, with runs of them as `0-3`.
fn runs(numbers: &[u32]) -> String {
    let run = |run: &[u32]| match run {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(u32::to_string).collect(),
    };
    numbers.chunk_by(|a, b| a + 1 == *b).map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_shown_as_one() {
        for (numbers, expected) in
            [(&[][..], ""), (&[3], "3"), (&[0, 1], "0-1"), (&[0, 1, 2, 5, 7, 8], "0-2,5,7-8")]
        {
            assert_eq!(runs(numbers), expected);
        }
    }
}
