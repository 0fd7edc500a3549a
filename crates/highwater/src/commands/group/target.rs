//! Where a group's offsets are to be set to, as it is typed: what `consume --from` takes, or so many records on or back.

use highwater_client::StartPosition;

use crate::commands::consume::start;

/// What `--to` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A place in the log.
    At(StartPosition),
    /// So many records after what is committed; before it if negative.
    By(i64),
}

/// A sign and nothing but digits is a number of records; with a unit, such as in -1h, it is how long ago.
pub(super) fn parse(text: &str) -> Result<Target, String> {
    let digits = text.strip_prefix(['+', '-']).filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(Ok(by)) = digits.map(|_| text.parse()) {
        return Ok(Target::By(by));
    }
    start::parse(text)
        .map(Target::At)
        .map_err(|expected| format!("{expected}, or records on or back from what is committed (+100, -100)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::Offset;

    #[test]
    fn a_signed_number_counts_records_and_a_span_is_a_time() {
        for (text, by) in [("+100", 100), ("-5", -5), ("-0", 0)] {
            assert_eq!(parse(text), Ok(Target::By(by)), "{text}");
        }
        for (text, at) in [("earliest", StartPosition::Earliest), ("17", StartPosition::Offset(Offset(17)))] {
            assert_eq!(parse(text), Ok(Target::At(at)), "{text}");
        }
        for text in ["-1h", "2023-11-14T22:13:20Z", "1700000000000"] {
            assert!(matches!(parse(text), Ok(Target::At(StartPosition::Time(_)))), "{text}");
        }
        for text in ["+", "-", "+1h", "first", "+99999999999999999999"] {
            assert!(parse(text).is_err_and(|error| error.contains("records on or back")), "{text}");
        }
    }
}
