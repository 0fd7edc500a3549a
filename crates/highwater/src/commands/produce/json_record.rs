//! One record as a JSON object: what `consume --format json` prints, `produce --format json` takes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use highwater_client::{Header, ProducerRecord};
use highwater_types::{PartitionIndex, TimestampMs};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::commands::consume::start::timestamp_from_rfc3339;

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonRecordError {
    #[error("not a record: {}", without_line(.0))]
    Json(serde_json::Error),
    #[error("not a record: an object was expected")]
    NotAnObject,
    #[error("no \"value\"; a record without one has \"value\": null")]
    NoValue,
    #[error("both {0:?} and \"{0}_base64\"")]
    Twice(&'static str),
    #[error("\"{field}_base64\" is not base64: {cause}")]
    Base64 { field: &'static str, cause: base64::DecodeError },
    #[error("\"timestamp\" is neither milliseconds since 1970 nor RFC 3339 (2026-01-31T12:00:00Z)")]
    Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_base64: Option<String>,
    /// Absent and null are different.
    #[serde(default, deserialize_with = "present")]
    value: Option<Option<String>>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    partition: Option<u32>,
    /// Where the record was when it was consumed; the new place is another.
    #[serde(default, rename = "offset")]
    _offset: serde::de::IgnoredAny,
    #[serde(default, rename = "topic")]
    _topic: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Timestamp {
    Milliseconds(i64),
    Text(String),
}

#[derive(Default)]
struct Headers(Vec<HeaderLine>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
}

/// The record that a line describes.
pub(crate) fn parse(line: &[u8]) -> Result<ProducerRecord, JsonRecordError> {
    // A list would be taken for the fields in their order.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(JsonRecordError::NotAnObject);
    }
    let line: Line = serde_json::from_slice(line).map_err(JsonRecordError::Json)?;
    if line.value.is_none() && line.value_base64.is_none() {
        return Err(JsonRecordError::NoValue);
    }
    if line.value.is_some() && line.value_base64.is_some() {
        return Err(JsonRecordError::Twice("value"));
    }
    let timestamp = match line.timestamp {
        None => None,
        Some(Timestamp::Milliseconds(timestamp)) if timestamp >= 0 => Some(TimestampMs(timestamp)),
        Some(Timestamp::Milliseconds(_)) => return Err(JsonRecordError::Timestamp),
        Some(Timestamp::Text(text)) => Some(timestamp_from_rfc3339(&text).ok_or(JsonRecordError::Timestamp)?),
    };
    Ok(ProducerRecord {
        key: text_or_base64(line.key, line.key_base64, "key")?,
        value: text_or_base64(line.value.flatten(), line.value_base64, "value")?,
        headers: line.headers.0.into_iter().map(header).collect::<Result<_, _>>()?,
        timestamp,
        partition: line.partition.map(PartitionIndex),
    })
}

fn header(line: HeaderLine) -> Result<Header, JsonRecordError> {
    let key = text_or_base64(line.key, line.key_base64, "key")?;
    Ok(Header::new(key.unwrap_or_default(), text_or_base64(line.value, line.value_base64, "value")?))
}

fn text_or_base64(
    text: Option<String>,
    base64: Option<String>,
    field: &'static str,
) -> Result<Option<Bytes>, JsonRecordError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(JsonRecordError::Twice(field)),
        (Some(text), None) => Ok(Some(Bytes::from(text))),
        (None, Some(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(cause) => Err(JsonRecordError::Base64 { field, cause }),
        },
        (None, None) => Ok(None),
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// A line is one line: only the column says anything.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&end) {
        Some(reason) if error.column() > 0 => format!("{reason} at column {}", error.column()),
        _ => text,
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeadersVisitor)
    }
}

/// Headers are an object of strings, or a list where names repeat or bytes are not text.
struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers: an object of strings, or a list of objects with key and value")
    }

    fn visit_unit<E>(self) -> Result<Headers, E> {
        Ok(Headers::default())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Headers, M::Error> {
        let mut headers = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
            headers.push(HeaderLine { key: Some(key), key_base64: None, value, value_base64: None });
        }
        Ok(Headers(headers))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Headers, S::Error> {
        let mut headers = Vec::new();
        while let Some(header) = seq.next_element::<HeaderLine>()? {
            if header.key.is_none() && header.key_base64.is_none() {
                return Err(S::Error::custom("a header without a key"));
            }
            headers.push(header);
        }
        Ok(Headers(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_object_becomes_a_full_record() {
        let line = r#"{"key":"k","value":"v\né","headers":{"a":"1","b":null},"timestamp":1700000000000,"partition":3}"#;
        let record = parse(line.as_bytes()).expect("a record");
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.value.as_deref(), Some("v\né".as_bytes()));
        assert_eq!(record.headers, [Header::new("a", Some("1".into())), Header::new("b", None)]);
        assert_eq!(record.timestamp, Some(TimestampMs(1_700_000_000_000)));
        assert_eq!(record.partition, Some(PartitionIndex(3)));
    }

    #[test]
    fn bytes_that_are_no_text_come_as_base64() {
        let line = br#"{"key_base64":"/w==","value":null,"headers":[{"key":"h","value_base64":"AA=="}],"timestamp":"1970-01-01T00:00:01Z"}"#;
        let record = parse(line).expect("a record");
        assert_eq!(record.key.as_deref(), Some(&[0xff][..]));
        assert_eq!(record.value, None);
        assert_eq!(record.headers, [Header::new("h", Some(Bytes::from_static(&[0])))]);
        assert_eq!(record.timestamp, Some(TimestampMs(1000)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, expected) in [
            (r#"{"key":"k"}"#, "no \"value\""),
            (r#"{"vaule":"v"}"#, "unknown field `vaule`"),
            (r#"{"value":{"a":1}}"#, "invalid type: map, expected a string at column"),
            (r#"{"value":"v""#, "EOF while parsing an object at column"),
            (r#"{"value":"v","value_base64":""}"#, "both \"value\" and \"value_base64\""),
            (r#"{"value_base64":"?"}"#, "\"value_base64\" is not base64"),
            (r#"{"value":"v","timestamp":"yesterday"}"#, "\"timestamp\" is neither"),
            (r#"{"value":"v","headers":[{"value":"x"}]}"#, "a header without a key"),
            (r#"{"value":"v","headers":7}"#, "expected headers"),
            (r#"["v"]"#, "not a record"),
        ] {
            let error = parse(line.as_bytes()).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
