//! What the tests with processes of the program share: a cluster that ends with its test.

mod waiting;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use highwater_storage::directory::locked_by;

use waiting::DEADLINE;
pub(crate) use waiting::wait_for;

/// The program.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_highwater");

/// `dev --nodes 3` in a temporary folder.
pub(crate) struct Cluster {
    pub(crate) parent: Child,
    pub(crate) data: PathBuf,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Longer than the path of a socket may be.
        let data = folder.path().join("a-long-name-".repeat(12));
        let parent = run_nodes(&data, &["--port", "0"]);
        Self { parent, data, _folder: folder }
    }

    pub(crate) fn command(&self, fault: &str, node: u8) -> Output {
        let mut command = Command::new(BINARY);
        command.args(["dev", fault, &node.to_string(), "--data"]).arg(&self.data);
        command.output().expect("the binary runs")
    }

    /// Plays a fault, which must work.
    pub(crate) fn play(&self, fault: &str, node: u8) -> String {
        let output = self.command(fault, node);
        assert!(output.status.success(), "{fault} {node}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn pid_of(&self, node: u8) -> Option<u32> {
        locked_by(&self.data.join(format!("node-{node}")))
    }

    pub(crate) fn wait_until_none_runs(&self) {
        wait_for("no node runs", || (1..=3).all(|node| self.pid_of(node).is_none()));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be dead already; its nodes end with it.
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }
}

/// Starts the nodes and waits until they serve.
pub(crate) fn run_nodes(data: &Path, more: &[&str]) -> Child {
    let mut parent = Command::new(BINARY)
        .args(["dev", "--nodes", "3", "--data"])
        .arg(data)
        .args(more)
        // Meant for others: none of it may reach a node.
        .env("HIGHWATER_NODE_ID", "77")
        .env("HIGHWATER_NO_SUCH_SETTING", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let stdout = BufReader::new(parent.stdout.take().expect("stdout is piped"));
    let (up, is_up) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if line.contains("runs 3 nodes") {
                // The test may have given up.
                let _ = up.send(());
            }
        }
    });
    is_up.recv_timeout(DEADLINE).expect("the nodes serve");
    parent
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
