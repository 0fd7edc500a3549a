//! Hellos that no build of this version sends.

use std::time::Duration;

use tokio::io::{DuplexStream, ReadHalf, WriteHalf};

use super::*;
use crate::admission::AdmitAll;

fn identity_of(node: u64) -> PeerIdentity {
    PeerIdentity {
        cluster: ClusterId(Uuid::from_u128(1)),
        node: NodeId(node),
        incarnation: Incarnation(5),
        process: ProcessEpoch(node),
    }
}

fn hello() -> wire::Hello {
    wire::Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        identity: Some(identity_of(1).into()),
        to: 2,
        lane: Lane::Bulk.number(),
    }
}

type End = (FrameReader<ReadHalf<DuplexStream>>, WriteHalf<DuplexStream>);

fn end(io: DuplexStream) -> End {
    let (read, write) = tokio::io::split(io);
    (FrameReader::new(read, LIMITS, Duration::from_secs(3)), write)
}

/// What node 2 makes of a first frame, and what it answers, if anything.
async fn meet(
    kind: FrameKind,
    meta: &impl Message,
) -> (Result<(PeerIdentity, Lane), Rejected>, Result<Reply, PeerError>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let ((mut our_reader, mut our_writer), (mut reader, mut writer)) = (end(ours), end(theirs));
    send(&mut our_writer, kind, meta).await.unwrap();
    let accepted =
        accept(&mut reader, &mut writer, Local { identity: identity_of(2), admission: &AdmitAll }).await;
    drop((reader, writer));
    let answer = our_reader.frame().await.and_then(|frame| decode_reply(&frame));
    (accepted, answer)
}

async fn refusal(hello: wire::Hello) -> (RefusalCode, String) {
    let (accepted, answer) = meet(FrameKind::Hello, &hello).await;
    assert!(accepted.is_err(), "{hello:?} was accepted");
    match answer.unwrap() {
        Reply::Refusal(code, reason) => (code, reason),
        Reply::Welcome(_) => panic!("{hello:?} was welcomed"),
    }
}

#[tokio::test]
async fn a_hello_in_order_is_welcomed() {
    let (accepted, answer) = meet(FrameKind::Hello, &hello()).await;
    let (peer, lane) = accepted.unwrap_or_else(|rejected| panic!("{}", rejected.error));
    assert_eq!((peer, lane), (identity_of(1), Lane::Bulk));
    let Reply::Welcome(welcome) = answer.unwrap() else { panic!("refused") };
    assert_eq!(identity(welcome.identity).unwrap(), identity_of(2));
}

#[tokio::test]
async fn a_later_build_that_still_speaks_this_version_is_welcomed() {
    let (accepted, answer) = meet(FrameKind::Hello, &wire::Hello { version_max: 99, ..hello() }).await;
    assert!(accepted.is_ok());
    let Reply::Welcome(welcome) = answer.unwrap() else { panic!("refused") };
    assert_eq!(welcome.version, VERSION_MAX);
}

#[tokio::test]
async fn a_build_without_a_common_version_is_refused_with_both_ranges() {
    // Its identity may look like anything.
    let later = wire::Hello { version_min: 7, version_max: 9, identity: None, ..hello() };
    let (code, reason) = refusal(later).await;
    assert_eq!(code, RefusalCode::Version);
    assert!(reason.contains("versions 7 to 9") && reason.contains("1 to 1"), "{reason}");
    let (code, _) = refusal(wire::Hello { version_min: 0, version_max: 0, ..hello() }).await;
    assert_eq!(code, RefusalCode::Version);
}

#[tokio::test]
async fn an_unknown_lane_and_a_missing_identity_are_refused_by_name() {
    assert_eq!(refusal(wire::Hello { lane: 99, ..hello() }).await.0, RefusalCode::UnknownLane);
    assert_eq!(refusal(wire::Hello { identity: None, ..hello() }).await.0, RefusalCode::Malformed);
}

#[tokio::test]
async fn a_node_does_not_talk_to_its_own_number() {
    let own = wire::Hello { identity: Some(identity_of(2).into()), ..hello() };
    assert_eq!(refusal(own).await.0, RefusalCode::OtherNode);
}

#[tokio::test]
async fn whoever_does_not_begin_with_a_hello_is_told_nothing() {
    let (accepted, answer) = meet(FrameKind::Request, &()).await;
    assert!(matches!(accepted, Err(Rejected { error: PeerError::Unexpected { .. }, who: None })));
    assert!(matches!(answer, Err(PeerError::Closed)));
}

#[tokio::test]
async fn a_hello_above_the_limit_is_not_read() {
    let long = wire::Refusal { code: 0, reason: "x".repeat(PEER_HANDSHAKE_BYTES_MAX) };
    let (accepted, _) = meet(FrameKind::Hello, &long).await;
    assert!(matches!(accepted, Err(Rejected { error: PeerError::TooLong { part: "meta", .. }, .. })));
}

/// The dialler's judgement of a welcome.
async fn dialled(welcome: wire::Welcome) -> Result<PeerIdentity, PeerError> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let ((mut reader, mut writer), (_their_reader, mut their_writer)) = (end(ours), end(theirs));
    send(&mut their_writer, FrameKind::Welcome, &welcome).await.unwrap();
    let local = Local { identity: identity_of(1), admission: &AdmitAll };
    dial(&mut reader, &mut writer, local, NodeId(2), Lane::Control).await
}

#[tokio::test]
async fn the_dialler_checks_who_welcomes_it() {
    let welcome = |identity: PeerIdentity| wire::Welcome { version: 1, identity: Some(identity.into()) };
    assert_eq!(dialled(welcome(identity_of(2))).await.unwrap(), identity_of(2));
    let error = dialled(welcome(identity_of(3))).await.unwrap_err();
    assert!(matches!(error, PeerError::OtherNode { expected: NodeId(2), found: NodeId(3) }), "{error}");
    let stranger = PeerIdentity { cluster: ClusterId(Uuid::from_u128(9)), ..identity_of(2) };
    let error = dialled(welcome(stranger)).await.unwrap_err();
    assert!(matches!(error, PeerError::OtherCluster { .. }), "{error}");
    let error = dialled(wire::Welcome { version: 2, ..welcome(identity_of(2)) }).await.unwrap_err();
    assert!(matches!(error, PeerError::Version { .. }), "{error}");
}
