//! Errors of the broker as the API shows them.

use highwater_broker::{BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_types::{ErrorCode, NodeId, PartitionIndex};
use tonic::Status;

/// The error as it stands in an answer or in a stream.
pub(crate) fn detail(error: BrokerError) -> v1::ErrorDetail {
    let mut detail = v1::ErrorDetail::new(error.code, error.message);
    detail.topic = error.topic.unwrap_or_default();
    detail.partition = error.partition.map(|partition| partition.0);
    detail.metadata_version = error.metadata_version;
    detail.leader = error.leader.map(hint);
    detail
}

/// Who leads, as clients are told.
pub(crate) fn hint(leader: LeaderHint) -> v1::LeaderHint {
    v1::LeaderHint { node_id: leader.node.0, address: leader.address }
}

/// The error as it ends a call.
pub(crate) fn status(error: BrokerError) -> Status {
    detail(error).into_status()
}

/// What another node answered, as an error of the broker's.
pub(crate) fn from_status(status: &Status) -> BrokerError {
    let Some(detail) = v1::ErrorDetail::from_status(status) else {
        let message = format!("another node could not be asked: {}", status.message());
        return BrokerError::new(ErrorCode::Unavailable, message);
    };
    from_detail(detail)
}

/// What stands in an answer of another node, as an error of the broker's.
pub(crate) fn from_detail(detail: v1::ErrorDetail) -> BrokerError {
    let code = detail.error_code().unwrap_or(ErrorCode::Internal);
    let mut error = BrokerError::new(code, detail.message);
    error.topic = Some(detail.topic).filter(|topic| !topic.is_empty());
    error.partition = detail.partition.map(PartitionIndex);
    error.metadata_version = detail.metadata_version;
    error.leader = detail.leader.map(|hint| LeaderHint { node: NodeId(hint.node_id), address: hint.address });
    error
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn everything_a_client_needs_to_follow_the_leader_survives_the_status() {
        let mut error = BrokerError::new(ErrorCode::NotLeader, "node 2 leads it")
            .with_topic("orders")
            .with_partition(PartitionIndex(3))
            .with_metadata_version(7);
        error.leader = Some(LeaderHint { node: NodeId(2), address: "10.0.0.2:7400".to_owned() });
        let status = status(error.clone());
        assert_eq!(status.code(), Code::Unavailable);
        let detail = v1::ErrorDetail::from_status(&status).expect("our own");
        assert_eq!(detail.code, "NOT_LEADER");
        assert!(detail.retriable);
        assert_eq!((detail.topic.as_str(), detail.partition), ("orders", Some(3)));
        assert_eq!(detail.metadata_version, 7);
        assert_eq!(detail.leader.map(|leader| leader.node_id), Some(2));
        let again = from_status(&status);
        assert_eq!((again.code, again.leader), (ErrorCode::NotLeader, error.leader));
    }
}
