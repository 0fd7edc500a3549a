//! The bounds of one node's connections. A test may make them smaller; a node takes the named ones.

use std::time::Duration;

use highwater_types::limits;

use crate::lane::Lane;

/// What bounds the connections of a node, on both ends.
#[derive(Debug, Clone, Copy)]
pub struct PeerLimits {
    /// Most bytes that wait to be written to one node on the control lane, and on that of liveness.
    pub control_queue_bytes: usize,
    /// The same on the bulk lane.
    pub bulk_queue_bytes: usize,
    /// Most requests to one node and lane that wait for an answer.
    pub requests: usize,
    /// Most requests of one connection that are being handled.
    pub served_requests: usize,
    /// Most bytes of requests of one connection that are being handled; at least one largest frame.
    pub served_bytes: usize,
    /// Most appends to one group that wait behind each other on one connection.
    pub group_requests: usize,
    /// Most bytes that they hold; a single larger one is taken all the same.
    pub group_bytes: usize,
    /// Most bytes of snapshots being received at one time, over all connections.
    pub snapshot_bytes: usize,
    /// The pieces that a snapshot is sent in.
    pub chunk_bytes: usize,
    /// Most connections that are accepted.
    pub connections: usize,
    /// Longest that a connection, handshake included, may take to come up.
    pub connect: Duration,
    /// A connection on which nothing was written for so long carries a sign of life.
    pub keepalive: Duration,
    /// A connection on which nothing arrives for so long is given up.
    pub silence: Duration,
    /// So is one that takes no byte for so long.
    pub stall: Duration,
    /// First wait after a failed connection.
    pub redial_min: Duration,
    /// Longest wait after failed connections.
    pub redial_max: Duration,
    /// The same on the lane of liveness.
    pub liveness_redial_max: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            control_queue_bytes: limits::PEER_CONTROL_QUEUE_BYTES_MAX,
            bulk_queue_bytes: limits::PEER_QUEUE_BYTES_MAX,
            requests: limits::PEER_REQUESTS_MAX,
            served_requests: limits::PEER_SERVED_REQUESTS_MAX,
            served_bytes: limits::PEER_SERVED_BYTES_MAX,
            group_requests: limits::PEER_GROUP_REQUESTS_MAX,
            group_bytes: limits::PEER_GROUP_BYTES_MAX,
            snapshot_bytes: limits::PEER_SNAPSHOT_BYTES_MAX,
            chunk_bytes: limits::PEER_CHUNK_BYTES,
            connections: limits::PEER_CONNECTIONS_MAX,
            connect: Duration::from_millis(limits::PEER_CONNECT_MS),
            keepalive: Duration::from_millis(limits::PEER_KEEPALIVE_MS),
            silence: Duration::from_millis(limits::PEER_SILENCE_MS),
            stall: Duration::from_millis(limits::PEER_STALL_MS),
            redial_min: Duration::from_millis(limits::PEER_REDIAL_MS_MIN),
            redial_max: Duration::from_millis(limits::PEER_REDIAL_MS_MAX),
            liveness_redial_max: Duration::from_millis(limits::PEER_LIVENESS_REDIAL_MS_MAX),
        }
    }
}

impl PeerLimits {
    pub(crate) fn queue_bytes(&self, lane: Lane) -> usize {
        match lane {
            Lane::Control | Lane::Liveness => self.control_queue_bytes,
            Lane::Bulk => self.bulk_queue_bytes,
        }
    }

    pub(crate) fn redial_max(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Liveness => self.liveness_redial_max,
            Lane::Control | Lane::Bulk => self.redial_max,
        }
    }
}

const _: () = assert!(
    limits::PEER_SERVED_BYTES_MAX >= limits::PEER_META_BYTES_MAX + limits::PEER_PAYLOAD_BYTES_MAX,
    "a largest frame can be handled"
);
const _: () = assert!(
    limits::PEER_QUEUE_BYTES_MAX >= limits::PEER_META_BYTES_MAX + limits::PEER_PAYLOAD_BYTES_MAX,
    "a largest frame can be sent"
);
