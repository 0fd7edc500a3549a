//! Numbers as people read them.

use std::time::Duration;

/// A number of things with their name: `1 record`, `2 records`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A number of bytes, for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut amount = count as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// How long something is, in its largest unit and the one below it: `3d 4h`, `5m 2s`, `12s`.
pub(crate) fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = duration.as_secs();
    let Some(first) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else { return "0s".to_owned() };
    let (unit, name) = UNITS[first];
    let rest = UNITS.get(first + 1).map(|(next, name)| (seconds % unit / next, name));
    match rest {
        Some((count, rest_name)) if count > 0 => format!("{}{name} {count}{rest_name}", seconds / unit),
        _ => format!("{}{name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        for (count, expected) in [(0, "0 records"), (1, "1 record"), (2, "2 records")] {
            assert_eq!(counted(count, "record"), expected);
        }
    }

    #[test]
    fn sizes_have_one_decimal() {
        for (count, expected) in
            [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (999_999, "1.0 MB"), (52_000_000, "52.0 MB")]
        {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (302, "5m 2s"), (3600, "1h"), (90_061, "1d 1h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }
}
