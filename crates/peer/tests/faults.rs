//! A peer that is away, silent, slow or broken: every call ends in time and says what is known, and others do not notice.
#![allow(clippy::unwrap_used)]

mod support;

use std::future::{Future as _, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use highwater_consensus::{AppendReply, PeerReply, PeerRequest, Transport as _, TransportError};
use highwater_peer::{Dialer, PeerLimits};
use support::messages::{append, group, heartbeat, snapshot};
use support::network::{Dials, MemoryNetwork};
use support::receiver::Receiver;
use support::{ASKED, PATIENCE, Pair, member, served, transport};
use tokio::time::Instant;

const STORED: PeerReply = PeerReply::Append(AppendReply::Stored);

/// Runs `future` until it waits for something, once.
async fn poll_once<F: std::future::Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_address_is_unreachable() {
    let transport = transport(MemoryNetwork::new(), PeerLimits::default());
    let error = transport.call(member(ASKED), group(1), heartbeat(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { node: ASKED, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_costs_one_attempt_per_wait_however_many_calls_want_it() {
    let limits = PeerLimits::default();
    let (network, receiver) = (MemoryNetwork::new(), Arc::new(Receiver::default()));
    let transport = transport(Arc::clone(&network) as Arc<dyn Dialer>, limits);
    transport.set(ASKED, "memory");
    let started = Instant::now();
    let mut calls = 0_u32;
    while started.elapsed() < Duration::from_secs(20) {
        let error = transport.call(member(ASKED), group(1), heartbeat(), PATIENCE).await.unwrap_err();
        assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
        calls += 1;
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    // Waits of 25 to 50 ms, 50 to 100, and so on up to 1 to 2 s.
    assert!((14..=26).contains(&network.attempts()), "{} attempts for {calls} calls", network.attempts());

    let _served = served(&network, &receiver, limits);
    tokio::time::advance(limits.redial_max).await;
    assert_eq!(transport.call(member(ASKED), group(1), heartbeat(), PATIENCE).await.unwrap(), STORED);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_reached_on_one_lane_is_tried_on_the_others_at_once() {
    let limits = PeerLimits::default();
    let (network, receiver) = (MemoryNetwork::new(), Arc::new(Receiver::default()));
    let transport = transport(Arc::clone(&network) as Arc<dyn Dialer>, limits);
    transport.set(ASKED, "memory");
    for _ in 0..10 {
        transport.call(member(ASKED), group(1), append(1, 10), PATIENCE).await.unwrap_err();
        tokio::time::advance(limits.redial_max).await;
    }
    transport.call(member(ASKED), group(1), append(1, 10), PATIENCE).await.unwrap_err();
    let _served = served(&network, &receiver, limits);
    assert_eq!(transport.call(member(ASKED), group(1), heartbeat(), PATIENCE).await.unwrap(), STORED);
    assert_eq!(transport.call(member(ASKED), group(1), append(1, 10), PATIENCE).await.unwrap(), STORED);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_wherever_the_peer_hangs() {
    let deadline = Duration::from_millis(700);
    let hangs = Pair::with(PeerLimits::default(), Receiver::new(|_, _| pending()));
    let frozen = Pair::new();
    frozen.call(group(1), heartbeat()).await.unwrap();
    frozen.network.valve(0).freeze();
    let unanswered = Pair::new();
    unanswered.network.set_dials(Dials::Hang);
    for (pair, where_it_hangs) in [(hangs, "handler"), (frozen, "stream"), (unanswered, "dial")] {
        let started = Instant::now();
        let call = pair.transport.call(member(ASKED), group(1), heartbeat(), deadline);
        let error = call.await.unwrap_err();
        assert!(matches!(error, TransportError::Timeout { waited_ms: 700, .. }), "{where_it_hangs}: {error}");
        let waited = started.elapsed();
        assert!(waited < deadline + Duration::from_millis(2), "{where_it_hangs}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_and_made_again() {
    let limits = PeerLimits::default();
    let pair = Pair::new();
    pair.call(group(1), heartbeat()).await.unwrap();
    tokio::time::sleep(limits.silence * 10).await;
    pair.call(group(1), heartbeat()).await.unwrap();
    assert_eq!(pair.network.attempts(), 1, "an idle connection is no silent one");

    pair.network.valve(0).freeze();
    let started = Instant::now();
    let error = pair.call(group(1), heartbeat()).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
    assert!(started.elapsed() <= limits.silence + Duration::from_millis(10), "{:?}", started.elapsed());
    tokio::time::sleep(limits.redial_max).await;
    assert_eq!(pair.call(group(1), heartbeat()).await.unwrap(), STORED);
    assert_eq!(pair.network.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_connection_that_stands_still_delays_no_vote_and_fills_no_memory() {
    let limits =
        PeerLimits { bulk_queue_bytes: 1 << 20, silence: Duration::from_secs(3600), ..PeerLimits::default() };
    let pair = Pair::with(limits, Receiver::default());
    pair.call(group(1), append(1, 10)).await.unwrap();
    pair.network.valve(0).freeze();
    let calls = join_all((0..100).map(|of| pair.call(group(of), append(2, 100_000))));
    let mut calls = pin!(calls);
    assert!(poll_once(&mut calls).await.is_none(), "those that wait, wait");
    let error = pair.call(group(1), append(3, 100_000)).await.unwrap_err();
    let TransportError::Unreachable { reason, .. } = error else { panic!("{error}") };
    assert!(reason.contains("wait to be sent"), "{reason}");
    assert_eq!(pair.call(group(1), heartbeat()).await.unwrap(), STORED);

    pair.network.valve(0).thaw();
    let results = calls.await;
    let sent = results.iter().filter(|result| result.is_ok()).count();
    let refused = |result: &&Result<_, _>| matches!(result, Err(TransportError::Unreachable { .. }));
    assert_eq!(sent + results.iter().filter(refused).count(), 100);
    assert!((5..15).contains(&sent), "{sent} of 100 KB each fit into 1 MiB");
    assert_eq!(pair.call(group(1), append(3, 100_000)).await.unwrap(), STORED);
}

#[tokio::test(start_paused = true)]
async fn a_frame_cut_anywhere_breaks_its_call_and_the_next_one_gets_through() {
    let frame = {
        let pair = Pair::new();
        pair.call(group(1), append(1, 1)).await.unwrap();
        let before = pair.network.valve(0).written().len();
        pair.call(group(1), append(1, 1)).await.unwrap();
        pair.network.valve(0).written().len() - before
    };
    for cut in 1..frame {
        let pair = Pair::new();
        pair.call(group(1), append(1, 1)).await.unwrap();
        pair.network.valve(0).cut_after(cut);
        let error = pair.call(group(1), append(1, 1)).await.unwrap_err();
        assert!(matches!(error, TransportError::Broken { .. }), "after {cut} bytes: {error}");
        tokio::time::sleep(PeerLimits::default().redial_max).await;
        assert_eq!(pair.call(group(1), append(1, 1)).await.unwrap(), STORED, "after {cut} bytes");
        assert_eq!(pair.receiver.seen().len(), 2, "half a frame is no request");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_is_not_sent_any_more() {
    let pair = Pair::new();
    pair.call(group(1), append(1, 10)).await.unwrap();
    pair.network.valve(0).freeze();
    let deadline = Duration::from_millis(100);
    // The first one is being written when it is given up.
    for of in 1..=20 {
        let call = pair.transport.call(member(ASKED), group(of), append(2, 1000), deadline);
        assert!(matches!(call.await, Err(TransportError::Timeout { .. })));
    }
    pair.network.valve(0).thaw();
    assert_eq!(pair.call(group(99), append(3, 10)).await.unwrap(), STORED);
    assert!(pair.receiver.seen().len() <= 3, "{:?}", pair.receiver.seen().len());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_handled_for_longer_than_its_sender_waits() {
    let dropped = Arc::new(AtomicBool::new(false));
    struct Noting(Arc<AtomicBool>);
    impl Drop for Noting {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let noted = Arc::clone(&dropped);
    let receiver = Receiver::new(move |of, _| {
        let noting = (of == group(1)).then(|| Noting(Arc::clone(&noted)));
        async move {
            if noting.is_some() {
                pending::<()>().await;
            }
            Ok(STORED)
        }
    });
    let pair = Pair::with(PeerLimits::default(), receiver);
    let deadline = Duration::from_millis(500);
    let call = pair.transport.call(member(ASKED), group(1), append(1, 10), deadline);
    call.await.unwrap_err();
    assert_eq!(pair.call(group(2), append(1, 10)).await.unwrap(), STORED);
    tokio::time::sleep(deadline).await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_stands_still_is_refused_more_and_leaves_the_others_room() {
    let receiver = Receiver::new(|of, _| async move {
        if of == group(1) {
            pending::<()>().await;
        }
        Ok(STORED)
    });
    let limits = PeerLimits { group_requests: 4, ..PeerLimits::default() };
    let pair = Pair::with(limits, receiver);
    let mut stuck = pin!(join_all((0..20).map(|index| pair.call(group(1), append(index, 1_000_000)))));
    assert!(poll_once(&mut stuck).await.is_none());
    assert_eq!(pair.call(group(2), append(1, 1_000_000)).await.unwrap(), STORED);
    let results = stuck.await;
    let refused = |result: &&Result<_, _>| matches!(result, Err(TransportError::Refused { .. }));
    assert_eq!(results.iter().filter(refused).count(), 15, "one is handled, four wait");
}

#[tokio::test(start_paused = true)]
async fn snapshots_beyond_the_receivers_room_are_refused_and_those_given_up_leave_it() {
    let limits = PeerLimits { snapshot_bytes: 8 << 20, ..PeerLimits::default() };
    let pair = Pair::with(limits, Receiver::default());
    let error = pair.call(group(1), snapshot((8 << 20) + 1)).await.unwrap_err();
    let TransportError::Refused { reason, .. } = error else { panic!("{error}") };
    assert!(reason.contains("at most 8388608"), "{reason}");

    // Halfway there when the stream stands still, and given up there.
    pair.network.valve(0).freeze_after(4 << 20);
    let call = pair.call(group(1), snapshot(8 << 20));
    tokio::time::timeout(Duration::from_millis(500), call).await.expect_err("given up before its deadline");
    pair.network.valve(0).thaw();
    assert_eq!(pair.call(group(1), append(1, 10)).await.unwrap(), STORED);
    assert_eq!(pair.call(group(1), snapshot(8 << 20)).await.unwrap(), STORED);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_ends_its_connection_and_nothing_else() {
    let receiver = Receiver::new(|_, request| async move {
        match request {
            PeerRequest::Append(append) if append.entries.len() == 1 && append.entries[0].id.index.0 == 13 => {
                panic!("a scripted panic")
            }
            _ => Ok(STORED),
        }
    });
    let pair = Pair::with(PeerLimits::default(), receiver);
    pair.call(group(1), heartbeat()).await.unwrap();
    let error = pair.call(group(1), append(13, 10)).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
    assert_eq!(pair.call(group(1), heartbeat()).await.unwrap(), STORED);
    tokio::time::sleep(PeerLimits::default().redial_max).await;
    assert_eq!(pair.call(group(1), append(1, 10)).await.unwrap(), STORED);
    assert_eq!(pair.network.attempts(), 3, "control once, bulk twice");
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_node_that_is_removed_end_at_once() {
    let pair = Pair::with(PeerLimits::default(), Receiver::new(|_, _| pending()));
    let mut call = pin!(pair.call(group(1), append(1, 10)));
    assert!(poll_once(&mut call).await.is_none());
    pair.receiver.has_seen(0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    pair.transport.remove(ASKED);
    let started = Instant::now();
    let error = call.await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
    let error = pair.call(group(1), append(1, 10)).await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_ends_its_connections_and_a_new_process_is_found_again() {
    let mut pair = Pair::with(PeerLimits::default(), Receiver::new(|_, _| pending()));
    let mut call = Box::pin(pair.transport.call(member(ASKED), group(1), append(1, 10), PATIENCE));
    assert!(poll_once(&mut call).await.is_none());
    pair.receiver.has_seen(1).await;
    pair.served.shutdown.cancel();
    (&mut pair.served.task).await.unwrap();
    let error = call.await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");

    let receiver = Arc::new(Receiver::default());
    let _served = served(&pair.network, &receiver, PeerLimits::default());
    tokio::time::sleep(PeerLimits::default().redial_max).await;
    assert_eq!(pair.call(group(1), append(1, 10)).await.unwrap(), STORED);
}
