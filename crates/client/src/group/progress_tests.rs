//! How far a member is, step by step.

use super::*;
use highwater_types::{PartitionIndex, TopicId};

fn id(index: u32) -> PartitionId {
    // One topic is enough.
    let topic = TopicId("11111111-2222-4333-8444-555555555555".parse().expect("an id"));
    PartitionId { topic, index: PartitionIndex(index) }
}

/// Two partitions that are read from offset 10 on, which is committed.
fn two(asking_is_done: bool) -> Progress {
    let mut progress = Progress::new(asking_is_done);
    for index in 0..2 {
        let key = PartitionKey { topic: "t".into(), topic_id: "id".into(), partition: PartitionIndex(index) };
        progress.begin(id(index), key, StartPosition::Offset(Offset(10)), Some(Offset(10)));
        progress.read(id(index), ReadingId(index.into()));
    }
    progress
}

fn due(progress: &mut Progress) -> Vec<(u32, i64, bool)> {
    let due = progress.due(None).into_iter();
    due.map(|due| (due.partition.index.0, due.commit.offset.0, due.commit.may_rewind)).collect()
}

#[test]
fn what_was_handed_out_counts_when_more_is_asked_for_and_never_the_last_of_it() {
    let mut progress = two(true);
    for next in 11..14 {
        progress.settle();
        progress.hand_out(id(0), Offset(next));
    }
    assert_eq!(due(&mut progress), [(0, 12, false)]);
    progress.settle();
    progress.hand_out(id(1), Offset(11));
    assert_eq!((due(&mut progress), progress.busy()), (vec![(0, 13, false)], Some(id(1))));
    progress.committed(id(0), Offset(13));
    assert_eq!(progress.settle(), Some(id(1)));
    assert_eq!((due(&mut progress), progress.busy()), (vec![(1, 11, false)], None));
}

#[test]
fn by_hand_nothing_counts_but_what_is_said_to() {
    let mut progress = two(false);
    for next in 11..14 {
        progress.settle();
        progress.hand_out(id(0), Offset(next));
    }
    assert_eq!(due(&mut progress), []);
    progress.all_is_done();
    assert_eq!(due(&mut progress), [(0, 13, false)]);
    progress.hand_out(id(0), Offset(14));
    progress.settle();
    assert_eq!(due(&mut progress), [(0, 13, false)]);
}

#[test]
fn only_seeking_takes_a_committed_offset_back() {
    let mut progress = two(true);
    progress.committed(id(0), Offset(20));
    assert_eq!(due(&mut progress), [], "somebody else's commit is ahead");
    progress.hand_out(id(1), Offset(15));
    assert_eq!(progress.seek(id(1), StartPosition::Offset(Offset(3))), Some(ReadingId(1)));
    progress.settle();
    assert_eq!(due(&mut progress), [(1, 3, true)], "what was in hand does not bring it back");
    assert_eq!(progress.start(id(1)).map(|(_, start)| start), Some(StartPosition::Offset(Offset(3))));
    progress.committed(id(1), Offset(3));
    assert_eq!(due(&mut progress), []);
}

#[test]
fn a_partition_that_is_stopped_is_handed_out_no_more_and_goes_on_where_it_was() {
    let mut progress = two(true);
    let version = progress.version();
    progress.hand_out(id(0), Offset(12));
    assert_eq!(progress.stop(id(0)), Some(ReadingId(0)));
    assert_ne!(progress.version(), version);
    assert!(progress.of_reading(ReadingId(0)).is_none());
    assert_eq!(progress.start(id(0)).map(|(_, start)| start), Some(StartPosition::Offset(Offset(12))));
    assert_eq!(progress.stop(id(0)), None);
    progress.settle();
    assert_eq!(due(&mut progress), [(0, 12, false)], "it is still owned");
    progress.remove(id(0));
    assert_eq!(due(&mut progress), []);
}

#[test]
fn where_a_partition_begins_without_a_commit_is_committed_once_it_is_known() {
    let mut progress = two(true);
    let key = PartitionKey { topic: "t".into(), topic_id: "id".into(), partition: PartitionIndex(2) };
    progress.begin(id(2), key, StartPosition::Latest, None);
    assert_eq!(due(&mut progress), []);
    progress.note(id(2), Offset(7), Offset(7));
    assert_eq!(due(&mut progress), [(2, 7, false)]);
}
