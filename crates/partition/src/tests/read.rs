//! Fetching, waiting, looking offsets up.

use std::sync::Arc;

use highwater_types::{ErrorCode, NodeId, Offset, Term, TimestampMs};

use super::fake_replica::leader_of;
use super::*;
use crate::replica::GroupStatus;
use crate::{DataWaiter, DeleteBefore, OffsetQuery};

/// Batches of 2 records at offsets 0, 2 and 4.
async fn three_batches() -> Scenario {
    let scenario = Scenario::new(&[]);
    for _ in 0..3 {
        scenario.append(batch_of(2)).await.unwrap();
    }
    scenario
}

#[tokio::test(start_paused = true)]
async fn a_fetch_returns_whole_batches_below_the_high_watermark() {
    let scenario = three_batches().await;
    scenario.replica.hold();
    let uncommitted = scenario.append_later(batch_of(2));
    scenario.until_pending(1).await;

    let all = scenario.partition.fetch(Offset(0), 1 << 20).await.unwrap();
    assert_eq!((all.batches.len(), all.next_offset), (3, Offset(6)));
    assert_eq!((all.log_start, all.high_watermark), (Offset(0), Offset(6)));
    // In the middle of a batch, with less room than one batch takes: the whole batch.
    let one = scenario.partition.fetch(Offset(3), 1).await.unwrap();
    assert_eq!((one.batches.len(), one.next_offset), (1, Offset(4)));
    let batch = Batch::parse(one.batches[0].clone()).unwrap();
    assert_eq!(batch.base_offset(), Offset(2));
    let none = scenario.partition.fetch(Offset(6), 1 << 20).await.unwrap();
    assert_eq!((none.batches.len(), none.next_offset), (0, Offset(6)));

    scenario.replica.release();
    outcome_within(uncommitted).await.unwrap().unwrap();
    let more = scenario.partition.fetch(Offset(6), 1 << 20).await.unwrap();
    assert_eq!(more.next_offset, Offset(8));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_outside_the_log_says_what_the_log_has() {
    let scenario = three_batches().await;
    let before = DeleteBefore::Offset(Offset(3));
    scenario.partition.delete_records(before, in_a_minute()).await.unwrap();
    for offset in [Offset(2), Offset(7)] {
        let error = scenario.partition.fetch(offset, 1).await.unwrap_err();
        let expected =
            PartitionError::OffsetOutOfRange { offset, log_start: Offset(3), high_watermark: Offset(6) };
        assert_eq!(error, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_serves_what_it_knows_and_calls_nothing_beyond_out_of_range() {
    let scenario = three_batches().await;
    scenario.replica.set_status(GroupStatus { is_serving: false, ..leader_of(Term(2)) });
    let partition = &scenario.partition;
    assert!(partition.fetch(Offset(2), 1).await.is_ok());
    assert!(partition.fetch(Offset(6), 1).await.is_ok());
    let error = partition.fetch(Offset(7), 1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetNotAvailable);
    let error = partition.list_offset(OffsetQuery::Latest).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetNotAvailable);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_serves_what_is_committed_and_promises_nothing_at_its_end() {
    let scenario = three_batches().await;
    scenario.replica.set_supported(false);
    let partition = &scenario.partition;
    assert_eq!(partition.fetch(Offset(2), 1).await.unwrap().next_offset, Offset(4));
    for offset in [Offset(6), Offset(7)] {
        let error = partition.fetch(offset, 1).await.unwrap_err();
        assert_eq!(error, PartitionError::CutOff);
        assert_eq!(error.code(), ErrorCode::LeaderNotAvailable);
    }
    let error = partition.list_offset(OffsetQuery::Latest).unwrap_err();
    assert_eq!(error.code(), ErrorCode::LeaderNotAvailable);
    scenario.replica.set_supported(true);
    assert!(partition.fetch(Offset(6), 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn readers_do_not_wait_at_a_leader_that_is_cut_off() {
    let scenario = three_batches().await;
    let partition = &scenario.partition;
    let waiter = DataWaiter::new(1);
    let _registration = partition.register(&waiter, Offset(6));
    partition.wake_waiters_unless_leading();
    assert!(!waiter.is_done(), "there may be more");
    scenario.replica.set_supported(false);
    partition.wake_waiters_unless_leading();
    assert!(waiter.is_done());
    let late = DataWaiter::new(1);
    let _registration = partition.register(&late, Offset(6));
    assert!(late.is_done());

    // A new leader does not know how much there is, but it will.
    scenario.replica.set_supported(true);
    scenario.replica.set_status(GroupStatus { is_serving: false, ..leader_of(Term(2)) });
    let patient = DataWaiter::new(1);
    let _registration = partition.register(&patient, Offset(6));
    partition.wake_waiters_unless_leading();
    assert!(!patient.is_done());
    let follower = GroupStatus { leader: Some(NodeId(3)), is_leader: false, ..leader_of(Term(3)) };
    scenario.replica.set_status(GroupStatus { is_serving: false, ..follower });
    partition.wake_waiters_unless_leading();
    assert!(patient.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_partition_still_serves_what_is_proven() {
    let scenario = three_batches().await;
    scenario.replica.set_status(GroupStatus {
        quarantined: Some("damaged".to_owned()),
        is_leader: false,
        is_serving: false,
        ..leader_of(Term(1))
    });
    let fetched = scenario.partition.fetch(Offset(0), 1 << 20).await.unwrap();
    assert_eq!(fetched.next_offset, Offset(6));
    for offset in [Offset(6), Offset(7)] {
        let error = scenario.partition.fetch(offset, 1).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Quarantined);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_is_woken_once_its_bytes_are_there() {
    let scenario = three_batches().await;
    let bytes = batch_of(2).size_in_bytes();
    let partition = scenario.partition.clone();
    let reader =
        tokio::spawn(async move { partition.wait_for_data(Offset(6), 2 * bytes, in_a_minute()).await });
    scenario.until(|| scenario.partition.inner.applied.waiters.len() == 1).await;
    scenario.append(batch_of(2)).await.unwrap();
    scenario.settle().await;
    assert!(!reader.is_finished());
    scenario.append(batch_of(2)).await.unwrap();
    assert!(outcome_within(reader).await.unwrap());
    assert_eq!(scenario.partition.inner.applied.waiters.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_behind_the_high_watermark_never_waits_and_one_at_its_deadline_gives_up() {
    let scenario = three_batches().await;
    let deadline = in_a_minute();
    let partition = &scenario.partition;
    assert!(partition.wait_for_data(Offset(5), 1 << 20, deadline).await);
    assert!(!partition.wait_for_data(Offset(6), 1, deadline).await);
    assert_eq!(partition.inner.applied.waiters.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_waiter_counts_the_bytes_of_several_partitions() {
    let (left, right) = (Scenario::new(&[]), Scenario::new(&[]));
    let waiter = DataWaiter::new(2 * batch_of(1).size_in_bytes());
    let registrations = [&left, &right].map(|each| each.partition.register(&waiter, Offset(0)));
    left.append(batch_of(1)).await.unwrap();
    assert!(!waiter.is_done());
    right.append(batch_of(1)).await.unwrap();
    outcome_within(waiter.wait()).await;
    drop(registrations);
    assert_eq!(left.partition.inner.applied.waiters.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leadership_and_a_moved_log_start_wake_the_readers() {
    let scenario = three_batches().await;
    let wait = || {
        let partition = scenario.partition.clone();
        tokio::spawn(async move { partition.wait_for_data(Offset(6), 1, in_a_minute()).await })
    };
    let waiters = Arc::clone(&scenario.partition.inner.applied.waiters);
    let reader = wait();
    scenario.until(|| waiters.len() == 1).await;
    scenario.replica.set_status(leader_of(Term(2)));
    assert!(outcome_within(reader).await.unwrap());

    let reader = wait();
    scenario.until(|| waiters.len() == 1).await;
    let all = DeleteBefore::HighWatermark;
    let start = scenario.partition.delete_records(all, in_a_minute()).await;
    assert_eq!(start, Ok(Offset(6)));
    assert!(outcome_within(reader).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn offsets_are_found_by_bound_and_by_time() {
    let scenario = Scenario::new(&[]);
    let at = |delta| START.0 + delta;
    // The latest is in the middle, twice, and times are out of order.
    for times in [[at(10), at(50)], [at(50), at(20)], [at(30), at(40)]] {
        scenario.append(batch_at(&times)).await.unwrap();
    }
    let partition = &scenario.partition;
    let find = |query| partition.list_offset(query).unwrap();
    let at_time = |delta| OffsetQuery::AtTime(TimestampMs(at(delta)));
    let found = |offset, delta| Some((Offset(offset), TimestampMs(at(delta))));
    let bound = |offset| Some((Offset(offset), TimestampMs::NONE));

    assert_eq!(find(OffsetQuery::Earliest), bound(0));
    assert_eq!(find(OffsetQuery::Latest), bound(6));
    assert_eq!(find(at_time(11)), found(1, 50));
    assert_eq!(find(at_time(51)), None);
    assert_eq!(find(OffsetQuery::MaxTimestamp), found(1, 50));

    let before = DeleteBefore::Offset(Offset(3));
    let start = partition.delete_records(before, in_a_minute()).await;
    assert_eq!(start, Ok(Offset(3)));
    assert_eq!(find(OffsetQuery::Earliest), bound(3));
    assert_eq!(find(at_time(0)), found(3, 20));
    // The latest of all lies below the log start now, in a batch that is still there.
    assert_eq!(find(OffsetQuery::MaxTimestamp), found(5, 40));
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_has_bounds_and_no_times() {
    let scenario = Scenario::new(&[]);
    let find = |query| scenario.partition.list_offset(query);
    assert_eq!(find(OffsetQuery::Latest), Ok(Some((Offset(0), TimestampMs::NONE))));
    assert_eq!(find(OffsetQuery::MaxTimestamp), Ok(None));
    assert_eq!(find(OffsetQuery::AtTime(TimestampMs(0))), Ok(None));
    let description = scenario.partition.describe();
    assert_eq!(description.leader, Some(NodeId(1)));
    assert_eq!(description.size_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_group_ends_the_waiting_and_answers_nothing() {
    let scenario = three_batches().await;
    let partition = scenario.partition.clone();
    let reader = tokio::spawn(async move { partition.wait_for_data(Offset(6), 1, in_a_minute()).await });
    let waiters = Arc::clone(&scenario.partition.inner.applied.waiters);
    scenario.until(|| waiters.len() == 1).await;
    scenario.replica.stop();
    assert!(outcome_within(reader).await.unwrap());
    let error = scenario.partition.fetch(Offset(6), 1).await.unwrap_err();
    assert_eq!(error, PartitionError::Stopped);
    let error = scenario.append(batch_of(1)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
}
