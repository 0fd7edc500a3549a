//! Requests and answers between two nodes that are well: over TCP and over streams in memory.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use highwater_consensus::{
    AppendReply, PeerReply, PeerRequest, Ping, RefusedRequest, Transport as _, TransportError,
};
use highwater_peer::{AdmitAll, PeerLimits, PeerTransport, ServeOptions, TcpDialer, accepted, serve};
use highwater_types::{GroupId, ProcessEpoch};
use parking_lot::Mutex;
use support::messages::{
    all_of, append, batches_wanted, every_reply, every_request, group, heartbeat, snapshot,
};
use support::receiver::Receiver;
use support::{ASKED, ASKS, PATIENCE, Pair, identity, member, transport};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

async fn every_request_arrives(transport: &PeerTransport, receiver: &Receiver) {
    let requests = every_request();
    for (index, request) in requests.iter().enumerate() {
        let group = if index == 0 { GroupId::Metadata } else { group(index as u32) };
        transport.call(member(ASKED), group, request.clone(), PATIENCE).await.unwrap();
        let seen = receiver.seen();
        assert_eq!(seen.len(), index + 1);
        assert_eq!((seen[index].group, seen[index].to), (group, identity(ASKED).incarnation));
        assert_eq!(seen[index].all, all_of(request));
        assert_eq!(seen[index].from, identity(ASKS));
    }
    assert_eq!(transport.connected_to(ASKED), Some(identity(ASKED)));
}

