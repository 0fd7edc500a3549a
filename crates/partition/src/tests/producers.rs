//! Idempotent producers (R19): duplicates, gaps, fencing, and what a lost leadership does to
//! what was in flight.

use highwater_types::{ErrorCode, NodeId, Offset, Term};

use super::fake_replica::leader_of;
use super::*;
use crate::replica::{GroupStatus, NoRoom};

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_an_applied_batch_gets_the_original_offset() {
    let scenario = Scenario::new(&[]);
    scenario.append(sequenced(1, 0, 0, 3)).await.unwrap();
    scenario.append(sequenced(1, 0, 3, 2)).await.unwrap();
    let again = scenario.append(sequenced(1, 0, 0, 3)).await.unwrap();
    assert_eq!(again.base_offset, Offset(0));
    let again = scenario.append(sequenced(1, 0, 3, 2)).await.unwrap();
    assert_eq!(again.base_offset, Offset(3));
    assert_eq!(scenario.replica.committed().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_in_flight_waits_for_the_original_and_gets_its_offset() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let original = scenario.append_later(sequenced(1, 0, 0, 3));
    let other = scenario.append_later(batch_of(1));
    let duplicates = [(); 2].map(|()| scenario.append_later(sequenced(1, 0, 0, 3)));
    scenario.until_pending(2).await;
    scenario.settle().await;
    assert!(duplicates.iter().all(|duplicate| !duplicate.is_finished()));
    scenario.replica.commit(1);
    for append in [original].into_iter().chain(duplicates) {
        let appended = outcome_within(append).await.unwrap().unwrap();
        assert_eq!(appended.base_offset, Offset(0));
    }
    scenario.replica.release();
    outcome_within(other).await.unwrap().unwrap();
    assert_eq!(scenario.replica.committed().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn pipelined_batches_are_checked_against_what_is_in_flight() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let appends: Vec<_> =
        [0, 2, 4].into_iter().map(|sequence| scenario.append_later(sequenced(1, 0, sequence, 2))).collect();
    scenario.until_pending(3).await;
    let error = scenario.append(sequenced(1, 0, 8, 2)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutOfOrderSequence);
    scenario.replica.release();
    for (append, expected) in appends.into_iter().zip([0, 2, 4]) {
        let appended = outcome_within(append).await.unwrap().unwrap();
        assert_eq!(appended.base_offset, Offset(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_fences_the_older_one() {
    let scenario = Scenario::new(&[]);
    scenario.append(sequenced(1, 0, 0, 1)).await.unwrap();
    scenario.append(sequenced(1, 1, 0, 1)).await.unwrap();
    let error = scenario.append(sequenced(1, 0, 1, 1)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidProducerEpoch);
}

#[tokio::test(start_paused = true)]
async fn leadership_lost_between_check_and_commit_clears_what_was_in_flight() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let lost = scenario.append_later(sequenced(1, 0, 0, 1));
    scenario.until_pending(1).await;
    let leader = Some(NodeId(2));
    let not_leader = PartitionError::NotLeader { leader };
    let follower = GroupStatus { leader, is_leader: false, is_serving: false, ..leader_of(Term(2)) };
    scenario.replica.set_status(follower);
    scenario.replica.fail_pending(&not_leader, false);
    assert_eq!(outcome_within(lost).await.unwrap(), Err(not_leader));

    // It leads again; the entry of term 1 never came to be, so the retry is new.
    scenario.replica.set_status(leader_of(Term(3)));
    scenario.replica.release();
    let appended = scenario.append(sequenced(1, 0, 0, 1)).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    assert_eq!(scenario.replica.committed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_failed_answer_is_not_written_twice_when_the_entry_survived() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let lost = scenario.append_later(sequenced(1, 0, 0, 2));
    scenario.until_pending(1).await;
    let unknown = PartitionError::OutcomeUnknown { reason: "the answer was lost".to_owned() };
    scenario.replica.fail_pending(&unknown, true);
    assert_eq!(outcome_within(lost).await.unwrap(), Err(unknown));

    // The entry is in the log and not applied: the retry has to wait for the barrier behind it.
    let retry = scenario.append_later(sequenced(1, 0, 0, 2));
    scenario.until_pending(2).await;
    scenario.replica.release();
    let appended = outcome_within(retry).await.unwrap().unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    assert_eq!(scenario.replica.committed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_takes_those_behind_it_along_so_that_none_overtakes_its_retry() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let mut lost: Vec<_> = [0, 1].map(|sequence| scenario.append_later(sequenced(1, 0, sequence, 1))).into();
    scenario.until_pending(2).await;
    // Not proposed yet: it waits for the journal.
    scenario.replica.set_room(Some(NoRoom::Busy));
    lost.push(scenario.append_later(sequenced(1, 0, 2, 1)));
    scenario.settle().await;
    let failed = PartitionError::NotLeader { leader: None };
    scenario.replica.fail_pending(&failed, false);
    scenario.replica.set_room(None);
    for append in lost {
        assert_eq!(outcome_within(append).await.unwrap(), Err(failed.clone()));
    }
    scenario.replica.release();
    for sequence in 0..3 {
        let appended = scenario.append(sequenced(1, 0, sequence, 1)).await.unwrap();
        assert_eq!(appended.base_offset, Offset(i64::from(sequence)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_space_takes_along_what_its_own_producer_sent_behind_it() {
    let scenario = Scenario::new(&[]);
    scenario.replica.set_room(Some(NoRoom::Busy));
    let large = scenario.append_later(sequenced(1, 0, 0, 50));
    let small = scenario.append_later(sequenced(1, 0, 50, 1));
    let other = scenario.append_later(sequenced(2, 0, 0, 1));
    scenario.settle().await;
    scenario.replica.set_space(sequenced(1, 0, 50, 1).size_in_bytes());
    for append in [large, small] {
        let error = outcome_within(append).await.unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::NoSpace);
    }
    let appended = outcome_within(other).await.unwrap().unwrap();
    assert_eq!(appended.base_offset, Offset(0));
}
