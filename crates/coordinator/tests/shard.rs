//! Shards over a log that can be made to delay, refuse and change its leader.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use highwater_coordinator::CoordinatorError;
use highwater_groups::{CommitRequest, Committer, GroupsError, MemberAnswer, OffsetCommit};
use highwater_types::Offset;
use support::{A, B, FakeLog, FakeTopics, group, heartbeat, join, member, partition, start, topic_id, until};
use tokio::time::{advance, timeout};

/// Longer than anything that is asked takes while nothing stands in the way.
const SOON: Duration = Duration::from_secs(3);

fn commit(heard: &MemberAnswer, name: &str, index: u32, offset: i64) -> CommitRequest {
    CommitRequest {
        group: group(),
        committer: Committer::Member { member: member(name), epoch: heard.epoch },
        offsets: vec![OffsetCommit {
            partition: partition(index),
            offset: Offset(offset),
            leader_epoch: None,
            metadata: String::new(),
            may_rewind: false,
        }],
    }
}

fn outsiders(offset: i64) -> CommitRequest {
    let member = MemberAnswer {
        epoch: Default::default(),
        revision: Default::default(),
        assignment: None,
        is_to_give_up: false,
    };
    CommitRequest { committer: Committer::Outsider, ..commit(&member, "nobody", 0, offset) }
}

