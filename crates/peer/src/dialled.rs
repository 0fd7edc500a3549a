//! The task of a link while it has, or wants, a connection: dials, writes what is queued, hands out the answers.

use std::sync::Arc;

use tokio::io::{AsyncRead, ReadHalf, WriteHalf};

use crate::call::Outcome;
use crate::codec::decode_answer;
use crate::error::PeerError;
use crate::frame::FrameKind;
use crate::handshake::{self, Local};
use crate::identity::PeerIdentity;
use crate::link::Link;
use crate::reader::FrameReader;
use crate::stream::PeerStream;

/// Makes one connection and keeps it until it fails.
pub(crate) async fn run(link: Arc<Link>) {
    let error = tokio::select! {
        biased;
        () = link.cut.cancelled() => PeerError::Ended,
        error = connect_and_serve(&link) => error,
    };
    link.ended(&error);
}

async fn connect_and_serve(link: &Link) -> PeerError {
    let limits = &link.context.limits;
    let (peer, mut reader, mut writer) = match tokio::time::timeout(limits.connect, connect(link)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return error,
        Err(_) => return PeerError::ConnectTimeout { waited_ms: limits.connect.as_millis() },
    };
    link.connected(peer);
    tokio::select! {
        biased;
        // Answers before requests: there are never more answers than requests, so neither starves the other.
        error = read_answers(link, &mut reader) => error,
        error = link.outbox.write_to(&mut writer, limits.keepalive, limits.stall) => error,
    }
}

type Reader = FrameReader<ReadHalf<Box<dyn PeerStream>>>;
type Writer = WriteHalf<Box<dyn PeerStream>>;

async fn connect(link: &Link) -> Result<(PeerIdentity, Reader, Writer), PeerError> {
    let context = &link.context;
    let stream = context.dialer.connect(&link.address).await?;
    let (read, mut writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read, handshake::LIMITS, context.limits.silence);
    let local = Local { identity: context.identity, admission: &*context.admission };
    let peer = handshake::dial(&mut reader, &mut writer, local, link.to, link.lane).await?;
    reader.set_limits(link.lane.frame_limits());
    Ok((peer, reader, writer))
}

async fn read_answers<R: AsyncRead + Unpin>(link: &Link, reader: &mut FrameReader<R>) -> PeerError {
    let mut is_first = true;
    loop {
        let frame = match reader.frame().await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        if std::mem::take(&mut is_first) {
            link.heard();
        }
        match frame.kind {
            FrameKind::Answer | FrameKind::Error | FrameKind::Pong => {
                let outcome = match decode_answer(&frame) {
                    Ok(Ok(reply)) => Outcome::Answered(reply),
                    Ok(Err(reason)) => Outcome::Refused(reason),
                    Err(error) => Outcome::Broke(format!("its answer cannot be read: {error}")),
                };
                link.answered(frame.correlation, outcome);
            }
            FrameKind::KeepAlive => {}
            // Of a later version, and unasked for: there is nobody here to take it.
            kind => tracing::debug!(node = %link.to, kind = kind.number(), "ignored a frame"),
        }
    }
}
