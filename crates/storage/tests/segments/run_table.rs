//! The run table against a plain list of batches.

use highwater_storage::segment::{
    RUN_RECORD_BYTES_MAX, RunBatch, RunRecord, RunTable, SEGMENT_RECORD_BYTES_MAX, SegmentManifest,
    SegmentRecord,
};
use highwater_types::{FilePosition, Offset, RaftIndex, Term};

use prost::Message;

use crate::support::Rng;

#[test]
fn the_run_table_answers_as_a_list_of_all_batches_does() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut table = RunTable::new(Offset(3));
        let mut list: Vec<(RunBatch, u32)> = Vec::new();
        let mut next = RunBatch {
            index: RaftIndex(1),
            term: Term(1),
            base_offset: Offset(3),
            next_offset: Offset(3),
            segment: Offset(3),
            position: FilePosition(0),
        };
        let mut ordinal = 0;
        for _ in 0..rng.below(60) {
            match rng.below(10) {
                0 => next.term = Term(next.term.0 + 1),
                1 => next.index = RaftIndex(next.index.0 + rng.below(4)),
                2 if next.position > FilePosition::ZERO => {
                    (next.segment, next.position, ordinal) = (next.base_offset, FilePosition::ZERO, 0);
                }
                3 if rng.below(3) == 0 => {
                    // Retention drops whole segments.
                    let before = list.get(list.len() / 2).map_or(Offset(0), |(batch, _)| batch.segment);
                    list.retain(|(batch, _)| batch.segment >= before);
                    table.drop_before(before);
                }
                _ => {}
            }
            next.next_offset = next.base_offset.plus(1 + rng.below(5) as i64);
            table.push(next);
            list.push((next, ordinal));
            next.index = next.index.next();
            next.base_offset = next.next_offset;
            next.position = FilePosition(next.position.0 + 100);
            ordinal += 1;
        }
        compare(&table, &list, next.base_offset);
    }
}

fn compare(table: &RunTable, list: &[(RunBatch, u32)], end: Offset) {
    assert_eq!(table.next_offset(), end);
    assert_eq!(table.last_index(), list.last().map(|(batch, _)| batch.index));
    for offset in 0..end.0 + 3 {
        let covers = |batch: &RunBatch| batch.base_offset.0 <= offset && offset < batch.next_offset.0;
        let term = list.iter().find(|(batch, _)| covers(batch)).map(|(batch, _)| batch.term);
        assert_eq!(table.term_at(Offset(offset)), term, "offset {offset}");
    }
    let last = list.last().map_or(0, |(batch, _)| batch.index.0);
    for index in (0..last + 3).map(RaftIndex) {
        let due = list.iter().find(|(batch, _)| batch.index == index);
        let found = table.locate(index);
        let found = found.map(|found| (found.run.term, found.run.segment, found.ordinal));
        assert_eq!(found, due.map(|(batch, ordinal)| (batch.term, batch.segment, *ordinal)), "index {index}");
        let due = list.iter().map(|(batch, _)| batch.index).find(|held| *held >= index);
        assert_eq!(table.next_batch_index(index), due, "from index {index}");
    }
    for term in (0..last + 3).map(Term) {
        let due = list.iter().rev().find(|(batch, _)| batch.term <= term);
        let due = due.map(|(batch, _)| (batch.term, batch.next_offset));
        assert_eq!(table.end_offset_for_term(term), due, "term {term}");
    }
}

#[test]
#[should_panic(expected = "does not follow")]
fn an_index_that_goes_back_is_a_broken_invariant() {
    let mut table = RunTable::new(Offset(0));
    let batch = RunBatch {
        index: RaftIndex(4),
        term: Term(1),
        base_offset: Offset(0),
        next_offset: Offset(1),
        segment: Offset(0),
        position: FilePosition(0),
    };
    table.push(batch);
    let again = RunBatch { base_offset: Offset(1), next_offset: Offset(2), ..batch };
    table.push(again);
}

#[test]
fn a_manifest_is_no_larger_than_it_says() {
    let segment = SegmentRecord {
        base_offset: i64::MAX,
        next_offset: i64::MAX,
        size: u64::MAX,
        max_timestamp: Some(-1),
        max_timestamp_batch: i64::MAX,
        created_ms: Some(-1),
        sealed: true,
        index_entries: u32::MAX,
    };
    let run = RunRecord {
        first_index: u64::MAX,
        term: u64::MAX,
        first_offset: i64::MAX,
        segment: i64::MAX,
        position: u64::MAX,
        ordinal: u32::MAX,
        batches: u32::MAX,
    };
    let manifest = SegmentManifest {
        next_offset: i64::MAX,
        segments: vec![segment; 3],
        runs: vec![run; 5],
        last_index: Some(u64::MAX),
        last_term: Some(u64::MAX),
    };
    let bound = 64 + 3 * SEGMENT_RECORD_BYTES_MAX + 5 * RUN_RECORD_BYTES_MAX;
    assert!(manifest.encoded_len() <= bound, "{} > {bound}", manifest.encoded_len());
}
