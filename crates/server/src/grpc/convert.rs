//! Messages of the API to requests of the broker and back. What is wrong with the shape of a
//! message (a missing oneof, text that is no UUID) is found here; everything else is
//! the broker's to judge.

use std::time::Duration;

use bytes::Bytes;
use highwater_broker::{BrokerError, Fetched, NewRecord, ProduceData, Produced, TopicRef};
use highwater_proto::v1;
use highwater_records::Header;
use highwater_types::{Offset, TimestampMs, TopicId, limits};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

/// A topic as a request names it.
pub(crate) fn topic_ref(name: String, id: &str) -> Result<TopicRef, BrokerError> {
    if name.is_empty() {
        return Err(BrokerError::invalid_request("the topic's name is missing"));
    }
    let id = match id {
        "" => None,
        text => Some(topic_id(text).map_err(|error| error.with_topic(name.clone()))?),
    };
    Ok(TopicRef { name, id })
}

/// A topic's id as a request gives it.
pub(crate) fn topic_id(text: &str) -> Result<TopicId, BrokerError> {
    Uuid::try_parse(text).map(TopicId).map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        BrokerError::invalid_request(format!("topic_id '{shown}' is not a UUID"))
    })
}

/// How long a call may be kept waiting for what is not necessary for its answer: most of the time that its caller gives it, for the
/// answer has to get there. `None` when that does not say, or cannot be read.
pub(crate) fn wait_max(metadata: &MetadataMap) -> Option<Duration> {
    let timeout = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (value, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    let value: u32 = value.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_secs(60 * 60),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(unit.checked_mul(value)? / 4 * 3)
}

/// When a produce request that came in now must be answered.
pub(crate) fn produce_deadline(timeout_ms: u32) -> Instant {
    let timeout_ms = match u64::from(timeout_ms) {
        0 => limits::PRODUCE_TIMEOUT_MS_DEFAULT,
        given => given.min(limits::PRODUCE_TIMEOUT_MS_MAX),
    };
    Instant::now() + Duration::from_millis(timeout_ms)
}

/// Bytes that a produce request's data holds in memory.
pub(crate) fn produce_size(request: &v1::ProduceRequest) -> usize {
    match &request.data {
        Some(v1::produce_request::Data::Batch(batch)) => batch.len(),
        Some(v1::produce_request::Data::Records(records)) => prost::Message::encoded_len(records),
        None => 0,
    }
}

/// What a produce request carries.
pub(crate) fn produce_data(data: Option<v1::produce_request::Data>) -> Result<ProduceData, BrokerError> {
    match data {
        Some(v1::produce_request::Data::Batch(batch)) => Ok(ProduceData::Batch(batch)),
        Some(v1::produce_request::Data::Records(list)) => {
            if list.records.is_empty() {
                return Err(BrokerError::invalid_request("the request holds no records"));
            }
            let records = list.records.into_iter().enumerate();
            records
                .map(|(index, record)| new_record(index, record))
                .collect::<Result<_, _>>()
                .map(ProduceData::Records)
        }
        None => Err(BrokerError::invalid_request("neither batch nor records is set")),
    }
}

fn new_record(index: usize, record: v1::Record) -> Result<NewRecord, BrokerError> {
    if record.offset.is_some() {
        let message = format!("record {index} of the request sets an offset: the log gives offsets");
        return Err(BrokerError::invalid_request(message));
    }
    let headers = record.headers.into_iter();
    Ok(NewRecord {
        key: record.key,
        value: record.value,
        headers: headers.map(|header| Header { key: Bytes::from(header.key), value: header.value }).collect(),
        timestamp: record.timestamp_ms.map(TimestampMs),
    })
}

/// The answer to a produce request.
pub(crate) fn produced(produced: &Produced) -> v1::ProduceResponse {
    v1::ProduceResponse {
        base_offset: produced.base_offset.0,
        last_offset: produced.last_offset.0,
        log_append_time_ms: produced.log_append_time.map(|time| time.0),
        log_start_offset: produced.log_start.0,
        leader: None,
    }
}

/// A run of batches as they are stored.
pub(crate) fn batches(fetched: Fetched) -> v1::RecordData {
    v1::RecordData {
        batches: fetched.batches,
        records: Vec::new(),
        next_offset: fetched.next_offset.0,
        high_watermark: fetched.high_watermark.0,
        log_start_offset: fetched.log_start.0,
    }
}

/// An offset of a request; none is negative.
pub(crate) fn offset(value: i64) -> Result<Offset, BrokerError> {
    if value < 0 {
        return Err(BrokerError::invalid_request(format!("{value} is not an offset")));
    }
    Ok(Offset(value))
}

/// A number of bytes, where 0 means the default.
pub(crate) fn bytes_or(value: u32, default: usize) -> usize {
    match usize::try_from(value) {
        Ok(0) => default,
        Ok(given) => given,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::ErrorCode;

    use super::*;

    #[test]
    fn a_request_without_a_topic_or_with_a_malformed_id_is_refused() {
        let missing = topic_ref(String::new(), "").expect_err("no name");
        assert_eq!(missing.code, ErrorCode::InvalidRequest);
        let malformed = topic_ref("orders".to_owned(), "not-a-uuid").expect_err("no UUID");
        assert_eq!(malformed.code, ErrorCode::InvalidRequest);
        assert_eq!(malformed.topic.as_deref(), Some("orders"));
    }

    #[test]
    fn a_produce_request_without_data_without_records_or_with_offsets_is_refused() {
        let record = v1::Record { offset: Some(0), ..v1::Record::default() };
        let with_offset = v1::RecordList { records: vec![record] };
        for data in [
            None,
            Some(v1::produce_request::Data::Records(v1::RecordList::default())),
            Some(v1::produce_request::Data::Records(with_offset)),
        ] {
            let error = produce_data(data).expect_err("not possible");
            assert_eq!(error.code, ErrorCode::InvalidRequest);
        }
    }
}
