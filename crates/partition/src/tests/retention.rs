//! Retention and delete-records (R8).

use highwater_types::{ErrorCode, Offset, Term, TimestampMs};

use super::fake_replica::leader_of;
use super::*;
use crate::replica::GroupStatus;
use crate::{DeleteBefore, LogStartReason, RetentionPass};

/// Segments of one batch of 2 records each, a second apart: offsets 0, 2, 4, with the last
/// one written to.
async fn three_segments(settings: &[(&str, &str)]) -> Scenario {
    let scenario = Scenario::new(settings);
    for second in 0..3 {
        if second > 0 {
            scenario.replica.roll();
        }
        let time = START.0 + second * 1000;
        scenario.append(batch_at(&[time, time])).await.unwrap();
    }
    scenario
}

async fn enforce(scenario: &Scenario, after_ms: i64) -> RetentionPass {
    let now = TimestampMs(START.0 + after_ms);
    let pass = scenario.partition.enforce_retention(now, in_a_minute());
    pass.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn time_retention_moves_the_log_start_to_the_end_of_the_last_expired_segment() {
    let scenario = three_segments(&[("retention.ms", "10000")]).await;
    let cases = [
        (10_000, None),
        (10_001, Some(Offset(2))),
        // The clock jumps back: the log start does not.
        (0, None),
        (11_500, Some(Offset(4))),
        (11_500, None),
        // Even what is still written to, when nothing came for so long.
        (20_000, Some(Offset(6))),
        (90_000, None),
    ];
    for (after_ms, expected) in cases {
        let pass = enforce(&scenario, after_ms).await;
        let expected = expected.map(|offset| (offset, LogStartReason::RetentionTime));
        assert_eq!(pass.moved, expected, "after {after_ms} ms");
    }
    let watermarks = scenario.partition.describe().watermarks;
    assert_eq!(watermarks.log_start(), Offset(6));
    assert_eq!(watermarks.high_watermark(), Offset(6));
}

#[tokio::test(start_paused = true)]
async fn size_retention_keeps_at_least_the_stated_bytes() {
    let segment_bytes = batch_of(2).size_in_bytes();
    let cases = [
        (3 * segment_bytes, None),
        (2 * segment_bytes + 1, None),
        (2 * segment_bytes, Some(Offset(2))),
        (segment_bytes + 1, Some(Offset(2))),
        (segment_bytes, Some(Offset(4))),
    ];
    for (retention_bytes, expected) in cases {
        let retention_bytes = retention_bytes.to_string();
        let scenario = three_segments(&[("retention.bytes", &retention_bytes)]).await;
        let pass = enforce(&scenario, 0).await;
        let expected = expected.map(|offset| (offset, LogStartReason::RetentionBytes));
        assert_eq!(pass.moved, expected, "retention.bytes={retention_bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_without_timestamps_goes_with_the_next_expired_one() {
    let scenario = Scenario::new(&[("retention.ms", "10000")]);
    scenario.append(batch_at(&[-1])).await.unwrap();
    scenario.replica.roll();
    assert_eq!(enforce(&scenario, 90_000).await.moved, None);
    scenario.append(batch_at(&[START.0])).await.unwrap();
    scenario.replica.roll();
    let moved = enforce(&scenario, 90_000).await.moved;
    assert_eq!(moved, Some((Offset(2), LogStartReason::RetentionTime)));
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_due_is_rolled() {
    let scenario = three_segments(&[("retention.ms", "-1")]).await;
    scenario.replica.expire_segment();
    let pass = enforce(&scenario, 0).await;
    let rolled = RetentionPass { rolled: true, moved: None };
    assert_eq!(pass, rolled);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_lead_decides_nothing() {
    let scenario = three_segments(&[("retention.ms", "1")]).await;
    scenario.replica.expire_segment();
    scenario.replica.set_status(GroupStatus { is_leader: false, is_serving: false, ..leader_of(Term(2)) });
    assert_eq!(enforce(&scenario, 90_000).await, RetentionPass::default());
}

#[tokio::test(start_paused = true)]
async fn delete_records_moves_the_log_start_forward_only_and_never_beyond_the_watermark() {
    let scenario = three_segments(&[]).await;
    let delete = |before| scenario.partition.delete_records(before, in_a_minute());
    assert_eq!(delete(DeleteBefore::Offset(Offset(3))).await, Ok(Offset(3)));
    assert_eq!(delete(DeleteBefore::Offset(Offset(1))).await, Ok(Offset(3)));
    for beyond in [Offset(7), Offset(-1)] {
        let error = delete(DeleteBefore::Offset(beyond)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    }
    assert_eq!(delete(DeleteBefore::HighWatermark).await, Ok(Offset(6)));
    let appended = scenario.append(batch_of(1)).await.unwrap();
    assert_eq!(appended.base_offset, Offset(6));
    assert_eq!(appended.log_start, Offset(6));
}

#[tokio::test(start_paused = true)]
async fn delete_records_that_is_not_applied_by_its_deadline_says_so() {
    let scenario = three_segments(&[]).await;
    scenario.replica.hold();
    let before = DeleteBefore::HighWatermark;
    let error = scenario.partition.delete_records(before, in_a_minute()).await;
    assert_eq!(error, Err(PartitionError::DeadlinePassed));
}
