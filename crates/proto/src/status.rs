//! [`ErrorDetail`] to and from [`tonic::Status`]. A status carries it as a
//! `google.rpc.ErrorInfo` (see `errors.proto`), so that any gRPC client can read it.
//!
//! Invariant: `from_status(into_status(detail)) == detail`, but for texts longer than a header may be: those are cut.

use std::collections::BTreeMap;

use highwater_types::ErrorCode;
use highwater_types::limits::TOPIC_NAME_BYTES_MAX;
use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::{StatusExt as _, pb};

use crate::v1::{ErrorDetail, LeaderHint};

/// Most bytes of a message in a status. It travels in a header, of which clients take 8 KiB in all, and percent-encoded.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The domain of our `ErrorInfo` details.
pub const ERROR_DOMAIN: &str = "highwater.v1";

/// What an `ErrorInfo` is called in a status.
const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// `google.rpc.ErrorInfo`. The metadata is in order, so that one error has one form on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

impl ErrorDetail {
    /// A detail of this kind, about no topic in particular.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.name().to_owned(),
            message: message.into(),
            retriable: code.is_retriable(),
            ..Self::default()
        }
    }

    /// The same, about a topic.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self
    }

    /// The same, about a partition.
    #[must_use]
    pub fn with_partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The kind, if this version knows its name.
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_name(&self.code)
    }

    /// The status that ends a call with this error.
    pub fn into_status(self) -> Status {
        let code = self.error_code().map_or(Code::Unknown, canonical_code);
        let mut metadata = BTreeMap::from([("retriable".to_owned(), self.retriable.to_string())]);
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                metadata.insert(name.to_owned(), value);
            }
        };
        put("topic", Some(cut(self.topic, TOPIC_NAME_BYTES_MAX)).filter(|topic| !topic.is_empty()));
        put("partition", self.partition.map(|partition| partition.to_string()));
        put("metadata_version", Some(self.metadata_version).filter(|&v| v != 0).map(|v| v.to_string()));
        put("leader_node_id", self.leader.as_ref().map(|leader| leader.node_id.to_string()));
        put("leader_address", self.leader.map(|leader| leader.address));
        let info = ErrorInfo { reason: self.code, domain: ERROR_DOMAIN.to_owned(), metadata };
        let message = cut(self.message, MESSAGE_BYTES_MAX);
        let details = vec![Any { type_url: ERROR_INFO_URL.to_owned(), value: info.encode_to_vec() }];
        let packed = pb::Status { code: code.into(), message: message.clone(), details };
        Status::with_details(code, message, packed.encode_to_vec().into())
    }

    /// The detail that a node of ours packed into a status. `None` when the status comes
    /// from elsewhere: the transport, a proxy, a server that is no Highwater.
    pub fn from_status(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
        let get = |name: &str| info.metadata.get(name).cloned();
        let leader = get("leader_address").map(|address| LeaderHint {
            node_id: get("leader_node_id").and_then(|id| id.parse().ok()).unwrap_or_default(),
            address,
        });
        Some(Self {
            message: status.message().to_owned(),
            retriable: get("retriable").is_some_and(|retriable| retriable == "true"),
            topic: get("topic").unwrap_or_default(),
            partition: get("partition").and_then(|partition| partition.parse().ok()),
            metadata_version: get("metadata_version").and_then(|v| v.parse().ok()).unwrap_or_default(),
            leader,
            code: info.reason,
        })
    }
}

/// The canonical gRPC code of each kind of error.
fn canonical_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::UnknownGroup => {
            Code::NotFound
        }
        ErrorCode::TopicAlreadyExists => Code::AlreadyExists,
        ErrorCode::OffsetOutOfRange => Code::OutOfRange,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidPartitions
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidConfig
        | ErrorCode::CorruptMessage
        | ErrorCode::MessageTooLarge
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTimestamp
        | ErrorCode::UnsupportedCompressionType => Code::InvalidArgument,
        ErrorCode::OutOfOrderSequence
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::UnknownProducerId
        | ErrorCode::GroupNotEmpty
        | ErrorCode::UnknownMember
        | ErrorCode::FencedMember
        | ErrorCode::StaleMember
        | ErrorCode::InstanceInUse
        | ErrorCode::NodeRemoved => Code::FailedPrecondition,
        ErrorCode::NoSpace | ErrorCode::Throttled => Code::ResourceExhausted,
        ErrorCode::Timeout => Code::DeadlineExceeded,
        ErrorCode::OffsetNotAvailable
        | ErrorCode::NotLeader
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Unsupported => Code::Unimplemented,
        ErrorCode::Quarantined => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
        _ => Code::Unknown,
    }
}

/// The text, or as much of its start as `bytes_max` takes.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        const MARK: &str = "…";
        text.truncate(text.floor_char_boundary(bytes_max - MARK.len()));
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_does_not_come_back_longer_than_a_header_may_be() {
        let name = "ä".repeat(1_000_000);
        let detail =
            ErrorDetail::new(ErrorCode::InvalidTopicName, format!("'{name}' is too long")).with_topic(name);
        let status = detail.into_status();
        assert!(status.message().len() <= MESSAGE_BYTES_MAX && status.details().len() < 2048);
        let read = ErrorDetail::from_status(&status).unwrap();
        assert_eq!(read.error_code(), Some(ErrorCode::InvalidTopicName));
        assert!(read.message.ends_with('…') && read.topic.len() <= TOPIC_NAME_BYTES_MAX);
    }

    #[test]
    fn a_detail_survives_its_status() {
        let mut detail = ErrorDetail::new(ErrorCode::NotLeader, "node 1 does not lead it")
            .with_topic("orders")
            .with_partition(3);
        detail.metadata_version = 9;
        detail.leader = Some(LeaderHint { node_id: 2, address: "10.0.0.2:7400".to_owned() });
        let status = detail.clone().into_status();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.details(), detail.clone().into_status().details(), "one error, one form");
        assert_eq!(ErrorDetail::from_status(&status), Some(detail));
    }

    #[test]
    fn every_code_survives_its_status_and_has_a_canonical_code() {
        for &code in ErrorCode::ALL {
            let status = ErrorDetail::new(code, "why").into_status();
            assert_ne!(status.code(), Code::Unknown, "{code}");
            let detail = ErrorDetail::from_status(&status).expect("our own status");
            assert_eq!(detail.error_code(), Some(code));
            assert_eq!(detail.retriable, code.is_retriable());
        }
    }

    #[test]
    fn a_foreign_status_has_no_detail() {
        assert_eq!(ErrorDetail::from_status(&Status::unavailable("connection refused")), None);
    }
}