#[tokio::test]
async fn over_tcp_every_request_arrives_as_it_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (receiver, limits) = (Arc::new(Receiver::default()), PeerLimits::default());
    let options = ServeOptions { identity: identity(ASKED), admission: Arc::new(AdmitAll), limits };
    let shutdown = CancellationToken::new();
    let served = serve(accepted(listener), receiver.clone(), options, shutdown.clone());
    let served = tokio::spawn(served);

    let transport = transport(Arc::new(TcpDialer), limits);
    transport.set(ASKED, &address);
    every_request_arrives(&transport, &receiver).await;

    shutdown.cancel();
    tokio::time::timeout(PATIENCE, served).await.expect("it stops").unwrap();
    let error = transport.call(member(ASKED), GroupId::Metadata, heartbeat(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. } | TransportError::Unreachable { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn in_memory_every_request_arrives_as_it_was_sent() {
    let pair = Pair::new();
    every_request_arrives(&pair.transport, &pair.receiver).await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_arrives_as_it_was_given_and_a_refusal_with_its_reason() {
    let replies = every_reply();
    let scripted = replies.clone();
    let pair = Pair::with(
        PeerLimits::default(),
        Receiver::new(move |group, _| {
            let GroupId::Partition(partition) = group else { panic!("a partition") };
            let reply = scripted.get(partition.index.0 as usize).cloned();
            async move { reply.ok_or(RefusedRequest::Malformed { reason: "no such answer".to_owned() }) }
        }),
    );
    for (index, reply) in replies.iter().enumerate() {
        // Batches come where there is room for them.
        let request = match reply {
            PeerReply::Batches(_) => batches_wanted(),
            _ => heartbeat(),
        };
        assert_eq!(pair.call(group(index as u32), request).await.unwrap(), *reply);
    }
    let error = pair.call(group(99), heartbeat()).await.unwrap_err();
    let TransportError::Refused { node: ASKED, reason } = error else { panic!("{error}") };
    assert!(reason.contains("no such answer"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_on_a_connection_of_its_own() {
    let pair = Pair::new();
    let ping = Ping { epoch: identity(ASKS).process, sent_at_us: 12, is_heard: true };
    let pong = pair.transport.ping(ASKED, ping, PATIENCE).await.unwrap();
    assert_eq!((pong.sent_at_us, pong.run), (12, Some(3)));
    let stranger = Ping { epoch: ProcessEpoch(999), ..ping };
    let error = pair.transport.ping(ASKED, stranger, PATIENCE).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error}");
    assert_eq!(pair.network.attempts(), 1);
    pair.call(group(1), heartbeat()).await.unwrap();
    pair.call(group(1), append(1, 10)).await.unwrap();
    assert_eq!(pair.network.attempts(), 3, "a lane each");
}

#[tokio::test(start_paused = true)]
async fn answers_come_when_they_are_ready_not_in_the_order_of_the_requests() {
    let pair = Pair::with(
        PeerLimits::default(),
        Receiver::new(|group, _| async move {
            let GroupId::Partition(partition) = group else { panic!("a partition") };
            tokio::time::sleep(Duration::from_millis(u64::from(partition.index.0))).await;
            Ok(PeerReply::Append(AppendReply::Stored))
        }),
    );
    let ends = Mutex::new(Vec::new());
    let call = async |delay: u32| {
        pair.call(group(delay), append(1, 100)).await.unwrap();
        ends.lock().push(delay);
    };
    join_all([90, 30, 60, 10].map(call)).await;
    assert_eq!(*ends.lock(), [10, 30, 60, 90]);
}

#[tokio::test(start_paused = true)]
async fn appends_of_a_group_are_handled_in_order_and_groups_do_not_wait_for_each_other() {
    let handled: Arc<Mutex<BTreeMap<GroupId, Vec<u64>>>> = Arc::default();
    let noted = Arc::clone(&handled);
    let receiver = Receiver::new(move |group, request| {
        let PeerRequest::Append(append) = request else { panic!("an append") };
        let (index, noted) = (append.entries[0].id.index.0, Arc::clone(&noted));
        async move {
            // The first ones take longest.
            tokio::time::sleep(Duration::from_millis(20 - index)).await;
            noted.lock().entry(group).or_default().push(index);
            Ok(PeerReply::Append(AppendReply::Stored))
        }
    });
    let pair = Pair::with(PeerLimits::default(), receiver);
    let started = tokio::time::Instant::now();
    let calls = (0..3).flat_map(|of| (0..10).map(move |index| (of, index)));
    let results = join_all(calls.map(|(of, index)| pair.call(group(of), append(index, 10)))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let expected: Vec<u64> = (0..10).collect();
    assert!(handled.lock().values().all(|indexes| *indexes == expected), "{handled:?}");
    let one_group: u64 = (0..10).map(|index| 20 - index).sum();
    assert_eq!(started.elapsed().as_millis() as u64, one_group, "one group's time, by the paused clock");
}

#[tokio::test(start_paused = true)]
async fn a_large_snapshot_passes_and_lets_others_pass() {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&handled);
    let pair = Pair::with(
        PeerLimits::default(),
        Receiver::new(move |_, request| {
            noted.lock().push(matches!(request, PeerRequest::Snapshot(_)));
            async { Ok(PeerReply::Append(AppendReply::Stored)) }
        }),
    );
    let large = snapshot(40 << 20);
    let all = all_of(&large);
    let (first, second) = tokio::join!(pair.call(group(1), large), pair.call(group(2), append(1, 1000)));
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert_eq!(*handled.lock(), [false, true], "the append did not wait for all of the snapshot");
    assert!(pair.receiver.seen().iter().any(|seen| seen.all == all), "byte for byte");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_taken_than_can_be_handled() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&now), Arc::clone(&most));
    let receiver = Receiver::new(move |_, _| {
        let (now, most) = counted.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(PeerReply::Append(AppendReply::Stored))
        }
    });
    let pair = Pair::with(PeerLimits { served_requests: 4, ..PeerLimits::default() }, receiver);
    let results = join_all((0..50).map(|of| pair.call(group(of), append(1, 100)))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_node_at_another_address_is_asked_there() {
    let pair = Pair::new();
    pair.call(group(1), heartbeat()).await.unwrap();
    pair.transport.set(ASKED, "memory");
    pair.call(group(1), heartbeat()).await.unwrap();
    assert_eq!(pair.network.attempts(), 1, "nothing has changed");
    pair.transport.set(ASKED, "elsewhere");
    pair.call(group(1), heartbeat()).await.unwrap();
    assert_eq!(pair.network.attempts(), 2);
}
