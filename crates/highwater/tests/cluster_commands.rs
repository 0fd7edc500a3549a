//! A cluster on this machine as a user runs it: `dev --nodes`, faults played on its nodes, and the tour.
//!
//! Nothing may be left running whatever ends the parent, so every test ends by waiting for all nodes' locks to be free.

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use highwater_storage::directory::locked_by;

use support::{BINARY, Cluster, run_nodes, text, wait_for};

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
