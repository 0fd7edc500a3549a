//! A member alone: what it says, and what it makes of what it hears. The model check has both sides together.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

use std::time::Duration;

use highwater_groups::membership::{Ask, Change, MemberRequest, Sent, Verdict};
use highwater_groups::{Epoch, MemberAnswer, Membership, PartitionSet, Revision, Uptime};
use highwater_types::{ErrorCode, PartitionId, PartitionIndex, TopicId};

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Uptime {
    Uptime(Duration::from_secs(seconds))
}

fn set(numbers: &[u32]) -> PartitionSet {
    let topic = TopicId(uuid::Uuid::from_u128(1));
    numbers.iter().map(|number| PartitionId { topic, index: PartitionIndex(*number) }).collect()
}

fn assigned(numbers: &[u32]) -> Change {
    Change { assigned: set(numbers), ..Change::default() }
}

fn revoked(numbers: &[u32]) -> Change {
    Change { revoked: set(numbers), ..Change::default() }
}

fn lost(numbers: &[u32]) -> Change {
    Change { lost: set(numbers), ..Change::default() }
}

/// An answer of this revision, in the epoch of the same number.
fn answer(revision: u32, assignment: Option<&[u32]>, is_to_give_up: bool) -> MemberAnswer {
    let assignment = assignment.map(set);
    MemberAnswer { epoch: Epoch(revision), revision: Revision(revision), assignment, is_to_give_up }
}

fn hear(member: &mut Membership, sent: Sent, now: u64, answer: &MemberAnswer) -> Change {
    member.answered(sent, at(now), answer, SESSION)
}

/// A member of revision 1 that joined at 0 s and owns partitions 0 and 1.
fn member_of_two() -> Membership {
    let mut member = Membership::new(REBALANCE);
    let MemberRequest { sent, ask } = member.request(at(0));
    assert_eq!(ask, Ask::Join);
    assert_eq!(hear(&mut member, sent, 0, &answer(1, Some(&[0, 1]), false)), assigned(&[0, 1]));
    member
}

/// The same, after it was told at 10 s to give up partition 1.
fn member_giving_up() -> Membership {
    let mut member = member_of_two();
    let sent = member.request(at(10)).sent;
    assert_eq!(hear(&mut member, sent, 10, &answer(2, Some(&[0]), true)), revoked(&[1]));
    member
}

#[test]
fn a_join_without_an_answer_is_repeated_and_a_late_answer_to_the_first_counts() {
    let mut member = Membership::new(REBALANCE);
    let first = member.request(at(0)).sent;
    assert_eq!(member.request(at(5)).ask, Ask::Join);
    assert_eq!(hear(&mut member, first, 6, &answer(1, Some(&[0]), false)), assigned(&[0]));
    assert_eq!((member.epoch(), member.session_until()), (Some(Epoch(1)), Some(at(45))));
}

#[test]
fn an_answer_that_comes_when_its_session_is_over_makes_no_member() {
    let mut member = Membership::new(REBALANCE);
    let sent = member.request(at(0)).sent;
    assert!(hear(&mut member, sent, 45, &answer(1, Some(&[0]), false)).is_empty());
    assert!(!member.is_member());
    assert_eq!(member.request(at(45)).ask, Ask::Join);
}

#[test]
fn what_was_given_up_is_said_until_it_was_heard() {
    let mut member = member_giving_up();
    let heartbeat = |owned| Ask::Heartbeat { epoch: Epoch(2), seen: Revision(2), owned };
    let MemberRequest { sent: early, ask } = member.request(at(11));
    assert_eq!(ask, heartbeat(None), "it has given nothing up");
    assert!(member.released(&set(&[1])).is_empty());
    assert!(member.is_due());
    assert_eq!(member.request(at(12)).ask, heartbeat(Some(set(&[0]))));
    assert!(!member.is_due(), "it is on its way");
    assert!(hear(&mut member, early, 12, &answer(2, None, true)).is_empty());
    let MemberRequest { sent, ask } = member.request(at(13));
    assert_eq!(ask, heartbeat(Some(set(&[0]))), "what was answered was sent before");
    assert!(hear(&mut member, sent, 13, &answer(2, None, false)).is_empty());
    assert_eq!(member.request(at(14)).ask, heartbeat(None));
}

#[test]
fn an_answer_from_before_it_was_heard_asks_for_nothing_again() {
    let mut member = member_giving_up();
    let early = member.request(at(11)).sent;
    assert!(member.released(&set(&[1])).is_empty());
    let sent = member.request(at(12)).sent;
    assert!(hear(&mut member, sent, 12, &answer(2, None, false)).is_empty());
    assert!(hear(&mut member, early, 13, &answer(2, None, true)).is_empty());
    assert_eq!((member.release_by(), member.is_due()), (None, false));
}

