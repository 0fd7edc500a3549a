//! The processes of a cluster on this machine, as their parent sees them.
//!
//! Each child has a pipe as its standard input and ends when that does, so none outlives its parent, however the parent ends.
//! Each is a process group of its own, so Ctrl-C in a terminal reaches the parent alone, which ends them in good order;
//! and should the parent die while a child is stopped, the kernel ends the child (SIGHUP and SIGCONT to an orphaned group).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use highwater_storage::directory::locked_by;
use tokio::process::{ChildStdin, Command};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use super::layout::Layout;
use super::signal::{Blow, strike};
use crate::commands::health::is_ready;
use crate::error::CliError;

/// How long a node of an earlier parent may take to end, and a node to serve.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether it does.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How much of a log is read for its last line.
const LAST_BYTES: usize = 4 << 10;

/// A child that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The node.
    pub(crate) node: u8,
    /// How.
    pub(crate) status: ExitStatus,
}

/// See the module. Dropping it kills what runs.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    layout: Layout,
    program: PathBuf,
    /// Closing one ends the node. With the number of the child, for one may be started before it is known that the
    /// one before it ended.
    inputs: BTreeMap<u8, (u64, ChildStdin)>,
    children: JoinSet<(u8, u64, io::Result<ExitStatus>)>,
    started: u64,
    _lock: File,
}

impl LocalCluster {
    /// Takes the folder, which nobody else then has. Starts nothing.
    pub(crate) fn take(layout: Layout) -> Result<Self, CliError> {
        let path = layout.data().join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|cause| layout.failed("open", path.clone(), cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::ClusterInUse { data: layout.data().to_path_buf() });
            }
            Err(TryLockError::Error(cause)) => return Err(layout.failed("lock", path, cause)),
        }
        let program = std::env::current_exe().map_err(CliError::Start)?;
        Ok(Self { layout, program, inputs: BTreeMap::new(), children: JoinSet::new(), started: 0, _lock: lock })
    }

    /// Where everything is.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts a node, when a process of an earlier parent has let go of its directory, and returns its process.
    pub(crate) async fn start(&mut self, node: u8) -> Result<u32, CliError> {
        self.layout.check(node)?;
        let folder = self.layout.folder(node);
        let deadline = Instant::now() + if self.inputs.contains_key(&node) { Duration::ZERO } else { PATIENCE };
        while let Some(pid) = locked_by(&folder) {
            if Instant::now() >= deadline {
                return Err(CliError::NodeRuns { node, pid });
            }
            sleep(LOOK).await;
        }
        let log = self.layout.log(node);
        let (out, errors) = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|cause| self.layout.failed("open", log, cause))?;
        let mut command = Command::new(&self.program);
        command.args(self.layout.arguments(node)).stdin(Stdio::piped()).stdout(out).stderr(errors);
        command.process_group(0).kill_on_drop(true);
        // What is set for another node, or for this command line, is not meant for these.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"HIGHWATER_") {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().map_err(CliError::Start)?;
        self.started += 1;
        let number = self.started;
        // It has one until it was waited for.
        let process = child.id().unwrap_or_default();
        let input = child.stdin.take();
        self.inputs.extend(input.map(|input| (node, (number, input))));
        self.children.spawn(async move { (node, number, child.wait().await) });
        Ok(process)
    }

    /// Starts all nodes, and waits until they serve.
    pub(crate) async fn start_all(&mut self) -> Result<(), CliError> {
        for node in self.layout.ids() {
            self.start(node).await?;
        }
        let layout = self.layout.clone();
        tokio::select! {
            served = async {
                for node in layout.ids() {
                    wait_ready(&layout, node).await?;
                }
                Ok(())
            } => served,
            ended = self.ended() => Err(self.why(&ended)),
        }
    }

    /// Waits for the next node that ends. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            match self.children.join_next().await {
                Some(Ok((node, number, Ok(status)))) => {
                    self.inputs.retain(|_, (input_of, _)| *input_of != number);
                    return Ended { node, status };
                }
                // Nothing is known of it, and it is not waited for any more.
                Some(Ok((_, _, Err(_))) | Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// What there is to say about a node that ended.
    pub(crate) fn why(&self, ended: &Ended) -> CliError {
        let log = self.layout.log(ended.node);
        // One that was killed had nothing to say about it.
        let last = ended.status.code().map(|_| last_line(&log)).unwrap_or_default();
        CliError::NodeEnded { node: ended.node, status: ended.status, last, log }
    }

    /// Ends all nodes in good order, and waits until they have.
    pub(crate) async fn stop(&mut self) {
        self.inputs.clear();
        for node in self.layout.ids() {
            // One that is paused cannot end; one that is gone need not go on.
            let _ = strike(&self.layout, node, Blow::Resume);
        }
        while self.children.join_next().await.is_some() {}
    }

    /// Ends all nodes at once, and waits until they have.
    pub(crate) async fn kill(&mut self) {
        self.inputs.clear();
        self.children.shutdown().await;
        for node in self.layout.ids() {
            while locked_by(&self.layout.folder(node)).is_some() {
                sleep(LOOK).await;
            }
        }
    }
}

/// Waits until a node serves.
pub(super) async fn wait_ready(layout: &Layout, node: u8) -> Result<(), CliError> {
    let (http, deadline) = (layout.http(node), Instant::now() + PATIENCE);
    loop {
        if spawn_blocking(move || is_ready(http)).await.unwrap_or(false) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CliError::NodeNotReady { node, seconds: PATIENCE.as_secs(), log: layout.log(node) });
        }
        sleep(LOOK).await;
    }
}

/// The last line of a log, or nothing.
pub(super) fn last_line(log: &std::path::Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let end = &bytes[bytes.len().saturating_sub(LAST_BYTES)..];
    let text = String::from_utf8_lossy(end).into_owned();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}
