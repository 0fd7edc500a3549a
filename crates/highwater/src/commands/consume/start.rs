//! Where to begin, as it is typed: `earliest`, `latest`, an offset, a time, or how long ago.

use std::time::UNIX_EPOCH;

use highwater_client::StartPosition;
use highwater_types::{Clock as _, Offset, SystemClock, TimestampMs};

/// A plain number of at least this is a time in milliseconds (from 2001 on), a smaller one an offset.
const TIME_MS_MIN: i64 = 1_000_000_000_000;

/// What `--from` means.
pub(crate) fn parse(text: &str) -> Result<StartPosition, String> {
    parse_at(text, SystemClock.now())
}

fn parse_at(text: &str, now: TimestampMs) -> Result<StartPosition, String> {
    match text {
        "earliest" => return Ok(StartPosition::Earliest),
        "latest" => return Ok(StartPosition::Latest),
        _ => {}
    }
    if let Some(age) = text.strip_prefix('-')
        && let Ok(age) = humantime::parse_duration(age)
    {
        return Ok(StartPosition::Time(now.before(age)));
    }
    if let Ok(number) = text.parse::<i64>()
        && number >= 0
    {
        return Ok(if number >= TIME_MS_MIN {
            StartPosition::Time(TimestampMs(number))
        } else {
            StartPosition::Offset(Offset(number))
        });
    }
    timestamp_from_rfc3339(text).map(StartPosition::Time).ok_or_else(|| {
        "expected earliest, latest, an offset, a time (2026-01-31T12:00:00Z, or milliseconds since 1970), \
         or how long ago (-1h, -30m)"
            .to_owned()
    })
}

/// A time as RFC 3339 has it, with any offset from UTC. `None` if it is none, or lies before 1970.
pub(crate) fn timestamp_from_rfc3339(text: &str) -> Option<TimestampMs> {
    let (local, ahead) = split_zone(text)?;
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    let local_ms = i64::try_from(since_epoch.as_millis()).ok()?;
    local_ms.checked_sub(ahead).filter(|utc| *utc >= 0).map(TimestampMs)
}

/// Splits off the zone; returns how far it is ahead of UTC, in milliseconds.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let is_number = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some((local, sign * (hours * 60 + minutes) * 60_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let now = TimestampMs(10_000_000_000);
        for (text, expected) in [
            ("earliest", StartPosition::Earliest),
            ("latest", StartPosition::Latest),
            ("0", StartPosition::Offset(Offset(0))),
            ("123456", StartPosition::Offset(Offset(123_456))),
            ("1700000000000", StartPosition::Time(TimestampMs(1_700_000_000_000))),
            ("-1h", StartPosition::Time(TimestampMs(10_000_000_000 - 3_600_000))),
            ("-1h 30m", StartPosition::Time(TimestampMs(10_000_000_000 - 5_400_000))),
            ("2023-11-14T22:13:20Z", StartPosition::Time(TimestampMs(1_700_000_000_000))),
            ("2023-11-14T22:13:20.5z", StartPosition::Time(TimestampMs(1_700_000_000_500))),
            ("2023-11-15T00:13:20+02:00", StartPosition::Time(TimestampMs(1_700_000_000_000))),
            ("2023-11-14T16:43:20-05:30", StartPosition::Time(TimestampMs(1_700_000_000_000))),
        ] {
            assert_eq!(parse_at(text, now), Ok(expected), "{text}");
        }
        assert_eq!(timestamp_from_rfc3339("1970-01-01T00:00:00.123Z"), Some(TimestampMs(123)));
        assert_eq!(timestamp_from_rfc3339("1970-01-01T00:00:00+01:00"), None, "before 1970");
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for text in [
            "",
            "first",
            "-5",
            "-",
            "1h",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20+2:00",
            "é+02:00",
        ] {
            let error = parse_at(text, TimestampMs(0)).expect_err(text);
            assert!(error.contains("expected earliest"), "{text}: {error}");
        }
    }
}
