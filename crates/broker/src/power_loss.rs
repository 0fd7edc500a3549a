//! What is said of `durability=memory` after a power cut: its batches were acknowledged before they were
//! on the disk, so the newest may be gone. On a node that is the only replica their offsets are given to other records then,
//! under a new leader epoch. Of several replicas one that lost them catches up from the others, which consensus sees to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use highwater_consensus::Group;
use highwater_types::{Durability, Offset, PartitionId, PartitionIndex};

use crate::broker::Broker;

/// Most partitions that a warning names; a topic may have thousands.
const PARTITIONS_NAMED_MAX: usize = 32;

impl Broker {
    /// Warns of each topic with `durability=memory`, saying where the logs of partitions without another replica go on, and how many
    /// others wait for their fellow replicas. For a node that was started after the machine went down. A partition may have lost all of its
    /// records, so empty ones are named too.
    pub fn warn_of_power_loss(&self) {
        let image = self.image();
        let groups: BTreeMap<PartitionId, Group> = self.hosting.groups().into_iter().collect();
        for topic in image.topics().filter(|topic| topic.config.durability == Durability::Memory) {
            let ids = (0..topic.partition_count()).map(PartitionIndex);
            let held: Vec<(PartitionIndex, &Group)> = ids
                .filter_map(|index| Some((index, groups.get(&PartitionId { topic: topic.id, index })?)))
                .collect();
            let in_doubt = held.iter().filter(|(_, group)| group.is_in_doubt()).count();
            let is_alone = |group: &Group| group.status().voters.iter().all(|voters| voters.len() == 1);
            let ends: Vec<_> = held
                .iter()
                .filter(|(_, group)| is_alone(group))
                .map(|(index, group)| (*index, group.log().watermarks().high_watermark()))
                .collect();
            let name = topic.name.as_str();
            if !ends.is_empty() {
                tracing::warn!(
                    topic = name,
                    "the machine went down and '{name}' has durability=memory: records acknowledged shortly before may be gone; in a new epoch the log continues at {}",
                    render(&ends)
                );
            }
            if in_doubt > 0 {
                tracing::warn!(
                    topic = name,
                    in_doubt,
                    "the machine went down and '{name}' has durability=memory: its replicas here take part again when they have caught up with those of other nodes"
                );
            }
        }
    }
}

fn render(ends: &[(PartitionIndex, Offset)]) -> String {
    let mut text = String::new();
    for (place, (index, end)) in ends.iter().take(PARTITIONS_NAMED_MAX).enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}offset {end} (partition {index})");
    }
    let unnamed = ends.len().saturating_sub(PARTITIONS_NAMED_MAX);
    if unnamed > 0 {
        let _ = write!(text, " and {unnamed} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_is_named_with_its_end_and_thousands_are_cut_short() {
        let ends =
            |count| (0..count).map(|n| (PartitionIndex(n), Offset(i64::from(n) * 10))).collect::<Vec<_>>();
        assert_eq!(render(&ends(2)), "offset 0 (partition 0), offset 10 (partition 1)");
        assert!(render(&ends(5000)).ends_with(" and 4968 more"));
    }
}
