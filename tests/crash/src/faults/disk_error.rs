//! A disk that returns an error once a sync is asked of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use highwater_types::exit_code;

use super::{check, check_exit, check_says, comes};
use crate::CrashError;
use crate::check::verify;
use crate::node::Node;
use crate::power::LoopDisk;
use crate::scenario::{create_topics, topics};
use crate::workload::Workload;

/// The calls that make data durable.
const SYNCS: &str = "fdatasync,fsync,msync,sync_file_range,syncfs";

/// strace, attached to a node: from its `from`th sync on, each returns EIO and syncs nothing.
pub struct FailingSyncs(Child);

impl FailingSyncs {
    /// Starts to attach.
    ///
    /// # Errors
    /// When the node does not run, or strace cannot.
    pub fn attach(node: &Node, from: u32) -> Result<Self, CrashError> {
        let process = node.process_id()?;
        let child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={SYNCS}")])
            .args(["-e", &format!("inject={SYNCS}:error=EIO:when={from}+"), "-p", &process.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(CrashError::io("attaching strace"))?;
        Ok(Self(child))
    }

    /// Waits until it is at work, or has been: a node that syncs right then has ended before this can look.
    async fn attached(&self, node: &Node) -> Result<(), CrashError> {
        let status = format!("/proc/{}/status", node.process_id()?);
        comes("strace is attached", || async {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let has = |line: &str| text.lines().any(|text| text.starts_with(line));
            Ok(!has("TracerPid:\t0") || has("State:\tZ"))
        })
        .await
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        // It ends with the node; this is for a run that failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Under load, a sync fails: the node ends with the code for a failed disk and says so. What the failed sync did not cover
/// is then really lost, by a power cut; everything that was acknowledged is there after the restart.
///
/// # Errors
/// When a promise is broken.
pub async fn sync_fails_under_load(
    disk: &LoopDisk,
    log: &Path,
    rounds: u32,
    seed: u64,
) -> Result<(), CrashError> {
    let mut node = Node::new(disk.mounted_at().join("node"))?;
    node.set_log(log.to_owned());
    let client = node.start().await?;
    create_topics(&client).await?;
    let durable = topics().into_iter().filter(|name| name.starts_with("fsync")).collect::<Vec<_>>();
    let workload = Workload::start(&node.address(), &durable, 0..4, seed)?;
    for round in 0..rounds {
        workload.wait_for(300).await?;
        workload.release();
        let failing = FailingSyncs::attach(&node, 1 + 3 * round)?;
        check_exit(node.wait_end().await?, exit_code::DISK_FAILED, &node.log_tail())?;
        drop(failing);
        workload.hold();
        let wanted = [
            "the disk failed",
            "Input/output error",
            "Nothing that was acknowledged is lost",
            "check the disk",
        ];
        check_says(&node.log_tail(), &wanted)?;
        disk.cut_power()?;
        disk.power_on()?;
        node.inspect()?;
        let client = node.start().await?;
        verify(&client, &durable, &workload.ledger().acked().await, seed).await?;
    }
    let (ledger, sent) = workload.finish().await?;
    let client = highwater_client::Client::connect([node.address()])?;
    let read = verify(&client, &durable, &ledger.acked().await, seed).await?;
    check(read == sent, || format!("{sent} sent, {} acknowledged, {read} read", ledger.count()))?;

    // The syncs of the last checkpoint are of the same kind.
    let failing = FailingSyncs::attach(&node, 1)?;
    failing.attached(&node).await?;
    check_exit(node.stop().await?, exit_code::DISK_FAILED, &node.log_tail())?;
    drop(failing);
    node.inspect()?;
    let client = node.start().await?;
    verify(&client, &durable, &ledger.acked().await, seed).await?;
    check_exit(node.stop().await?, 0, &node.log_tail())
}
