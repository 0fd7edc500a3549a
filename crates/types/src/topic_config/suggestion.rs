//! Finds the known name that a mistyped one was meant to be. Pure, and bounded by
//! the lengths of the known names whatever it is given.

/// The nearest of `known`, when it is near enough to be meant: at most a third of
/// the name's letters differ. The first in order wins a tie.
pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let folded = fold(name);
    known
        .filter(|candidate| candidate.len().abs_diff(folded.len()) <= candidate.len() / 3)
        .map(|candidate| (edit_distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The name with the differences removed that people make most: case, and the
/// separators of other configuration languages.
fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '-'], ".")
}

/// The Levenshtein distance in bytes, with one row of memory.
fn edit_distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_inserted_removed_and_replaced_letters() {
        for (left, right, distance) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!(edit_distance(left, right), distance);
            assert_eq!(edit_distance(right, left), distance);
        }
    }

    #[test]
    fn a_name_far_from_all_has_no_suggestion() {
        let known = ["retention.ms", "segment.bytes"];
        assert_eq!(nearest("retention_ms", known.into_iter()), Some("retention.ms"));
        assert_eq!(nearest("segmnt.bytes", known.into_iter()), Some("segment.bytes"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known.into_iter()), None);
    }
}
