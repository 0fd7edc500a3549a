//! Range: each topic is cut into one run for each of its readers, of equal lengths within one.
//!
//! Readers come in the order of what they had before, and who is new comes last: so a join or a leave shifts the
//! ends of runs and does not deal everything anew. The order is the same for all topics, so those with the same
//! readers and counts are cut at the same places.

use super::roster::{Number, Roster};

/// The partitions of each candidate.
pub(super) fn assign(roster: &Roster<'_>) -> Vec<Vec<Number>> {
    let before = |candidate: usize| {
        let first = roster.candidates()[candidate].before.iter().map(|partition| partition.index.0).min();
        first.unwrap_or(u32::MAX)
    };
    let mut order: Vec<usize> = (0..roster.candidates().len()).collect();
    order.sort_by_cached_key(|candidate| before(*candidate));
    let mut readers = vec![Vec::new(); roster.topics().len()];
    for candidate in order {
        roster.candidates()[candidate].topics.iter().for_each(|topic| readers[*topic].push(candidate));
    }
    let mut dealt = vec![Vec::new(); roster.candidates().len()];
    for (topic, readers) in readers.iter().enumerate().filter(|(_, readers)| !readers.is_empty()) {
        let numbers = roster.numbers(topic);
        let (quota, extras) = (numbers.len() / readers.len(), numbers.len() % readers.len());
        let mut numbers = numbers;
        for (place, reader) in readers.iter().enumerate() {
            let run = quota + usize::from(place < extras);
            dealt[*reader].extend(numbers.by_ref().take(run));
        }
    }
    dealt
}
