//! Figures about the consumer groups that this node coordinates.

use std::fmt::Write as _;

use crate::grpc::groups::lags::{GroupFigures, GroupLag};

/// Most series about lag: beyond that the partitions are not told apart any more.
const LAGS_MAX: usize = 10_000;

/// How many members each group has and how far it is behind. With too many partitions for one page, the latter by topic.
pub(super) fn render(figures: &GroupFigures) -> String {
    let mut text = String::new();
    let name = "highwater_group_members";
    head(&mut text, name, "Members of a consumer group that this node coordinates.");
    for (group, members) in &figures.members {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}{{group=\"{}\"}} {members}", escaped(group));
    }
    let what = "Records that exist and that a consumer group, which this node coordinates, has not committed.";
    if figures.lags.len() <= LAGS_MAX {
        let name = "highwater_group_lag_records";
        head(&mut text, name, what);
        for GroupLag { group, topic, partition, lag } in &figures.lags {
            let group = escaped(group);
            let _ =
                writeln!(text, "{name}{{group=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"}} {lag}");
        }
    }
    let name = "highwater_group_topic_lag_records";
    head(&mut text, name, &format!("{what} By topic."));
    for topic in figures.lags.chunk_by(|a, b| (&a.group, &a.topic) == (&b.group, &b.topic)) {
        let lag: u64 = topic.iter().map(|partition| partition.lag).sum();
        let GroupLag { group, topic, .. } = &topic[0];
        let _ = writeln!(text, "{name}{{group=\"{}\",topic=\"{topic}\"}} {lag}", escaped(group));
    }
    text
}

fn head(text: &mut String, name: &str, what: &str) {
    let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge");
}

/// A label's value: the name of a group may have any character.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(group: &str, topic: &str, partition: u32, lag: u64) -> GroupLag {
        GroupLag { group: group.to_owned(), topic: topic.to_owned(), partition, lag }
    }

    #[test]
    fn lag_is_told_by_partition_and_by_topic_and_any_name_of_a_group_is_a_label() {
        let figures = GroupFigures {
            members: vec![("a \"b\"\n\\".to_owned(), 2)],
            lags: vec![lag("g", "clicks", 0, 1), lag("g", "orders", 0, 3), lag("g", "orders", 1, 4)],
        };
        let text = render(&figures);
        assert!(text.contains("highwater_group_members{group=\"a \\\"b\\\"\\n\\\\\"} 2\n"), "{text}");
        assert!(text.contains("_lag_records{group=\"g\",topic=\"orders\",partition=\"1\"} 4\n"), "{text}");
        assert!(text.contains("_topic_lag_records{group=\"g\",topic=\"orders\"} 7\n"), "{text}");
        assert!(text.contains("_topic_lag_records{group=\"g\",topic=\"clicks\"} 1\n"), "{text}");
    }

    #[test]
    fn too_many_partitions_are_told_of_by_topic_only() {
        let lags = (0..=10_000).map(|partition| lag("g", "orders", partition, 1)).collect();
        let text = render(&GroupFigures { members: Vec::new(), lags });
        assert!(text.contains("_topic_lag_records{group=\"g\",topic=\"orders\"} 10001\n"));
        assert!(!text.contains("partition="));
    }
}
