//! A node that is told to stop while it works.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{check, check_exit, comes};
use crate::CrashError;
use crate::check::verify;
use crate::node::Node;
use crate::scenario::{create_topics, topics};
use crate::workload::Workload;

/// How a shell reports what Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Under load, each of SIGTERM and Ctrl-C ends the node in good order, again and again; the load goes on after each restart.
///
/// # Errors
/// When a promise is broken.
pub async fn stopped_under_load(directory: &Path, rounds: u32, seed: u64) -> Result<(), CrashError> {
    let mut node = Node::new(directory.join("node"))?;
    let client = node.start().await?;
    create_topics(&client).await?;
    let workload = Workload::start(&node.address(), &topics(), 0..4, seed)?;
    for round in 0..rounds {
        workload.wait_for(500).await?;
        workload.release();
        node.signal(if round % 2 == 0 { "TERM" } else { "INT" })?;
        check_exit(node.wait_end().await?, 0, &node.log_tail())?;
        workload.hold();
        node.inspect()?;
        let client = node.start().await?;
        verify(&client, &topics(), &workload.ledger().acked().await, seed).await?;
    }
    let (ledger, sent) = workload.finish().await?;
    let client = highwater_client::Client::connect([node.address()])?;
    let read = verify(&client, &topics(), &ledger.acked().await, seed).await?;
    check(read == sent, || format!("{sent} sent, {} acknowledged, {read} read", ledger.count()))?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    node.inspect().map(drop)
}

/// A stop that the disk holds up, by syncs of minutes: a second Ctrl-C ends the node at once, and nothing is lost.
///
/// # Errors
/// When a promise is broken.
pub async fn second_interrupt(directory: &Path, seed: u64) -> Result<(), CrashError> {
    let mut node = Node::new(directory.join("node"))?;
    let client = node.start().await?;
    create_topics(&client).await?;
    let workload = Workload::start(&node.address(), &topics(), 0..4, seed)?;
    workload.wait_for(300).await?;
    let process = node.process_id()?;
    let mut slow = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync,msync,syncfs"])
        .args(["-e", "inject=fdatasync,fsync,msync,syncfs:delay_enter=300000000", "-p", &process.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(CrashError::io("attaching strace"))?;
    let ended = interrupt_twice(&node, process).await;
    // Or strace would hold up what is left of the process.
    let _ = slow.kill();
    let _ = slow.wait();
    ended?;
    check_exit(node.wait_end().await?, INTERRUPTED, &node.log_tail())?;
    node.inspect()?;
    let client = node.start().await?;
    let acked = workload.abandon().await;
    verify(&client, &topics(), &acked, seed).await?;
    check_exit(node.stop().await?, 0, &node.log_tail())
}

async fn interrupt_twice(node: &Node, process: u32) -> Result<(), CrashError> {
    let status = || std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let has = |line: &str, is: fn(&str) -> bool| {
        status().lines().any(|text| text.strip_prefix(line).is_some_and(|value| is(value.trim())))
    };
    comes("strace is attached", || async { Ok(has("TracerPid:", |process| process != "0")) }).await?;
    node.signal("INT")?;
    comes("the node says that it stops", || async { Ok(node.log_tail().contains("Ctrl-C again")) }).await?;
    check(!has("State:", |state| state.starts_with('Z')), || "the stop did not hang".to_owned())?;
    node.signal("INT")?;
    comes("the node ends", || async { Ok(has("State:", |state| state.starts_with('Z'))) }).await
}
