//! Clients that begin large messages and never finish them: what they make the node hold is
//! bounded over all connections, and they make way for others. Alone in its process, whose memory it measures.

mod harness;

use bytes::{BufMut as _, Bytes, BytesMut};
use harness::{TestNode, batch, produce, soon};
use highwater_types::limits;
use http::{Method, Request};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MESSAGE_BYTES: u32 = 16 << 20;
const SENT_BYTES: usize = 15 << 20;
const CLIENTS: usize = 64;

/// A figure of this process in bytes, as the system names it.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("known");
    let kib: usize = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kib << 10
}

/// Sends the beginning of a message over a connection of its own and waits how that ends: the
/// code of the call's status.
async fn stall(node: std::net::SocketAddr, beginning: Bytes) -> String {
    let stream = TcpStream::connect(node).await.expect("accepted");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.expect("open");
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{node}/highwater.v1.LogService/Produce"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (response, mut body) = client.send_request(request, false).expect("open");
    body.send_data(beginning, false).expect("open");
    let response = response.await.expect("an answer");
    let code = response.headers().get("grpc-status").expect("a status at once");
    let code = code.to_str().expect("digits").to_owned();
    driver.abort();
    code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_begun_and_never_finished_hold_bounded_memory_and_make_way_for_others() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[("max.message.bytes", "16777216")]).await;
    let mut beginning = BytesMut::with_capacity(SENT_BYTES);
    beginning.put_u8(0);
    beginning.put_u32(MESSAGE_BYTES);
    beginning.resize(SENT_BYTES, 7);
    let beginning = beginning.freeze();
    let before = memory("VmRSS");
    let mut stalled = JoinSet::new();
    for _ in 0..CLIENTS {
        stalled.spawn(stall(node.node.grpc_address(), beginning.clone()));
    }
    let log = node.log().await;
    // The first that is told makes sure that there is no room left to begin with.
    let refused = soon("a refusal", stalled.join_next()).await.expect("some").expect("ends");
    assert_eq!(refused, "8", "RESOURCE_EXHAUSTED");
    let append = async |value_bytes| {
        let request = produce("orders", 0, batch(1, value_bytes).into_bytes());
        soon("an append", log.clone().produce(request)).await.expect("room is made");
    };
    append(10).await;
    // Windows, frames and what the allocator keeps come on top of the budget. Without it all that was sent would
    // be held, twice as much.
    let most = CLIENTS * SENT_BYTES / 2;
    assert!(limits::NODE_INBOUND_BYTES_MAX < most);
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < most, "{} MiB", grown >> 20);
    for value_bytes in [1 << 20, 15 << 20] {
        append(value_bytes).await;
    }
}
