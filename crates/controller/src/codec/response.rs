//! Responses on their way from the state machine to the proposer, perhaps on another node.

use bytes::Bytes;
use highwater_types::{ErrorCode, ProducerId, TimestampMs};
use prost::Message;

use super::Reader;
use super::wire::{self, RefusalCode, ResponseKind};
use crate::cluster::MetadataVersion;
use crate::error::MetadataError;
use crate::response::{MetadataResponse, Outcome, Refusal};

const READER: Reader = Reader { what: "response" };
/// Outcomes have not changed with any feature level.
const FORMAT_VERSION: u32 = 1;

/// What a command came to, as bytes.
pub fn encode_response(result: &Result<MetadataResponse, Refusal>) -> Bytes {
    let (metadata_version, kind) = match result {
        Ok(response) => (response.version.0, write_outcome(&response.outcome)),
        Err(refusal) => {
            let code = write_code(refusal.code).into();
            let refused = wire::Refused { code, message: refusal.message.clone() };
            (0, ResponseKind::Refused(refused))
        }
    };
    wire::Response { version: FORMAT_VERSION, metadata_version, kind: Some(kind) }.encode_to_vec().into()
}

/// The inverse of [`encode_response`].
///
/// # Errors
/// The outer error: the bytes are not a response, or one of a newer build. The inner one
/// is the refusal that was encoded.
pub fn decode_response(bytes: &[u8]) -> Result<Result<MetadataResponse, Refusal>, MetadataError> {
    let response: wire::Response = READER.message(bytes)?;
    READER.version(response.version, FORMAT_VERSION)?;
    let outcome = match READER.present(response.kind, "kind that this build knows")? {
        ResponseKind::Refused(refused) => {
            let code = read_code(refused.code());
            return Ok(Err(Refusal { code, message: refused.message }));
        }
        ResponseKind::Done(wire::Done {}) => Outcome::Done,
        ResponseKind::TopicCreated(created) => {
            Outcome::TopicCreated { topic: READER.topic(&created.topic)?, partitions: created.partitions }
        }
        ResponseKind::PartitionsAdded(partitions) => Outcome::PartitionsAdded { partitions },
        ResponseKind::TopicDeleted(until_ms) => {
            Outcome::TopicDeleted { data_kept_until: TimestampMs(until_ms) }
        }
        ResponseKind::ProducerIds(ids) => {
            Outcome::ProducerIds { first: ProducerId(ids.first), count: ids.count }
        }
    };
    Ok(Ok(MetadataResponse { version: MetadataVersion(response.metadata_version), outcome }))
}

fn write_outcome(outcome: &Outcome) -> ResponseKind {
    match outcome {
        Outcome::Done => ResponseKind::Done(wire::Done {}),
        Outcome::TopicCreated { topic, partitions } => {
            let topic = topic.0.as_bytes().to_vec();
            ResponseKind::TopicCreated(wire::TopicCreated { topic, partitions: *partitions })
        }
        Outcome::PartitionsAdded { partitions } => ResponseKind::PartitionsAdded(*partitions),
        Outcome::TopicDeleted { data_kept_until } => ResponseKind::TopicDeleted(data_kept_until.0),
        Outcome::ProducerIds { first, count } => {
            ResponseKind::ProducerIds(wire::ProducerIds { first: first.0, count: *count })
        }
    }
}

/// Kinds that no refusal of this crate has become internal errors; their words stay.
fn write_code(code: ErrorCode) -> RefusalCode {
    match code {
        ErrorCode::InvalidRequest => RefusalCode::InvalidRequest,
        ErrorCode::UnknownTopicOrPartition => RefusalCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId => RefusalCode::UnknownTopicId,
        ErrorCode::TopicAlreadyExists => RefusalCode::TopicAlreadyExists,
        ErrorCode::InvalidTopicName => RefusalCode::InvalidTopicName,
        ErrorCode::InvalidPartitions => RefusalCode::InvalidPartitions,
        ErrorCode::InvalidReplicationFactor => RefusalCode::InvalidReplicationFactor,
        ErrorCode::InvalidConfig => RefusalCode::InvalidConfig,
        ErrorCode::Unavailable => RefusalCode::Unavailable,
        ErrorCode::Unsupported => RefusalCode::Unsupported,
        ErrorCode::NodeRemoved => RefusalCode::NodeRemoved,
        _ => RefusalCode::Internal,
    }
}

/// Kinds of a newer build are read as unspecified, which is an internal error here.
fn read_code(code: RefusalCode) -> ErrorCode {
    match code {
        RefusalCode::InvalidRequest => ErrorCode::InvalidRequest,
        RefusalCode::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        RefusalCode::UnknownTopicId => ErrorCode::UnknownTopicId,
        RefusalCode::TopicAlreadyExists => ErrorCode::TopicAlreadyExists,
        RefusalCode::InvalidTopicName => ErrorCode::InvalidTopicName,
        RefusalCode::InvalidPartitions => ErrorCode::InvalidPartitions,
        RefusalCode::InvalidReplicationFactor => ErrorCode::InvalidReplicationFactor,
        RefusalCode::InvalidConfig => ErrorCode::InvalidConfig,
        RefusalCode::Unavailable => ErrorCode::Unavailable,
        RefusalCode::Unsupported => ErrorCode::Unsupported,
        RefusalCode::NodeRemoved => ErrorCode::NodeRemoved,
        RefusalCode::Unspecified | RefusalCode::Internal => ErrorCode::Internal,
    }
}
