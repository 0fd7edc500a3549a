//! Bytes that no node sends: the connection that brings them ends, and nothing else does.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use highwater_consensus::PeerReply;
use highwater_peer::{Dialer as _, PeerLimits};
use support::messages::{append, group, heartbeat, snapshot};
use support::{PATIENCE, Pair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Everything that a well-behaved node writes on its bulk lane for an append and a snapshot in two pieces.
async fn recorded(limits: PeerLimits) -> Vec<u8> {
    let pair = Pair::with(limits, Default::default());
    pair.call(group(1), append(1, 5)).await.unwrap();
    pair.call(group(1), snapshot(limits.chunk_bytes + 1)).await.unwrap();
    pair.network.valve(0).written()
}

/// Writes `bytes` to the asked node and reads its answers until it ends the connection.
async fn answers_to(pair: &Pair, bytes: &[u8]) -> Vec<u8> {
    let mut io = pair.network.connect("memory").await.unwrap();
    let mut answers = Vec::new();
    // The node may end it before it has taken everything.
    let _ = io.write_all(bytes).await;
    let _ = io.shutdown().await;
    tokio::time::timeout(PATIENCE, io.read_to_end(&mut answers)).await.expect("it ends").unwrap();
    answers
}

/// The asked node does its work as before.
async fn is_well(pair: &Pair) -> bool {
    pair.call(group(1), heartbeat()).await.is_ok_and(|reply| matches!(reply, PeerReply::Append(_)))
}

#[tokio::test(start_paused = true)]
async fn a_stream_cut_at_every_length_harms_nobody() {
    let limits = PeerLimits { chunk_bytes: 32, ..PeerLimits::default() };
    let bytes = recorded(limits).await;
    let pair = Pair::with(limits, Default::default());
    for len in 0..bytes.len() {
        answers_to(&pair, &bytes[..len]).await;
    }
    assert!(is_well(&pair).await);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_any_bit_flipped_harms_nobody() {
    let limits = PeerLimits { chunk_bytes: 32, ..PeerLimits::default() };
    let bytes = recorded(limits).await;
    let pair = Pair::with(limits, Default::default());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        answers_to(&pair, &damaged).await;
    }
    assert!(is_well(&pair).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_or_nonsense_is_let_go() {
    let pair = Pair::new();
    assert!(answers_to(&pair, b"GET / HTTP/1.1\r\nhost: example\r\n\r\n").await.is_empty());
    let mut silent = pair.network.connect("memory").await.unwrap();
    let mut answers = Vec::new();
    tokio::time::timeout(Duration::from_secs(4), silent.read_to_end(&mut answers)).await.unwrap().unwrap();
    assert!(answers.is_empty());
    assert!(is_well(&pair).await);
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_an_unknown_kind_is_answered_with_an_error_and_the_connection_goes_on() {
    let mut bytes = recorded(PeerLimits::default()).await;
    let hello_len = 28 + u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    // The kind of the append that follows the hello, and its checksum, which covers the header and the meta.
    let meta_len = u32::from_le_bytes(bytes[hello_len + 8..hello_len + 12].try_into().unwrap()) as usize;
    let frame = &mut bytes[hello_len..];
    frame[4] = 200;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..24]), &frame[28..28 + meta_len]);
    frame[24..28].copy_from_slice(&crc.to_le_bytes());

    let pair = Pair::new();
    let mut io = pair.network.connect("memory").await.unwrap();
    io.write_all(&bytes).await.unwrap();
    pair.receiver.has_seen(1).await;
    let seen = pair.receiver.seen();
    assert!(!seen[0].all.contains("entries"), "the snapshot after it was taken: {:?}", seen[0]);
    io.shutdown().await.unwrap();
    let mut answers = Vec::new();
    io.read_to_end(&mut answers).await.unwrap();
    let reason = b"does not know frames of kind 200";
    assert!(answers.windows(reason.len()).any(|window| window == reason));
}
