//! The first message of a session: who the consumer is and what it wants.

use std::time::Duration;

use highwater_broker::{BrokerError, StartAt};
use highwater_proto::v1;
use highwater_types::limits;

use crate::grpc::convert;
use crate::grpc::format::Format;
use crate::grpc::subscribe::position;

/// What was agreed at the start.
pub(super) struct Terms {
    /// What the group's coordinator is asked; it judges.
    pub(super) join: v1::JoinGroupRequest,
    pub(super) rebalance_timeout: Duration,
    pub(super) wishes: Wishes,
    pub(super) credit_bytes: u64,
}

/// How the consumer wants its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    /// Where partitions start of which nothing is committed.
    pub(super) position: StartAt,
    pub(super) push_bytes_max: u32,
    /// A [`v1::RecordFormat`], checked.
    pub(super) format: i32,
}

impl Terms {
    pub(super) fn parse(start: v1::GroupSessionStart) -> Result<Self, BrokerError> {
        let rebalance_timeout_ms = match start.rebalance_timeout_ms {
            0 => limits::REBALANCE_TIMEOUT_MS_DEFAULT,
            given => given,
        };
        Format::parse(start.format)?;
        let push_bytes_max =
            convert::bytes_or(start.max_push_bytes, limits::PUSH_BYTES_DEFAULT).min(limits::PUSH_BYTES_MAX);
        let wishes = Wishes {
            position: position(start.position)?,
            push_bytes_max: u32::try_from(push_bytes_max).unwrap_or(u32::MAX),
            format: start.format,
        };
        let join = v1::JoinGroupRequest {
            group: start.group,
            member_id: start.member_id,
            instance_id: start.instance_id,
            client_id: start.client_id,
            client_host: String::new(),
            topics: start.topics,
            assignor: start.assignor,
            rebalance_timeout_ms,
        };
        let rebalance_timeout = Duration::from_millis(rebalance_timeout_ms.into());
        Ok(Self { join, rebalance_timeout, wishes, credit_bytes: start.credit_bytes })
    }
}
