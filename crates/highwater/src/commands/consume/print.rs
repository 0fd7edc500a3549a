//! Records as they are printed.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use highwater_client::{Header, Record};
use highwater_types::{PartitionIndex, TimestampMs};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

/// The value's bytes and a newline; of a tombstone only the newline.
pub(crate) fn value(out: &mut impl Write, record: &Record) -> io::Result<()> {
    out.write_all(record.value.as_deref().unwrap_or_default())?;
    out.write_all(b"\n")
}

/// The record as an object on one line.
pub(crate) fn json(out: &mut impl Write, partition: PartitionIndex, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &JsonRecord { partition, record })?;
    out.write_all(b"\n")
}

struct JsonRecord<'a> {
    partition: PartitionIndex,
    record: &'a Record,
}

impl Serialize for JsonRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("partition", &self.partition.0)?;
        map.serialize_entry("offset", &record.offset.0)?;
        if record.timestamp != TimestampMs::NONE {
            map.serialize_entry("timestamp", &record.timestamp.0)?;
        }
        bytes_entry(&mut map, ["key", "key_base64"], record.key.as_deref())?;
        bytes_entry(&mut map, ["value", "value_base64"], record.value.as_deref())?;
        if !record.headers.is_empty() {
            map.serialize_entry("headers", &JsonHeaders(&record.headers))?;
        }
        map.end()
    }
}

struct JsonHeaders<'a>(&'a [Header]);

impl Serialize for JsonHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for header in self.0 {
            list.serialize_element(&JsonHeader(header))?;
        }
        list.end()
    }
}

struct JsonHeader<'a>(&'a Header);

impl Serialize for JsonHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        bytes_entry(&mut map, ["key", "key_base64"], Some(&self.0.key))?;
        bytes_entry(&mut map, ["value", "value_base64"], self.0.value.as_deref())?;
        map.end()
    }
}

/// Text under the first name, other bytes as base64 under the second.
fn bytes_entry<M: serde::ser::SerializeMap>(
    map: &mut M,
    [text_name, base64_name]: [&'static str; 2],
    bytes: Option<&[u8]>,
) -> Result<(), M::Error> {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => map.serialize_entry(text_name, &()),
        Some((Ok(text), _)) => map.serialize_entry(text_name, text),
        Some((Err(_), bytes)) => map.serialize_entry(base64_name, &STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use highwater_types::Offset;

    fn record() -> Record {
        Record {
            offset: Offset(7),
            timestamp: TimestampMs(1000),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v\n")),
            headers: Vec::new(),
        }
    }

    fn print_json(record: &Record) -> String {
        let mut out = Vec::new();
        json(&mut out, PartitionIndex(2), record).expect("memory takes it");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn text_is_text_and_other_bytes_are_base64() {
        assert_eq!(
            print_json(&record()),
            "{\"partition\":2,\"offset\":7,\"timestamp\":1000,\"key\":\"k\",\"value\":\"v\\n\"}\n"
        );
        let headers = vec![Header::new("h", Some(Bytes::from_static(&[0xfe]))), Header::new("h", None)];
        let binary = Record { value: Some(Bytes::from_static(&[0xff])), key: None, headers, ..record() };
        assert_eq!(
            print_json(&binary),
            "{\"partition\":2,\"offset\":7,\"timestamp\":1000,\"key\":null,\"value_base64\":\"/w==\",\
             \"headers\":[{\"key\":\"h\",\"value_base64\":\"/g==\"},{\"key\":\"h\",\"value\":null}]}\n"
        );
    }

    #[test]
    fn what_is_printed_can_be_produced() {
        let headers = vec![Header::new("h", Some(Bytes::from_static(&[0xfe]))), Header::new("h", None)];
        let printed = print_json(&Record { headers: headers.clone(), ..record() });
        let again = crate::commands::produce::json_record::parse(printed.as_bytes()).expect("a record");
        assert_eq!((again.key, again.value, again.headers), (record().key, record().value, headers));
        assert_eq!(again.partition, Some(PartitionIndex(2)));
    }

    #[test]
    fn a_value_is_its_bytes_and_a_newline() {
        let mut out = Vec::new();
        value(&mut out, &record()).expect("memory takes it");
        value(&mut out, &Record { value: None, ..record() }).expect("memory takes it");
        assert_eq!(out, b"v\n\n\n");
    }
}
