//! Compares what was read with what was acknowledged. It trusts neither the cluster nor the client.

use std::collections::{HashMap, HashSet};

use highwater_types::Offset;

use super::replay::Seen;

/// What was wrong with one partition, in records. All of it must be 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Acknowledged, and not where the acknowledgement said.
    pub(super) lost: u64,
    /// There once more.
    pub(super) duplicated: u64,
    /// After one that was sent later.
    pub(super) reordered: u64,
    /// None that was sent, or changed.
    pub(super) altered: u64,
}

/// `acked` has number and offset of each acknowledged record; `seen` is in the order of reading.
pub(super) fn judge(acked: impl Iterator<Item = (u64, Offset)>, seen: &[Seen]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut numbers = HashSet::new();
    let mut newest = None;
    for number in seen.iter().map(|seen| seen.number) {
        match number {
            None => verdict.altered += 1,
            Some(number) if !numbers.insert(number) => verdict.duplicated += 1,
            Some(number) if newest.is_some_and(|newest| newest > number) => verdict.reordered += 1,
            Some(_) => newest = number,
        }
    }
    let at: HashMap<Offset, Option<u64>> = seen.iter().map(|seen| (seen.offset, seen.number)).collect();
    for (number, offset) in acked {
        if at.get(&offset) != Some(&Some(number)) {
            verdict.lost += 1;
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(acked: &[(u64, i64)], seen: &[Option<u64>]) -> Verdict {
        let seen: Vec<Seen> =
            (0..).zip(seen).map(|(offset, number)| Seen { offset: Offset(offset), number: *number }).collect();
        judge(acked.iter().map(|(number, offset)| (*number, Offset(*offset))), &seen)
    }

    #[test]
    fn each_kind_of_broken_promise_is_seen_and_a_kept_one_is_not() {
        let none = Verdict::default();
        let acked = [(0, 0), (1, 1), (2, 2)];
        assert_eq!(judged(&acked, &[Some(0), Some(1), Some(2)]), none);
        // What was never acknowledged may be there or not.
        assert_eq!(judged(&acked, &[Some(0), Some(1), Some(2), Some(3)]), none);
        assert_eq!(judged(&acked, &[Some(0), Some(1)]), Verdict { lost: 1, ..none });
        assert_eq!(judged(&acked, &[Some(0), Some(1), Some(2), Some(1)]), Verdict { duplicated: 1, ..none });
        assert_eq!(judged(&[], &[Some(0), Some(2), Some(1)]), Verdict { reordered: 1, ..none });
        assert_eq!(judged(&acked, &[Some(0), None, Some(2)]), Verdict { lost: 1, altered: 1, ..none });
        assert_eq!(judged(&acked, &[Some(1), Some(0), Some(2)]), Verdict { lost: 2, reordered: 1, ..none });
    }
}