#[test]
fn who_is_to_give_up_what_it_never_heard_of_says_so_at_once() {
    let mut member = member_of_two();
    let sent = member.request(at(1)).sent;
    assert!(hear(&mut member, sent, 1, &answer(3, Some(&[0, 1]), true)).is_empty());
    assert!(member.is_due());
    let Ask::Heartbeat { owned, .. } = member.request(at(1)).ask else { panic!("it is a member") };
    assert_eq!(owned, Some(set(&[0, 1])));
}

#[test]
fn outdated_answers_say_nothing() {
    let mut member = member_of_two();
    let (first, second) = (member.request(at(1)).sent, member.request(at(2)).sent);
    assert_eq!(hear(&mut member, second, 3, &answer(3, Some(&[0]), false)), revoked(&[1]));
    assert!(hear(&mut member, first, 4, &answer(2, Some(&[0, 1, 2]), false)).is_empty());
    assert_eq!((member.epoch(), member.owned()), (Some(Epoch(3)), set(&[0, 1])));
}

#[test]
fn a_partition_that_comes_back_while_it_is_given_up_begins_when_it_was_given_up() {
    let mut member = member_giving_up();
    let sent = member.request(at(11)).sent;
    assert!(hear(&mut member, sent, 11, &answer(3, Some(&[0, 1]), false)).is_empty());
    assert_eq!((member.owned(), member.giving_up()), (set(&[0, 1]), set(&[1])));
    assert_eq!(member.released(&set(&[1])), assigned(&[1]));
}

#[test]
fn nothing_is_released_that_is_not_being_given_up() {
    let mut member = member_giving_up();
    assert!(member.released(&set(&[0, 5])).is_empty());
    assert_eq!(member.owned(), set(&[0, 1]));
    assert!(!member.is_due());
}

#[test]
fn a_session_runs_from_when_the_last_answered_request_was_sent() {
    let mut member = member_of_two();
    let sent = member.request(at(10)).sent;
    assert!(hear(&mut member, sent, 20, &answer(1, None, false)).is_empty());
    let silent = member.request(at(20)).sent;
    assert_eq!(member.deadline(), Some(at(55)));
    assert!(member.tick(at(54)).is_empty());
    assert_eq!(member.tick(at(55)), lost(&[0, 1]));
    assert_eq!((member.epoch(), member.owned()), (None, set(&[])));
    assert!(hear(&mut member, silent, 56, &answer(1, None, false)).is_empty());
    assert!(!member.is_member());
}

#[test]
fn an_answer_that_comes_after_the_session_loses_everything_first() {
    let mut member = member_of_two();
    let sent = member.request(at(40)).sent;
    assert_eq!(hear(&mut member, sent, 46, &answer(1, None, false)), lost(&[0, 1]));
    assert_eq!(member.request(at(46)).ask, Ask::Join);
}

#[test]
fn who_takes_too_long_to_give_up_loses_everything() {
    let mut member = member_giving_up();
    for now in [30, 50, 69] {
        let sent = member.request(at(now)).sent;
        assert!(hear(&mut member, sent, now, &answer(2, None, true)).is_empty());
    }
    assert_eq!((member.release_by(), member.deadline()), (Some(at(70)), Some(at(70))));
    assert_eq!(member.tick(at(70)), lost(&[0, 1]));
}

#[test]
fn what_was_given_up_in_time_and_not_heard_counts_as_not_given_up() {
    let mut member = member_giving_up();
    assert!(member.released(&set(&[1])).is_empty());
    let sent = member.request(at(30)).sent;
    assert!(hear(&mut member, sent, 30, &answer(2, None, true)).is_empty());
    assert_eq!(member.release_by(), Some(at(70)));
    let sent = member.request(at(40)).sent;
    assert!(hear(&mut member, sent, 40, &answer(2, None, false)).is_empty());
    assert_eq!(member.release_by(), None);
}

#[test]
fn a_member_that_is_unknown_joins_under_a_new_id_and_one_that_is_fenced_under_its_own() {
    for (code, is_new_id) in [(ErrorCode::UnknownMember, true), (ErrorCode::FencedMember, false)] {
        let mut member = member_giving_up();
        let sent = member.request(at(11)).sent;
        assert_eq!(member.refused(sent, code), Verdict::JoinAs { is_new_id, lost: set(&[0, 1]) });
        assert_eq!(member.request(at(11)).ask, Ask::Join);
    }
}

#[test]
fn a_refusal_counts_for_the_last_request_only() {
    let mut member = member_of_two();
    let (first, last) = (member.request(at(1)).sent, member.request(at(2)).sent);
    assert_eq!(member.refused(first, ErrorCode::FencedMember), Verdict::Outdated);
    assert_eq!(member.refused(last, ErrorCode::NotLeader), Verdict::Again);
    assert_eq!(member.owned(), set(&[0, 1]));
}

#[test]
fn a_place_that_is_taken_can_be_had_later_and_what_is_invalid_never() {
    let mut member = Membership::new(REBALANCE);
    let sent = member.request(at(0)).sent;
    assert_eq!(member.refused(sent, ErrorCode::InstanceInUse), Verdict::PlaceTaken);
    assert_eq!(member.refused(sent, ErrorCode::InvalidRequest), Verdict::Fatal);
}
