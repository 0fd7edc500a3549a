//! Each kind of broken promise is seen, and a kept one is not.

use super::*;

const ORDERS: Place = Place { topic: 0, partition: 0 };
const PLAIN: Place = Place { topic: 1, partition: 0 };
const SHORT: Place = Place { topic: 2, partition: 0 };
const ONE: Reader = Reader(1);

fn id(number: u64) -> RecordId {
    RecordId { producer: 1, number }
}

/// Records of these numbers were sent to `place` and acknowledged at offsets from 0 on.
fn acked(place: Place, numbers: &[u64]) -> History {
    let mut history = History::default();
    for (offset, number) in (0..).zip(numbers) {
        history.sending(id(*number), place);
        history.acked(id(*number), Offset(offset));
    }
    history
}

/// A reader gets these numbers at offsets from 0 on.
fn read(history: &mut History, place: Place, numbers: &[u64]) {
    history.begins(ONE, place, Offset::ZERO);
    for (offset, number) in (0..).zip(numbers) {
        history.read(ONE, place, Offset(offset), Some(id(*number)));
    }
}

/// The only promise that was broken.
#[track_caller]
fn only_broken(mut history: History) -> (Promise, u64) {
    let verdict = history.finish();
    let mut broken = Promise::ALL.into_iter().filter(|promise| verdict.broken(*promise) > 0);
    let promise = broken.next().expect("a broken promise");
    assert_eq!(broken.next(), None, "{verdict}");
    (promise, verdict.broken(promise))
}

#[test]
fn what_is_read_as_it_was_acknowledged_breaks_nothing() {
    let mut history = acked(ORDERS, &[0, 1, 2]);
    read(&mut history, ORDERS, &[0, 1, 2]);
    let again = Reader(2);
    history.begins(again, ORDERS, Offset(1));
    history.read(again, ORDERS, Offset(1), Some(id(1)));
    history.bounds(again, ORDERS, Offset(0), Offset(3), Offset(3));
    let verdict = history.finish();
    assert!(verdict.is_kept(), "{verdict}");
    assert_eq!((verdict.acked, verdict.read), (3, 3));
}

#[test]
fn an_acknowledged_record_that_nobody_read_is_lost_unless_retention_took_it() {
    let mut history = acked(ORDERS, &[0, 1]);
    read(&mut history, ORDERS, &[0]);
    assert_eq!(only_broken(history), (Promise::Lost, 1));
    let mut history = acked(SHORT, &[0, 1]);
    history.bounds(ONE, SHORT, Offset(2), Offset(2), Offset(2));
    assert!(history.finish().is_kept());
}

#[test]
fn two_values_at_one_offset_are_seen_whoever_saw_them() {
    let mut history = acked(ORDERS, &[0]);
    history.sending(id(1), ORDERS);
    history.acked(id(1), Offset(0));
    read(&mut history, ORDERS, &[0]);
    assert_eq!(only_broken(history), (Promise::TwoValues, 1));
    let mut history = acked(ORDERS, &[0]);
    read(&mut history, ORDERS, &[0]);
    history.sending(id(1), ORDERS);
    read(&mut history, ORDERS, &[1]);
    assert_eq!(only_broken(history), (Promise::TwoValues, 1));
}

#[test]
fn a_record_that_is_there_twice_is_a_duplicate_of_an_idempotent_producer_only() {
    let mut history = acked(ORDERS, &[0]);
    read(&mut history, ORDERS, &[0, 0]);
    assert_eq!(only_broken(history), (Promise::Once, 1));
    let mut history = acked(PLAIN, &[0, 1]);
    read(&mut history, PLAIN, &[0, 1, 0]);
    let verdict = history.finish();
    assert!(verdict.is_kept() && verdict.repeated == 1, "{verdict}");
}

#[test]
fn records_out_of_their_producers_order_are_seen() {
    for place in [ORDERS, PLAIN] {
        let mut history = acked(place, &[1, 0]);
        read(&mut history, place, &[1, 0]);
        assert_eq!(only_broken(history), (Promise::Order, 1));
    }
    // Without sequences, what was given up may arrive at any later time.
    let mut history = acked(PLAIN, &[1]);
    history.sending(id(0), PLAIN);
    history.failed(id(0), true);
    read(&mut history, PLAIN, &[1, 0]);
    assert!(history.finish().is_kept());
}

#[test]
fn a_record_that_certainly_failed_must_not_be_there_before_or_after() {
    for read_first in [true, false] {
        let mut history = History::default();
        history.sending(id(0), ORDERS);
        if read_first {
            read(&mut history, ORDERS, &[0]);
        }
        history.failed(id(0), false);
        if !read_first {
            read(&mut history, ORDERS, &[0]);
        }
        assert_eq!(only_broken(history), (Promise::CameBack, 1));
    }
}

#[test]
fn bytes_that_nobody_sent_or_not_there_are_seen() {
    let mut history = acked(ORDERS, &[0]);
    read(&mut history, ORDERS, &[0]);
    history.read(ONE, ORDERS, Offset(1), None);
    history.read(ONE, SHORT, Offset(0), Some(id(0)));
    assert_eq!(only_broken(history), (Promise::Altered, 2));
}

#[test]
fn a_reader_that_skips_or_goes_back_is_seen_and_retention_may_be_ahead_of_it() {
    let mut history = acked(ORDERS, &[0, 1, 2]);
    read(&mut history, ORDERS, &[0, 1, 2]);
    history.begins(Reader(2), ORDERS, Offset(0));
    history.read(Reader(2), ORDERS, Offset(2), Some(id(2)));
    assert_eq!(only_broken(history), (Promise::Skipped, 1));
    let mut history = acked(ORDERS, &[0, 1]);
    read(&mut history, ORDERS, &[0, 1]);
    history.read(ONE, ORDERS, Offset(0), Some(id(0)));
    assert_eq!(only_broken(history), (Promise::WentBack, 1));
    let mut history = acked(SHORT, &[0, 1, 2]);
    history.begins(ONE, SHORT, Offset(0));
    history.read(ONE, SHORT, Offset(2), Some(id(2)));
    history.bounds(Reader(2), SHORT, Offset(2), Offset(3), Offset(3));
    assert!(history.finish().is_kept());
}

#[test]
fn watermarks_that_go_back_are_seen() {
    let mut history = acked(ORDERS, &[0, 1]);
    read(&mut history, ORDERS, &[0, 1]);
    history.watermark(ONE, ORDERS, Offset(2));
    history.watermark(ONE, ORDERS, Offset(1));
    assert_eq!(only_broken(history), (Promise::Watermark, 1));
    let mut history = acked(ORDERS, &[0, 1]);
    read(&mut history, ORDERS, &[0, 1]);
    history.bounds(ONE, ORDERS, Offset(0), Offset(1), Offset(2));
    assert_eq!(only_broken(history), (Promise::Watermark, 1));
    let mut history = acked(SHORT, &[]);
    history.bounds(ONE, SHORT, Offset(5), Offset(9), Offset(0));
    history.bounds(Reader(2), SHORT, Offset(4), Offset(9), Offset(0));
    assert_eq!(only_broken(history), (Promise::LogStart, 1));
}
