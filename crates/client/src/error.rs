//! What can go wrong in the client, and whether trying again can help.
//!
//! Errors are values that can be cloned: one failure is told to every record of a batch.

use highwater_proto::v1::ErrorDetail;
use highwater_types::{ErrorCode, Offset};
use tonic::{Code, Status};

/// Why an operation of the client failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A server's address is not `host:port` or `http://host:port`.
    #[error("{address:?} is not a server address; expected host:port")]
    InvalidAddress {
        /// The address as given.
        address: String,
    },
    /// No server was named.
    #[error("no server address was given")]
    NoServers,
    /// A setting has an impossible value.
    #[error("{name} is {value}; at least {min} is needed")]
    InvalidSetting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The smallest value that works.
        min: u64,
    },
    /// The connection could not be made, or broke. Whether a write took place is unknown, except
    /// that an idempotent producer finds out when it sends the same batch again.
    #[error("cannot reach {server}: {reason}")]
    Connection {
        /// The server's address.
        server: String,
        /// What the transport says.
        reason: String,
    },
    /// The cluster answered with an error of its own.
    #[error("{}", describe(.0))]
    Api(Box<ErrorDetail>),
    /// What answered is no Highwater node, or a much older or newer one.
    #[error("{server} refused the call: {code:?}: {reason}")]
    Refused {
        /// The server's address.
        server: String,
        /// The canonical gRPC code.
        code: Code,
        /// The status's message.
        reason: String,
    },
    /// An answer contradicts the protocol.
    #[error("{server} broke the protocol: {what}")]
    Protocol {
        /// The server's address.
        server: String,
        /// What was wrong.
        what: &'static str,
    },
    /// No server shows metadata as new as this client has seen it.
    #[error("the metadata that can be read is of version {version}; version {wanted} was seen before")]
    StaleMetadata {
        /// What could be read.
        version: u64,
        /// What was seen.
        wanted: u64,
    },
    /// The records were not acknowledged within the delivery timeout.
    #[error("not delivered within {timeout_ms} ms{}{}", if *.outcome_unknown { "; the records may or may not have been appended" } else { "" }, after(.last_error.as_deref()))]
    DeliveryTimeout {
        /// The delivery timeout.
        timeout_ms: u64,
        /// Whether they may have been appended all the same.
        outcome_unknown: bool,
        /// What stood in the way last.
        last_error: Option<Box<ClientError>>,
    },
    /// An earlier send of the records had no answer, and this answer to a later one does not tell whether it worked.
    /// They are not sent again: that would be refused again, or could duplicate them.
    #[error("the records may or may not have been appended: {}", describe(.0))]
    OutcomeUnknown(Box<ErrorDetail>),
    /// The record is larger than the producer's buffer or a batch can ever be.
    #[error("the record takes {bytes} bytes; at most {max} are possible")]
    RecordTooLarge {
        /// What the record takes.
        bytes: usize,
        /// What is possible.
        max: usize,
    },
    /// The record names a partition that the topic does not have.
    #[error("topic {topic:?} has {partitions} partitions, counted from 0; there is no partition {partition}")]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The records cannot be made into a batch.
    #[error("the records do not form a batch: {0}")]
    InvalidRecords(highwater_records::RecordsError),
    /// A batch that came from the cluster is damaged.
    #[error("partition {partition} at offset {offset}: {source}")]
    CorruptBatch {
        /// The partition.
        partition: u32,
        /// Where reading was.
        offset: Offset,
        /// What is wrong with it.
        source: highwater_records::RecordsError,
    },
    /// The group's consumer does not own the partition now, so it has no say in it. Another member may.
    #[error("this consumer does not own topic {topic} partition {partition}: another member of its group may")]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// A record failed as often as it may, and its handler does not skip it.
    #[error("the record at offset {offset} of topic {topic} partition {partition} cannot be handled: {reason}")]
    HandlerFailed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The record's offset.
        offset: Offset,
        /// What the handler said.
        reason: String,
    },
    /// The producer or consumer was closed.
    #[error("the client was closed before the operation was complete")]
    Closed,
}

impl ClientError {
    /// Whether the same operation can succeed later without a change to it.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::StaleMetadata { .. } => true,
            Self::Api(detail) => detail.retriable,
            _ => false,
        }
    }

    /// The kind of a cluster's error, if it is one and this version knows it.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Api(detail) | Self::OutcomeUnknown(detail) => detail.error_code(),
            _ => None,
        }
    }

    /// The partition that it is about, if it is about one.
    pub(crate) fn partition(&self) -> Option<highwater_types::PartitionIndex> {
        let partition = match self {
            Self::Api(detail) | Self::OutcomeUnknown(detail) => detail.partition,
            Self::NoSuchPartition { partition, .. }
            | Self::CorruptBatch { partition, .. }
            | Self::NotAssigned { partition, .. }
            | Self::HandlerFailed { partition, .. } => Some(*partition),
            _ => None,
        };
        partition.map(highwater_types::PartitionIndex)
    }

    /// What a failed call says.
    pub(crate) fn from_status(status: &Status, server: &str) -> Self {
        if let Some(detail) = ErrorDetail::from_status(status) {
            return Self::Api(Box::new(detail));
        }
        let (server, reason) = (server.to_owned(), describe_status(status));
        match status.code() {
            // What the transport reports itself, in each of the ways that it does.
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded => {
                Self::Connection { server, reason }
            }
            code => Self::Refused { server, code, reason },
        }
    }
}

impl From<ErrorDetail> for ClientError {
    fn from(detail: ErrorDetail) -> Self {
        Self::Api(Box::new(detail))
    }
}

/// The cluster's message, with the place where it has one.
fn describe(detail: &ErrorDetail) -> String {
    let place = match (detail.topic.as_str(), detail.partition) {
        ("", None) => String::new(),
        ("", Some(partition)) => format!("partition {partition}: "),
        (topic, None) => format!("topic {topic}: "),
        (topic, Some(partition)) => format!("topic {topic} partition {partition}: "),
    };
    format!("{place}{} ({})", detail.message, detail.code)
}

/// The innermost cause of a status: the transport's own words say only "transport error".
fn describe_status(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if std::ptr::eq(std::ptr::from_ref(cause).cast::<u8>(), std::ptr::from_ref(status).cast::<u8>()) {
        status.message().to_owned()
    } else {
        cause.to_string()
    }
}

fn after(last_error: Option<&ClientError>) -> String {
    last_error.map_or_else(String::new, |error| format!("; the last error was: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_a_retry_can_help() {
        let lost = ClientError::from_status(&Status::unavailable("tcp connect error"), "127.0.0.1:1");
        assert!(lost.is_retriable(), "{lost}");
        let throttled = ClientError::from(ErrorDetail::new(ErrorCode::Throttled, "slow down"));
        assert!(throttled.is_retriable());
        let unknown_topic =
            ErrorDetail::new(ErrorCode::UnknownTopicOrPartition, "no topic \"x\"").into_status();
        let unknown_topic = ClientError::from_status(&unknown_topic, "127.0.0.1:1");
        assert!(!unknown_topic.is_retriable());
        assert_eq!(unknown_topic.code(), Some(ErrorCode::UnknownTopicOrPartition));
        let foreign = ClientError::from_status(&Status::unimplemented(""), "127.0.0.1:1");
        assert!(matches!(foreign, ClientError::Refused { .. }) && !foreign.is_retriable());
    }
}
