//! A node of a test's own, and the command line that asks it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The program.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_highwater");

/// A node that dies with its test.
pub(crate) struct Node {
    process: Child,
    pub(crate) address: String,
}

impl Node {
    /// A node with this data.
    pub(crate) fn start(data: &Path, grpc_port: &str) -> Self {
        let mut process = Command::new(BINARY)
            .args(["dev", "--grpc-port", grpc_port, "--http-port", "0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stdout = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let address = stdout
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.trim().strip_prefix("gRPC").map(|address| address.trim().to_owned()))
            .expect("the node says where it listens");
        Self { process, address }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> String {
        self.address.rsplit(':').next().expect("host:port").to_owned()
    }

    /// A command that asks it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).env("HIGHWATER_SERVER", &self.address).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Runs a command that must work, and returns what it printed.
    pub(crate) fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command with this on its stdin.
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // A command that stops at an error does not read the rest.
        let _ = child.stdin.take().expect("stdin is piped").write_all(input);
        child.wait_with_output().expect("the binary ends")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a command said beside its results.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A node with nothing in it.
pub(crate) fn started() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = Node::start(&folder.path().join("data"), "0");
    (folder, node)
}