fn held(answer: &MemberAnswer) -> usize {
    answer.assignment.as_ref().map_or(0, |partitions| partitions.iter().count())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_before_it_is_committed_and_what_waits_shares_one_entry() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    log.elect(A);
    let first = shard.join(join("m0")).await.unwrap();
    assert_eq!(held(&first), 8);
    let before = log.entries();
    log.hold();
    let asking: Vec<_> = (0..100i64)
        .map(|offset| {
            let (shard, request) = (shard.clone(), commit(&first, "m0", 0, offset));
            tokio::spawn(async move { shard.commit(request).await })
        })
        .collect();
    until("an entry waits", || log.waiting() == 1).await;
    assert!(asking.iter().all(|asking| !asking.is_finished()));
    log.commit();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap(), vec![Ok(())]);
    }
    // The first that was there, and all others together.
    assert!(log.entries() - before <= 2, "{} entries", log.entries() - before);
    let committed = shard.look(|state| Ok(state.group(&group()).unwrap().offset(partition(0)).cloned()));
    assert_eq!(committed.await.unwrap().unwrap().offset, Offset(99));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_says_who_does() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    let (other, _other_stopping) = start(&log, B, &topics);
    assert_eq!(shard.join(join("m0")).await, Err(CoordinatorError::NotLeader { leader: None }));
    log.elect(B);
    assert_eq!(shard.join(join("m0")).await, Err(CoordinatorError::NotLeader { leader: Some(B) }));
    assert!(other.join(join("m0")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_leader_goes_on_where_the_log_ends_and_gives_every_member_a_whole_session() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    let (other, _other_stopping) = start(&log, B, &topics);
    log.elect(A);
    let mine = shard.join(join("m0")).await.unwrap();
    // Nearly as long as a session.
    advance(Duration::from_secs(40)).await;
    log.elect(B);
    advance(Duration::from_secs(40)).await;
    let again = other.heartbeat(heartbeat("m0", &mine)).await.unwrap();
    assert_eq!((again.epoch, again.assignment), (mine.epoch, None), "nothing changed for it");
    assert_eq!(other.commit(commit(&mine, "m0", 3, 7)).await.unwrap(), vec![Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_of_a_leader_that_is_gone_counts_once_whatever_became_of_it() {
    for is_committed in [false, true] {
        let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
        let (shard, _stopping) = start(&log, A, &topics);
        log.elect(A);
        shard.join(join("m0")).await.unwrap();
        log.hold();
        let asking = tokio::spawn({
            let shard = shard.clone();
            async move { shard.join(join("m1")).await }
        });
        until("it waits for the log", || log.waiting() == 1).await;
        match is_committed {
            true => log.commit_in_silence(),
            false => {
                log.elect(A);
                log.commit();
            }
        }
        let outcome = asking.await.unwrap();
        assert!(matches!(outcome, Err(CoordinatorError::OutcomeUnknown { .. })), "{outcome:?}");
        timeout(SOON, shard.join(join("m1"))).await.unwrap().unwrap();
        let members = shard.look(|state| Ok(state.group(&group()).unwrap().members().len())).await;
        assert_eq!(members.unwrap(), 2, "committed: {is_committed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_others_do_not_stand_by_answers_nobody_and_goes_on_when_they_do() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    log.elect(A);
    let mine = shard.join(join("m0")).await.unwrap();
    let beat = || shard.heartbeat(heartbeat("m0", &mine));
    assert!(beat().await.is_ok());
    let entries = log.entries();
    log.support(false);
    // It would change nothing, and so would be answered without an entry.
    assert_eq!(beat().await, Err(CoordinatorError::NotLeader { leader: None }));
    log.support(true);
    timeout(SOON, async { while beat().await.is_err() {} }).await.unwrap();
    assert_eq!(log.entries(), entries);
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_fenced_by_the_clock_alone_and_the_others_are_woken() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    log.elect(A);
    let mut first = shard.join(join("m0")).await.unwrap();
    let woken = shard.wait_for(group(), member("m0"));
    let second = shard.join(join("m1")).await.unwrap();
    assert_eq!(held(&second), 0, "all of it is the first one's still");
    timeout(SOON, woken.woken()).await.expect("it is to give up half");
    first = shard.heartbeat(heartbeat("m0", &first)).await.unwrap();
    assert_eq!(held(&first), 4);
    shard.heartbeat(heartbeat("m0", &first)).await.unwrap();
    let second = shard.heartbeat(heartbeat("m1", &second)).await.unwrap();
    assert_eq!(held(&second), 4);
    // The second one is heard no more.
    for _ in 0..10 {
        advance(Duration::from_secs(5)).await;
        match shard.heartbeat(heartbeat("m0", &first)).await.unwrap() {
            answer if answer.assignment.is_some() => first = answer,
            _ => {}
        }
    }
    timeout(SOON, woken.woken()).await.expect("the rest is free");
    if held(&first) < 8 {
        first = shard.heartbeat(heartbeat("m0", &first)).await.unwrap();
    }
    assert_eq!(held(&first), 8);
    let fenced = shard.heartbeat(heartbeat("m1", &second)).await;
    assert!(matches!(fenced, Err(CoordinatorError::Refused(GroupsError::UnknownMember { .. }))), "{fenced:?}");
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_deleted_topic_go_once_the_metadata_are_known_to_be_new_and_its_successor_has_none() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    let (other, _other_stopping) = start(&log, B, &topics);
    log.elect(A);
    assert_eq!(shard.commit(outsiders(5)).await.unwrap(), vec![Ok(())]);
    // It is deleted while nobody leads, and the next leader does not know how new its metadata are.
    topics.set_fresh(false);
    topics.clear();
    log.elect(B);
    let offset = async |shard: &highwater_coordinator::Shard<_>| {
        let look = shard.look(|state| {
            Ok(state.group(&group()).and_then(|group| group.offset(partition(0)).map(|found| found.offset)))
        });
        look.await.unwrap()
    };
    assert_eq!(offset(&other).await, Some(Offset(5)), "its metadata may be old");
    topics.set_fresh(true);
    timeout(SOON, async { while offset(&other).await.is_some() {} }).await.expect("it is gone");
    topics.set("orders", topic_id(2), 8);
    assert_eq!(offset(&other).await, None);
}

#[tokio::test(start_paused = true)]
async fn metadata_that_may_be_old_take_nothing_from_members_and_keep_nobody_who_is_silent() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    let (other, _other_stopping) = start(&log, B, &topics);
    log.elect(A);
    let mine = shard.join(join("m0")).await.unwrap();
    // The next leader's metadata are from before the topic was created.
    topics.set_fresh(false);
    topics.clear();
    log.elect(B);
    for _ in 0..3 {
        advance(Duration::from_secs(1)).await;
        let answer = other.heartbeat(heartbeat("m0", &mine)).await.unwrap();
        assert_eq!(answer.assignment, None, "it keeps what it has");
    }
    topics.set("orders", topic_id(1), 8);
    topics.set_fresh(true);
    advance(Duration::from_secs(10)).await;
    let answer = other.heartbeat(heartbeat("m0", &mine)).await.unwrap();
    assert_eq!((answer.epoch, answer.assignment), (mine.epoch, None));
    // Nor does a change of the members.
    topics.set_fresh(false);
    topics.clear();
    log.elect(A);
    let second = shard.join(join("m1")).await.unwrap();
    let mine = shard.heartbeat(heartbeat("m0", &mine)).await.unwrap();
    assert_eq!(held(&mine), 4);
    shard.heartbeat(heartbeat("m0", &mine)).await.unwrap();
    assert_eq!(held(&shard.heartbeat(heartbeat("m1", &second)).await.unwrap()), 4);
    // A leader that never learns how new its metadata are fences who is silent all the same.
    log.elect(B);
    let members =
        async || other.look(|state| Ok(state.group(&group()).unwrap().members().len())).await.unwrap();
    assert_eq!(members().await, 2);
    advance(Duration::from_secs(60)).await;
    timeout(SOON, async { while members().await > 0 {} }).await.expect("they are fenced");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_gives_the_same_groups_and_one_that_is_damaged_is_refused() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, _stopping) = start(&log, A, &topics);
    log.elect(A);
    let mine = shard.join(join("m0")).await.unwrap();
    shard.commit(commit(&mine, "m0", 1, 9)).await.unwrap();
    let (_, applied) = log.add(B);
    let snapshot = applied.applier().snapshot();
    let restored = highwater_coordinator::AppliedGroups::default();
    restored.applier().restore(&snapshot).unwrap();
    assert_eq!(restored.now(), applied.now());
    for length in 1..snapshot.len() {
        assert!(restored.applier().restore(&snapshot[..length]).is_err(), "{length} bytes of it");
    }
    assert_eq!(restored.now(), applied.now(), "what could not be read changed nothing");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_stopped_answers_at_once() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of("orders", 8));
    let (shard, stopping) = start(&log, A, &topics);
    log.elect(A);
    log.hold();
    let asking = tokio::spawn({
        let shard = shard.clone();
        async move { shard.join(join("m0")).await }
    });
    until("it takes over", || log.waiting() == 1).await;
    stopping.cancel();
    assert!(timeout(SOON, asking).await.unwrap().unwrap().is_err());
    assert!(timeout(SOON, shard.join(join("m0"))).await.unwrap().is_err());
}
