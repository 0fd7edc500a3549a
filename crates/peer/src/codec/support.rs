//! Pings and their answers.

use highwater_consensus::{Ping, Pong};
use highwater_types::ProcessEpoch;
use prost::Message;

use super::malformed;
use crate::error::PeerError;
use crate::frame::{Arrived, Correlation, Frame, FrameKind};
use crate::wire;

/// The frame of a ping.
///
/// # Errors
/// Never: it is small.
pub(super) fn ping_frame(correlation: Correlation, ping: Ping) -> Result<Frame, PeerError> {
    let Ping { epoch, sent_at_us, is_heard } = ping;
    let meta = wire::Ping { epoch: epoch.0, sent_at_us, is_heard };
    Frame::new(FrameKind::Ping, correlation, &meta, Vec::new())
}

/// The inverse of [`ping_frame`].
///
/// # Errors
/// When the frame is no ping.
pub(crate) fn decode_ping(frame: &Arrived) -> Result<Ping, PeerError> {
    no_payload(frame)?;
    let wire::Ping { epoch, sent_at_us, is_heard } = wire::Ping::decode(frame.meta.clone())?;
    Ok(Ping { epoch: ProcessEpoch(epoch), sent_at_us, is_heard })
}

/// The frame of a pong.
///
/// # Errors
/// Never: it is small.
pub(crate) fn pong_frame(correlation: Correlation, pong: Pong) -> Result<Frame, PeerError> {
    let Pong { epoch, sent_at_us, run } = pong;
    Frame::new(FrameKind::Pong, correlation, &wire::Pong { epoch: epoch.0, sent_at_us, run }, Vec::new())
}

/// The inverse of [`pong_frame`].
///
/// # Errors
/// When the frame is no pong.
pub(super) fn decode_pong(frame: &Arrived) -> Result<Pong, PeerError> {
    let wire::Pong { epoch, sent_at_us, run } = wire::Pong::decode(frame.meta.clone())?;
    Ok(Pong { epoch: ProcessEpoch(epoch), sent_at_us, run })
}

/// Refuses a payload where there is none.
pub(super) fn no_payload(frame: &Arrived) -> Result<(), PeerError> {
    match frame.payload.len() {
        0 => Ok(()),
        len => Err(malformed(format!("{len} bytes of payload where there is none"))),
    }
}
