//! The state machine by itself: what it gives to a checkpoint, what it takes back.

use bytes::Bytes;
use highwater_storage::{Applier, Entry, LogId, Payload};
use highwater_types::{LeaderEpoch, Offset, RaftIndex, Term};

use super::*;
use crate::producer_state::{InFlight, Verdict};
use crate::{LogStartReason, PartitionApplier, PartitionCommand};

fn entry(index: u64, payload: Payload) -> Entry {
    let id = LogId { term: Term(1), index: RaftIndex(index) };
    Entry { id, payload }
}

fn batch_entry(index: u64, base_offset: i64, batch: Batch) -> Entry {
    let stamped = batch.stamp(Offset(base_offset), LeaderEpoch(1));
    entry(index, Payload::Batch(stamped))
}

#[test]
fn a_restored_applier_knows_every_producer_and_writes_the_same_snapshot() {
    let (mut applier, _) = PartitionApplier::new();
    for (index, sequence) in [0, 2, 4].into_iter().enumerate() {
        let batch = sequenced(7, 0, sequence, 2);
        let index = u64::try_from(index).unwrap();
        applier.apply(&batch_entry(index, i64::from(sequence), batch));
    }
    let snapshot = applier.snapshot();

    let (mut restored, state) = PartitionApplier::new();
    restored.restore(&snapshot).unwrap();
    assert_eq!(restored.snapshot(), snapshot);
    let again = sequenced(7, 0, 2, 2);
    let producers = state.producers.lock();
    let verdict = InFlight::default().check(&producers, again.header());
    assert!(
        matches!(
            verdict,
            Ok(Verdict::Duplicate { base_offset, .. }) if base_offset == Offset(2)
        ),
        "{verdict:?}"
    );
}

#[test]
fn an_applier_restored_from_nothing_has_forgotten_everything() {
    let (mut applier, _) = PartitionApplier::new();
    let empty = applier.snapshot();
    applier.apply(&batch_entry(0, 0, sequenced(7, 0, 0, 1)));
    assert_ne!(applier.snapshot(), empty);
    applier.restore(&[]).unwrap();
    assert_eq!(applier.snapshot(), empty);
}

#[test]
fn a_damaged_or_newer_snapshot_is_refused_and_changes_nothing() {
    let (mut applier, _) = PartitionApplier::new();
    applier.apply(&batch_entry(0, 0, sequenced(7, 0, 0, 1)));
    let snapshot = applier.snapshot();
    let newer = [0x08, 0x02];
    for damaged in [&snapshot[..snapshot.len() - 1], &newer, &[0xff]] {
        applier.restore(damaged).unwrap_err();
        assert_eq!(applier.snapshot(), snapshot);
    }
}

#[test]
fn a_command_that_is_not_understood_has_no_effect() {
    let (mut applier, _) = PartitionApplier::new();
    let before = applier.snapshot();
    let unknown = Bytes::from_static(&[0x08, 0x09]);
    let applied = applier.apply(&entry(0, Payload::Control(unknown)));
    assert_eq!(applied.log_start, None);
    assert_eq!(applier.snapshot(), before);
    let command = PartitionCommand::SetLogStart { offset: Offset(5), reason: LogStartReason::DeleteRecords };
    let applied = applier.apply(&entry(1, Payload::Control(command.encode())));
    assert_eq!(applied.log_start, Some(Offset(5)));
}
