//! What is said of `durability=memory` after a power cut: its batches were acknowledged before they were
//! on the disk, so the newest may be gone. Their offsets are given to other records then, under a
//! new leader epoch.

use std::fmt::Write as _;

use highwater_types::{Durability, Offset, PartitionId, PartitionIndex};

use crate::broker::Broker;

/// Most partitions that a warning names; a topic may have thousands.
const PARTITIONS_NAMED_MAX: usize = 32;

impl Broker {
    /// Warns of each topic with `durability=memory`, saying where its partitions' logs go on. For a
    /// node that was started after the machine went down. A partition may have lost all of its
    /// records, so empty ones are named too.
    pub fn warn_of_power_loss(&self) {
        let image = self.image();
        for topic in image.topics().filter(|topic| topic.config.durability == Durability::Memory) {
            let ends: Vec<_> = (0..topic.partition_count())
                .map(PartitionIndex)
                .filter_map(|index| {
                    let partition = self.hosting.partition(PartitionId { topic: topic.id, index }).ok()?;
                    Some((index, partition.describe().watermarks.high_watermark()))
                })
                .collect();
            let name = topic.name.as_str();
            tracing::warn!(
                topic = name,
                "the machine went down and '{name}' has durability=memory: records acknowledged shortly before may be gone; in a new epoch the log continues at {}",
                render(&ends)
            );
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
