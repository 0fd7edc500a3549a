//! What an inspection prints.

use highwater_storage::disk::SimDisk;
use highwater_types::{PartitionId, PartitionIndex};

use super::*;

#[test]
fn partitions_are_listed_by_name_whatever_order_the_journal_has() {
    let (apples, pears) = (topic(2), topic(1));
    let group = |topic, index| GroupSummary {
        id: GroupId::Partition(PartitionId { topic, index: PartitionIndex(index) }),
        directory: PathBuf::new(),
        log_start: 0,
        next_offset: 0,
        segments: Vec::new(),
        journal_entries: 1,
        journal_commands: Vec::new(),
        state: Default::default(),
    };
    let groups = vec![group(pears, 3), group(pears, 0), group(apples, 10), group(apples, 9)];
    let view = View {
        names: [(apples, "apples".to_owned()), (pears, "pears".to_owned())].into(),
        in_use: None,
        disk: Arc::new(SimDisk::new(1)),
        args: &InspectArgs { dir: PathBuf::new(), batches: false },
        inspection: Inspection {
            identity: None,
            checkpoint: None,
            journal: None,
            groups,
            findings: Vec::new(),
        },
    };
    let listed: Vec<_> = view.partitions().iter().map(|group| view.group_name(group.id)).collect();
    assert_eq!(listed, ["apples-9", "apples-10", "pears-0", "pears-3"]);
}

/// A topic's id that is made of one byte.
fn topic(byte: u8) -> TopicId {
    match GroupId::from_bytes([byte; GroupId::ENCODED_LEN]) {
        GroupId::Partition(partition) => partition.topic,
        GroupId::Metadata => panic!("byte {byte} names no topic"),
    }
}
