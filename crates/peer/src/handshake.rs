//! The first frames of a connection: who is there, on both ends.
//!
//! ```text
//! dialler                                        acceptor
//!    ├── hello: versions, identity, whom, lane ────▶│  checks
//!    │◀── welcome: version, identity ───────────────┤  or refusal: code and reason, and the end
//!   checks
//! ```
//!
//! Frames are small until then, and nothing else is taken.

use bytes::Bytes;
use highwater_types::limits::PEER_HANDSHAKE_BYTES_MAX;
use highwater_types::{ClusterId, Incarnation, NodeId, ProcessEpoch};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use uuid::Uuid;

use crate::admission::Admission;
use crate::codec::shortened;
use crate::error::{PeerError, RefusalCode};
use crate::frame::{Arrived, Correlation, Frame, FrameKind};
use crate::identity::PeerIdentity;
use crate::lane::Lane;
use crate::reader::{FrameLimits, FrameReader};
use crate::wire::{self, VERSION_MAX, VERSION_MIN};

/// How large frames may be until both ends know each other.
pub(crate) const LIMITS: FrameLimits = FrameLimits { meta_max: PEER_HANDSHAKE_BYTES_MAX, payload_max: 0 };

/// This node, and who decides about others.
#[derive(Clone, Copy)]
pub(crate) struct Local<'a> {
    pub(crate) identity: PeerIdentity,
    pub(crate) admission: &'a dyn Admission,
}

/// Why the acceptor did not take a connection, and who the dialler says it is.
pub(crate) struct Rejected {
    pub(crate) who: Option<NodeId>,
    pub(crate) error: PeerError,
}

/// The dialler's part. On return the peer is `to`, of this cluster, and admitted.
pub(crate) async fn dial<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    local: Local<'_>,
    to: NodeId,
    lane: Lane,
) -> Result<PeerIdentity, PeerError> {
    let hello = wire::Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        identity: Some(local.identity.into()),
        to: to.0,
        lane: lane.number(),
    };
    send(writer, FrameKind::Hello, &hello).await?;
    match decode_reply(&reader.frame().await?)? {
        Reply::Refusal(code, reason) => {
            local.admission.refused(code, &reason);
            Err(PeerError::Refused { code, reason })
        }
        Reply::Welcome(welcome) => {
            common_version(welcome.version, welcome.version)?;
            let peer = identity(welcome.identity)?;
            same_cluster(local, &peer)?;
            if peer.node != to {
                return Err(PeerError::OtherNode { expected: to, found: peer.node });
            }
            local.admission.check(&peer)?;
            Ok(peer)
        }
    }
}

/// The acceptor's part. On return the peer has been welcomed, or told why not.
pub(crate) async fn accept<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    local: Local<'_>,
) -> Result<(PeerIdentity, Lane), Rejected> {
    let nobody = |error| Rejected { who: None, error };
    let frame = reader.frame().await.map_err(nobody)?;
    let mut who = None;
    let judged = decode_hello(&frame).and_then(|hello| {
        let version = common_version(hello.version_min, hello.version_max)?;
        let peer = identity(hello.identity)?;
        who = Some(peer.node);
        same_cluster(local, &peer)?;
        // A node that meets its own number meets a copy of itself, or has its own address in its book.
        let ours = local.identity.node;
        if hello.to != ours.0 || peer.node == ours {
            return Err(PeerError::OtherNode { expected: NodeId(hello.to), found: ours });
        }
        let lane = Lane::from_number(hello.lane).ok_or(PeerError::UnknownLane { number: hello.lane })?;
        local.admission.check(&peer)?;
        Ok((version, peer, lane))
    });
    let sent = match &judged {
        Ok((version, _, _)) => {
            let welcome = wire::Welcome { version: *version, identity: Some(local.identity.into()) };
            send(writer, FrameKind::Welcome, &welcome).await
        }
        Err(error) => match error.refusal() {
            Some(code) => {
                let refusal = wire::Refusal { code: code.number(), reason: shortened(&error.to_string()) };
                send(writer, FrameKind::Refusal, &refusal).await
            }
            None => Ok(()),
        },
    };
    match (judged, sent) {
        (Ok((_, peer, lane)), Ok(())) => Ok((peer, lane)),
        (Ok(_), Err(error)) | (Err(error), _) => Err(Rejected { who, error }),
    }
}

/// What the acceptor answered.
pub(crate) enum Reply {
    Welcome(wire::Welcome),
    Refusal(RefusalCode, String),
}

/// Reads a hello; what it says is not judged.
pub(crate) fn decode_hello(frame: &Arrived) -> Result<wire::Hello, PeerError> {
    match frame.kind {
        FrameKind::Hello => Ok(wire::Hello::decode(frame.meta.clone())?),
        kind => Err(PeerError::Unexpected { kind: kind.number(), due: "a hello" }),
    }
}

/// Reads the answer to a hello; what it says is not judged.
pub(crate) fn decode_reply(frame: &Arrived) -> Result<Reply, PeerError> {
    match frame.kind {
        FrameKind::Welcome => Ok(Reply::Welcome(wire::Welcome::decode(frame.meta.clone())?)),
        FrameKind::Refusal => {
            let refusal = wire::Refusal::decode(frame.meta.clone())?;
            Ok(Reply::Refusal(RefusalCode::from_number(refusal.code), refusal.reason))
        }
        kind => Err(PeerError::Unexpected { kind: kind.number(), due: "a welcome" }),
    }
}

async fn send<W: AsyncWrite + Unpin>(
    writer: &mut W,
    kind: FrameKind,
    meta: &impl Message,
) -> Result<(), PeerError> {
    let frame = Frame::new(kind, Correlation::NONE, meta, Vec::new())?;
    for piece in frame.pieces() {
        writer.write_all(piece).await?;
    }
    Ok(writer.flush().await?)
}

/// The newest version that both ends speak.
fn common_version(min: u32, max: u32) -> Result<u32, PeerError> {
    let newest = max.min(VERSION_MAX);
    if newest < min.max(VERSION_MIN) {
        return Err(PeerError::Version { min, max, ours_min: VERSION_MIN, ours_max: VERSION_MAX });
    }
    Ok(newest)
}

fn same_cluster(local: Local<'_>, peer: &PeerIdentity) -> Result<(), PeerError> {
    let (ours, found) = (local.identity.cluster, peer.cluster);
    if ours == found {
        return Ok(());
    }
    local.admission.check_stranger(peer)?;
    Err(PeerError::OtherCluster { ours, found })
}

impl From<PeerIdentity> for wire::Identity {
    fn from(identity: PeerIdentity) -> Self {
        Self {
            cluster: Bytes::copy_from_slice(identity.cluster.0.as_bytes()),
            node: identity.node.0,
            incarnation: identity.incarnation.0,
            process: identity.process.0,
        }
    }
}

fn identity(message: Option<wire::Identity>) -> Result<PeerIdentity, PeerError> {
    let malformed = |problem: &str| PeerError::Malformed { problem: problem.to_owned() };
    let message = message.ok_or_else(|| malformed("it does not say whose it is"))?;
    let cluster = Uuid::from_slice(&message.cluster).map_err(|_| malformed("its cluster is no UUID"))?;
    Ok(PeerIdentity {
        cluster: ClusterId(cluster),
        node: NodeId(message.node),
        incarnation: Incarnation(message.incarnation),
        process: ProcessEpoch(message.process),
    })
}

#[cfg(test)]
mod tests;
