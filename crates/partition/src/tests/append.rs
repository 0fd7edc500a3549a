//! Admission, order, limits, deadlines.

use std::sync::Arc;
use std::time::Duration;

use highwater_records::field;
use highwater_types::limits::PARTITION_IN_FLIGHT_BYTES_MAX;
use highwater_types::{ErrorCode, NodeId, Offset, Term, TimestampMs, TimestampType, TopicConfig};
use tokio::time::Instant;

use super::fake_replica::leader_of;
use super::*;
use crate::replica::{GroupStatus, NoRoom};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test(start_paused = true)]
async fn batches_get_dense_offsets_in_order() {
    let scenario = Scenario::new(&[]);
    for (count, expected) in [(3, 0), (1, 3), (5, 4)] {
        let appended = scenario.append(batch_of(count)).await.unwrap();
        assert_eq!(appended.base_offset, Offset(expected));
        assert_eq!(appended.log_append_time, None);
        assert_eq!(appended.log_start, Offset::ZERO);
    }
    assert_eq!(scenario.replica.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_has_no_appender() {
    let scenario = Scenario::new(&[]);
    scenario.append(batch_of(1)).await.unwrap();
    let queue = &scenario.partition.inner.queue;
    scenario.until(|| queue.is_idle()).await;
    scenario.append(batch_of(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_while_the_log_is_busy_is_proposed_together_and_in_order() {
    let scenario = Scenario::new(&[]);
    scenario.replica.set_room(Some(NoRoom::Busy));
    let appends: Vec<_> = (1..=4).map(|count| scenario.append_later(batch_of(count))).collect();
    scenario.settle().await;
    scenario.replica.set_room(None);
    let mut expected = 0;
    for (append, count) in appends.into_iter().zip(1..) {
        let appended = outcome_within(append).await.unwrap().unwrap();
        assert_eq!(appended.base_offset, Offset(expected));
        expected += count;
    }
    assert_eq!(scenario.replica.take_rounds(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_above_the_topics_limit_is_refused_also_when_the_limit_changes() {
    let scenario = Scenario::new(&[]);
    let batch = batch_of(2);
    let limit = |bytes| Arc::new(TopicConfig { max_message_bytes: bytes, ..TopicConfig::default() });
    scenario.config.send_replace(limit(batch.size_in_bytes()));
    scenario.append(batch.clone()).await.unwrap();
    scenario.config.send_replace(limit(batch.size_in_bytes() - 1));
    let error = scenario.append(batch).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_any_damaged_byte_behind_the_stamp_is_refused() {
    let scenario = Scenario::new(&[]);
    let good = batch_of(2).into_bytes();
    for at in field::CRC..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        if let Ok(batch) = Batch::parse(bad.into()) {
            assert!(scenario.append(batch).await.is_err(), "byte {at} is flipped");
        }
    }
    assert_eq!(scenario.replica.committed().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn transactional_and_log_time_batches_are_refused_from_outside() {
    let scenario = Scenario::new(&[]);
    let mut builder =
        BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), Sequence(0)).transactional(true);
    builder.append(None, None, &[], START).unwrap();
    let error = scenario.append(builder.build().unwrap()).await.unwrap_err();
    assert_eq!(error, PartitionError::Transactional);
    assert_eq!(error.code(), ErrorCode::Unsupported);

    let claims_log_time = batch_of(1).with_log_append_time(START);
    let error = scenario.append(claims_log_time).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
}

#[tokio::test(start_paused = true)]
async fn timestamps_beyond_either_bound_are_refused_and_no_timestamp_passes() {
    let scenario = Scenario::new(&[("message.timestamp.before.max.ms", "1000")]);
    let now = START.0;
    let cases: [(&[i64], bool); 7] = [
        (&[now], true),
        (&[now + HOUR_MS], true),
        (&[now + HOUR_MS + 1], false),
        (&[now - 1000], true),
        (&[now - 1001], false),
        // The oldest is not the first, and the header does not have it.
        (&[now, now - 1001, now], false),
        (&[-1], true),
    ];
    for (times, is_taken) in cases {
        let outcome = scenario.append(batch_at(times)).await;
        assert_eq!(outcome.is_ok(), is_taken, "{times:?}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn log_append_time_replaces_the_producers_time_whatever_that_is() {
    let scenario = Scenario::new(&[("message.timestamp.type", "LogAppendTime")]);
    scenario.clock.0.store(START.0 + 5, Ordering::SeqCst);
    let far_future = batch_at(&[START.0 + 100 * HOUR_MS, 3]);
    let appended = scenario.append(far_future).await.unwrap();
    assert_eq!(appended.log_append_time, Some(TimestampMs(START.0 + 5)));
    let stored = scenario.replica.committed()[0].to_batch();
    stored.verify().unwrap();
    assert_eq!(stored.max_timestamp(), TimestampMs(START.0 + 5));
    assert_eq!(stored.timestamp_type(), TimestampType::LogAppendTime);
    let config = scenario.partition.config();
    assert_eq!(config.message_timestamp_type, TimestampType::LogAppendTime);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_a_clear_error_and_producing_resumes_by_itself() {
    let scenario = Scenario::new(&[]);
    let full = PartitionError::NoSpace { bytes: 1 };
    scenario.replica.set_room(Some(NoRoom::Refused(full)));
    let error = scenario.append(sequenced(1, 0, 0, 1)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoSpace);
    scenario.replica.set_room(None);
    let appended = scenario.append(sequenced(1, 0, 0, 1)).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_applied_by_its_deadline_has_an_unknown_outcome() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let error = scenario.append(sequenced(1, 0, 0, 1)).await.unwrap_err();
    assert_eq!(error, PartitionError::DeadlinePassed);
    assert_eq!(error.code(), ErrorCode::Timeout);
    // The producer sends it again: it is still in flight, and stays one batch.
    let again = scenario.append_later(sequenced(1, 0, 0, 1));
    scenario.settle().await;
    scenario.replica.release();
    let appended = outcome_within(again).await.unwrap().unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    assert_eq!(scenario.replica.committed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_in_flight_are_bounded_and_a_batch_without_room_is_not_written() {
    let scenario = Scenario::new(&[("max.message.bytes", "16777216")]);
    scenario.replica.hold();
    let value = vec![0; 15 << 20];
    let mut builder = BatchBuilder::new();
    builder.append(None, Some(&value), &[], START).unwrap();
    let large = builder.build().unwrap();
    let fit = PARTITION_IN_FLIGHT_BYTES_MAX / large.size_in_bytes();
    let forever = Instant::now() + Duration::from_secs(3600);
    let mut queued = Vec::new();
    for _ in 0..fit {
        queued.push(scenario.partition.enqueue(large.clone(), forever).await.unwrap());
    }
    let error = scenario.append(large.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Throttled);
    assert!(scenario.replica.reserved_bytes() <= PARTITION_IN_FLIGHT_BYTES_MAX);

    let waits = scenario.append_later(large);
    scenario.settle().await;
    scenario.replica.release();
    for pending in queued {
        outcome_within(pending.outcome()).await.unwrap();
    }
    outcome_within(waits).await.unwrap().unwrap();
    assert_eq!(scenario.replica.committed().len(), fit + 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaks_no_room_and_breaks_no_order() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let first = scenario.append_later(sequenced(1, 0, 0, 2));
    scenario.until_pending(1).await;
    first.abort();
    let second = scenario.append_later(sequenced(1, 0, 2, 1));
    scenario.until_pending(2).await;
    scenario.replica.release();
    let appended = outcome_within(second).await.unwrap().unwrap();
    assert_eq!(appended.base_offset, Offset(2));
    let queue = &scenario.partition.inner.queue;
    scenario.until(|| queue.is_idle()).await;
    assert_eq!(scenario.replica.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_lead_names_the_leader() {
    let scenario = Scenario::new(&[]);
    let follower = |leader| GroupStatus { leader, is_leader: false, is_serving: false, ..leader_of(Term(2)) };
    scenario.replica.set_status(follower(Some(NodeId(3))));
    let error = scenario.append(batch_of(1)).await.unwrap_err();
    let leader = Some(NodeId(3));
    assert_eq!(error, PartitionError::NotLeader { leader });
    scenario.replica.set_status(follower(None));
    let error = scenario.append(batch_of(1)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LeaderNotAvailable);
}

#[tokio::test(start_paused = true)]
async fn a_producer_waits_for_a_new_leader_to_serve() {
    let scenario = Scenario::new(&[]);
    let new_leader = GroupStatus { is_serving: false, ..leader_of(Term(2)) };
    scenario.replica.set_status(new_leader);
    let error = scenario.append(batch_of(1)).await.unwrap_err();
    assert_eq!(error, PartitionError::NotServing);
    let waits = scenario.append_later(batch_of(1));
    scenario.settle().await;
    scenario.replica.set_status(leader_of(Term(2)));
    outcome_within(waits).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_came_while_the_others_did_not_stand_by_the_leader_goes_on_as_soon_as_they_do() {
    let scenario = Scenario::new(&[]);
    scenario.replica.set_supported(false);
    let waits = scenario.append_later(batch_of(1));
    scenario.settle().await;
    assert!(!waits.is_finished(), "nothing is appended meanwhile");
    scenario.replica.set_supported(true);
    outcome_within(waits).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_producer_at_a_leader_that_stays_cut_off_is_told_long_before_its_deadline() {
    let scenario = Scenario::new(&[]);
    scenario.replica.set_supported(false);
    let deadline = in_a_minute();
    let error = scenario.partition.append(batch_of(1), deadline).await.unwrap_err();
    assert_eq!(error, PartitionError::CutOff);
    assert_eq!(error.code(), ErrorCode::LeaderNotAvailable);
    assert!(Instant::now() < deadline);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_a_leader_is_cut_off_is_answered_as_unknown_and_stays_one_batch() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let in_flight = scenario.append_later(sequenced(1, 0, 0, 1));
    scenario.until_pending(1).await;
    // It was sent again, and waits for the same outcome.
    let again = scenario.append_later(sequenced(1, 0, 0, 1));
    scenario.settle().await;
    scenario.replica.set_supported(false);
    for outcome in [in_flight, again] {
        let error = outcome_within(outcome).await.unwrap().unwrap_err();
        assert!(matches!(error, PartitionError::OutcomeUnknown { .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::Timeout);
    }
    assert!(scenario.replica.reserved_bytes() > 0, "it may be applied yet");

    // The others were only away for a while; what follows waits until it is known what became of the first.
    scenario.replica.set_supported(true);
    let retry = scenario.append_later(sequenced(1, 0, 0, 1));
    let next = scenario.append_later(sequenced(1, 0, 1, 1));
    scenario.settle().await;
    assert_eq!(scenario.replica.pending(), 1);
    scenario.replica.release();
    assert_eq!(outcome_within(retry).await.unwrap().unwrap().base_offset, Offset(0));
    assert_eq!(outcome_within(next).await.unwrap().unwrap().base_offset, Offset(1));
    assert_eq!(scenario.replica.committed().len(), 2);
    assert_eq!(scenario.replica.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_is_no_reason_to_give_up_what_is_in_flight() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let in_flight = scenario.append_later(batch_of(1));
    scenario.until_pending(1).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    scenario.settle().await;
    scenario.replica.set_supported(false);
    scenario.settle().await;
    // Nor is a moment without the others.
    scenario.replica.set_supported(true);
    tokio::time::advance(Duration::from_secs(10)).await;
    scenario.settle().await;
    scenario.replica.release();
    assert_eq!(outcome_within(in_flight).await.unwrap().unwrap().base_offset, Offset(0));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_before_it_knows_what_became_of_a_batch_refuses_what_waits_for_that() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let unknown = scenario.append_later(sequenced(1, 0, 0, 1));
    scenario.until_pending(1).await;
    let failed = PartitionError::OutcomeUnknown { reason: "a test".to_owned() };
    scenario.replica.fail_pending(&failed, true);
    outcome_within(unknown).await.unwrap().unwrap_err();
    let retry = scenario.append_later(sequenced(1, 0, 0, 1));
    // Behind what failed there is a barrier now.
    scenario.until_pending(2).await;
    scenario.replica.set_supported(false);
    let error = outcome_within(retry).await.unwrap().unwrap_err();
    assert_eq!(error, PartitionError::CutOff, "nothing was written of it");
    scenario.replica.set_supported(true);
    scenario.replica.release();
    let appended = scenario.append(sequenced(1, 0, 0, 1)).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    assert_eq!(scenario.replica.committed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_partition_takes_no_writes_and_says_why() {
    let scenario = Scenario::new(&[]);
    let quarantined = GroupStatus {
        quarantined: Some("segment 0 is damaged at 61".to_owned()),
        is_leader: false,
        is_serving: false,
        ..leader_of(Term(1))
    };
    scenario.replica.set_status(quarantined);
    let error = scenario.append(batch_of(1)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Quarantined);
    assert!(error.to_string().contains("segment 0 is damaged at 61"));
}

#[tokio::test(start_paused = true)]
async fn small_producers_that_wait_together_share_a_batch_and_get_their_own_offsets() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let first = scenario.records_later(&["a"]);
    scenario.until_pending(1).await;
    let others = [&["b", "c"][..], &["d"], &["e", "f", "g"]].map(|values| scenario.records_later(values));
    scenario.settle().await;
    assert_eq!(scenario.replica.pending(), 1);
    scenario.replica.release();
    assert_eq!(outcome_within(first).await.unwrap().unwrap().base_offset, Offset(0));
    for (other, expected) in others.into_iter().zip([1, 3, 4]) {
        let appended = outcome_within(other).await.unwrap().unwrap();
        assert_eq!(appended.base_offset, Offset(expected));
    }
    let committed = scenario.replica.committed();
    assert_eq!(committed.len(), 2);
    let values: Vec<_> = committed
        .iter()
        .flat_map(|batch| batch.to_batch().records())
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.timestamp, START);
            String::from_utf8(record.value.unwrap().to_vec()).unwrap()
        })
        .collect();
    assert_eq!(values.concat(), "abcdefg");
}

#[tokio::test(start_paused = true)]
async fn records_and_batches_of_one_connection_keep_their_order() {
    let scenario = Scenario::new(&[]);
    scenario.replica.hold();
    let deadline = in_a_minute();
    let partition = &scenario.partition;
    let mut queued = Vec::new();
    for value in ["a", "b"] {
        let records = vec![new_record(value)];
        queued.push(partition.enqueue_records(records, deadline).await.unwrap());
        scenario.settle().await;
    }
    queued.push(partition.enqueue(batch_of(2), deadline).await.unwrap());
    let records = vec![new_record("c")];
    queued.push(partition.enqueue_records(records, deadline).await.unwrap());
    scenario.settle().await;
    scenario.replica.release();
    for (pending, expected) in queued.into_iter().zip([0, 1, 2, 4]) {
        let appended = outcome_within(pending.outcome()).await.unwrap();
        assert_eq!(appended.base_offset, Offset(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_no_batch_can_hold_are_refused_alone() {
    let scenario = Scenario::new(&[("max.message.bytes", "200")]);
    let append = |records| scenario.partition.append_records(records, in_a_minute());
    let error = append(Vec::new()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    let error = append(vec![new_record(&"x".repeat(201))]).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    // The payload alone would fit, what encoding adds does not.
    let error = append(vec![new_record(&"x".repeat(190))]).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    append(vec![new_record(&"x".repeat(100))]).await.unwrap();
}
