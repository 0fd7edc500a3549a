//! A cluster on this machine as a user runs it: `dev --nodes`, faults played on its nodes, and the tour.
//!
//! Nothing may be left running whatever ends the parent, so every test ends by waiting for all nodes' locks to be free.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use highwater_storage::directory::locked_by;

const BINARY: &str = env!("CARGO_BIN_EXE_highwater");
/// What nothing here takes, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// `dev --nodes 3` in a temporary folder.
struct Cluster {
    parent: Child,
    data: PathBuf,
    _folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Longer than the path of a socket may be.
        let data = folder.path().join("a-long-name-".repeat(12));
        let parent = run_nodes(&data, &["--port", "0"]);
        Self { parent, data, _folder: folder }
    }

    fn command(&self, fault: &str, node: u8) -> Output {
        let mut command = Command::new(BINARY);
        command.args(["dev", fault, &node.to_string(), "--data"]).arg(&self.data);
        command.output().expect("the binary runs")
    }

    /// Plays a fault, which must work.
    fn play(&self, fault: &str, node: u8) -> String {
        let output = self.command(fault, node);
        assert!(output.status.success(), "{fault} {node}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn pid_of(&self, node: u8) -> Option<u32> {
        locked_by(&self.data.join(format!("node-{node}")))
    }

    fn wait_until_none_runs(&self) {
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
fn run_nodes(data: &Path, more: &[&str]) -> Child {
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

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What Ctrl-C sends.
fn interrupt(process: &Child) {
    let pid = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
}

fn ended(process: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for("the process ends", || {
        status = process.try_wait().expect("it can be waited for");
        status.is_some()
    });
    status.expect("it ended")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_killed_node_is_started_again_and_ctrl_c_ends_all_of_them_also_one_that_is_paused() {
    let mut cluster = Cluster::start();
    let first = cluster.pid_of(2).expect("node 2 runs");
    assert_eq!(cluster.play("kill", 2), format!("killed node 2 (process {first})\n"));
    assert_eq!(cluster.pid_of(2), None);
    let again = cluster.command("kill", 2);
    assert!(
        !again.status.success() && text(&again.stderr).contains("is not running"),
        "{}",
        text(&again.stderr)
    );

    cluster.play("start", 2);
    assert!(cluster.pid_of(2).is_some_and(|second| second != first));
    let again = cluster.command("start", 2);
    assert!(!again.status.success() && text(&again.stderr).contains("runs already"), "{}", text(&again.stderr));
    let unknown = cluster.command("pause", 4);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));

    cluster.play("pause", 1);
    cluster.play("resume", 1);
    cluster.play("pause", 3);
    interrupt(&cluster.parent);
    assert!(ended(&mut cluster.parent).success());
    cluster.wait_until_none_runs();
    let late = cluster.command("start", 2);
    assert!(text(&late.stderr).contains("nothing runs the cluster"), "{}", text(&late.stderr));
}

#[test]
fn a_parent_that_is_killed_leaves_no_node_and_the_next_one_goes_on_with_the_same_cluster() {
    let mut cluster = Cluster::start();
    cluster.play("pause", 2);
    cluster.parent.kill().expect("killed");
    cluster.parent.wait().expect("waited for");
    cluster.wait_until_none_runs();

    let identity = || std::fs::read(cluster.data.join("node-3/identity")).expect("born");
    let before = identity();
    let other = Command::new(BINARY).args(["dev", "--nodes", "5", "--data"]).arg(&cluster.data).output();
    let other = text(&other.expect("the binary runs").stderr);
    assert!(other.contains("holds a cluster of 3 nodes"), "{other}");
    cluster.parent = run_nodes(&cluster.data, &[]);
    assert_eq!(identity(), before);
    let twice = Command::new(BINARY).args(["dev", "--nodes", "3", "--data"]).arg(&cluster.data).output();
    let twice = text(&twice.expect("the binary runs").stderr);
    assert!(twice.contains("runs already"), "{twice}");
    interrupt(&cluster.parent);
    assert!(ended(&mut cluster.parent).success());
    cluster.wait_until_none_runs();
}

/// The tour, with its temporary folder in here.
fn tour(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("tour").env("TMPDIR", folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("a folder").next().is_none()
}

#[test]
fn the_tour_loses_nothing_when_a_leader_is_killed_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = tour(folder.path()).output().expect("the binary runs");
    let account = text(&output.stdout);
    assert!(output.status.success(), "{account}{}", text(&output.stderr));
    for name in ["lost", "duplicated", "out of order", "changed"] {
        let line = account.lines().find_map(|line| line.trim().strip_prefix(name)).expect(name);
        assert_eq!(line.split_whitespace().next(), Some("0"), "{account}");
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn a_tour_that_is_interrupted_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut process = tour(folder.path()).spawn().expect("the binary runs");
    let mut stdout = BufReader::new(process.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it says that the nodes are up");
    let inside =
        std::fs::read_dir(folder.path()).expect("a folder").next().expect("the tour's").expect("readable");
    let nodes: Vec<PathBuf> = (1..=3).map(|node| inside.path().join(format!("node-{node}"))).collect();
    let pids: Vec<u32> = nodes.iter().map(|node| locked_by(node).expect("it runs")).collect();
    interrupt(&process);
    assert!(!ended(&mut process).success());
    stdout.read_to_string(&mut line).expect("the rest");
    assert!(is_empty(folder.path()), "{line}");
    for pid in pids {
        // As a zombie it would be gone from here too.
        wait_for("a node is gone", || !Path::new(&format!("/proc/{pid}/exe")).exists());
    }
}
