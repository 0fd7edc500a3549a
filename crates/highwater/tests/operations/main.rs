//! A cluster in the life that its operator leads it: a node is lost and comes back, is restarted in maintenance, a fourth one
//! comes, the first one goes. All by commands, in real processes, while somebody produces all the time.

#![allow(clippy::print_stdout)] // What a node says belongs to the output of its test.

mod load;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use load::Load;
use support::{BINARY, Cluster, text, wait_for};

/// How long a command may wait for the cluster.
const TIMEOUT: &str = "120s";

/// The operator's shell.
struct Shell {
    servers: String,
}

impl Shell {
    fn of(cluster: &Cluster) -> Self {
        let port = first_port(cluster);
        Self { servers: format!("127.0.0.1:{port},127.0.0.1:{},127.0.0.1:{}", port + 10, port + 20) }
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(BINARY);
        command.args(line.split(' ')).env("HIGHWATER_SERVER", &self.servers).stdin(Stdio::null());
        command.output().expect("the binary runs")
    }

    /// Runs a command that must work, and returns what it printed.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{line}: {out}{err}");
        out
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --output json"))).expect("JSON")
    }

    /// A number that a node is listed with.
    fn of_node(&self, node: u64, field: &str) -> Option<u64> {
        let nodes = self.json("node list");
        nodes.as_array()?.iter().find(|found| found["node_id"] == node)?[field].as_u64()
    }

    fn wait_until_healthy(&self) {
        let status = self.ok(&format!("cluster status --wait healthy --timeout {TIMEOUT}"));
        assert!(status.starts_with("healthy\n"), "{status}");
    }
}

/// A node beside those of `dev`; it dies with its test.
struct FourthNode(Child);

impl FourthNode {
    fn start(data: &Path, first_port: u64, seeds: &str) -> Self {
        let mut process = Command::new(BINARY)
            .args(["serve", "--node-id", "4", "--cluster-seeds", seeds, "--data-dir"])
            .arg(data.join("node-4"))
            .args(["--listen-grpc", &format!("127.0.0.1:{}", first_port + 30)])
            .args(["--listen-peer", &format!("127.0.0.1:{}", first_port + 31)])
            .args(["--listen-http", &format!("127.0.0.1:{}", first_port + 32)])
            // A variable of the tests, and no setting of a node.
            .env_remove("HIGHWATER_BINARY")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // What it says belongs to the test's output, should it fail.
        let log = BufReader::new(process.stderr.take().expect("stderr is piped"));
        std::thread::spawn(move || {
            log.lines().map_while(Result::ok).for_each(|line| println!("node 4: {line}"))
        });
        Self(process)
    }
}

impl Drop for FourthNode {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn first_port(cluster: &Cluster) -> u64 {
    let layout = std::fs::read(cluster.data.join("cluster.json")).expect("the cluster's layout");
    serde_json::from_slice::<Value>(&layout).expect("JSON")["port"].as_u64().expect("a port")
}

#[test]
fn a_cluster_is_operated_through_a_kill_a_maintenance_a_move_and_a_removal_and_nothing_is_lost() {
    let mut cluster = Cluster::start();
    let port = first_port(&cluster);
    let shell = Shell::of(&cluster);
    let servers = shell.servers.clone();
    shell.ok("topic create orders --partitions 6 --replication-factor 3");
    shell.wait_until_healthy();
    let load = Load::start("orders", &servers);

    cluster.play("kill", 3);
    let lost = shell.run("cluster status");
    let screen = text(&lost.stdout);
    assert_eq!(lost.status.code(), Some(1), "{screen}");
    assert!(screen.starts_with("unhealthy") && screen.contains("node 3 does not answer"), "{screen}");
    cluster.play("start", 3);
    shell.wait_until_healthy();

    let done = shell.ok(&format!("node maintenance 2 --timeout {TIMEOUT}"));
    assert!(done.contains("node 2 leads nothing") && done.contains("highwater node activate 2"), "{done}");
    assert_eq!(shell.of_node(2, "leaders"), Some(0));
    // Who takes over may not serve yet at the moment at which the node leads nothing any more.
    shell.wait_until_healthy();
    let status = shell.ok("cluster status");
    assert!(status.contains("node 2 is in maintenance"), "{status}");
    let back = shell.ok(&format!("node maintenance 2 --off --timeout {TIMEOUT}"));
    assert!(!back.contains("reassign"), "it has its replicas: {back}");

    shell.ok("partition transfer orders-0 --to 3");
    assert_eq!(shell.json("partition describe orders-0")["leader_node_id"], 3);

    let _fourth = FourthNode::start(&cluster.data, port, &servers);
    wait_for("node 4 is in the cluster", || shell.of_node(4, "uptime_ms").is_some());
    let file = cluster.data.join("plan.json");
    let plan = shell.ok(&format!("reassign plan --balance --file {}", file.display()));
    assert!(plan.contains("copy to 4"), "{plan}");
    let apply = format!("reassign apply {} --timeout {TIMEOUT}", file.display());
    assert!(shell.ok(&apply).starts_with("moved "), "{plan}");
    shell.ok(&apply);
    assert!(shell.of_node(4, "replicas") > Some(0));
    assert_eq!(shell.ok("reassign plan --balance"), "");

    let early = shell.run("node remove 1");
    assert_eq!(early.status.code(), Some(1), "{}", text(&early.stderr));
    let drained = shell.ok(&format!("node drain 1 --timeout {TIMEOUT}"));
    assert!(drained.contains("highwater node remove 1"), "{drained}");
    let empty = shell.ok(&format!("node activate 1 --timeout {TIMEOUT}"));
    assert!(empty.contains("highwater reassign plan --balance"), "{empty}");
    shell.ok(&format!("node drain 1 --timeout {TIMEOUT}"));
    shell.ok("node remove 1");
    wait_for("the node that was removed ends by itself", || cluster.pid_of(1).is_none());
    wait_for("the others know it", || shell.json("node list").as_array().map(Vec::len) == Some(3));
    assert_eq!(shell.ok("node remove 1"), "node 1 was removed already\n");
    let unknown = shell.run("node remove 9");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("node 9 is not in the cluster"), "{}", text(&unknown.stderr));
    // It serves until it hears that it was removed, or ends before that.
    cluster.command("start", 1);
    wait_for("it ends again, and says why", || {
        let log = std::fs::read_to_string(cluster.data.join("node-1.log")).expect("the node's log");
        log.lines().filter(|line| line.starts_with("error: the cluster goes on without this node")).count() == 2
    });
    shell.wait_until_healthy();
    load.settle();
    cluster.parent.kill().expect("killed");
    cluster.wait_until_none_runs();
}

#[test]
fn a_topic_that_is_deleted_and_a_leader_that_is_killed_leave_no_error_in_the_logs_of_the_others() {
    let cluster = Cluster::start();
    let shell = Shell::of(&cluster);
    shell.ok("topic create orders --partitions 12 --replication-factor 3");
    shell.ok("topic create brief --partitions 12 --replication-factor 3");
    shell.wait_until_healthy();
    shell.ok("topic delete brief");
    let leader = shell.json("cluster describe")["controller_node_id"].as_u64().expect("somebody leads");
    let leader = u8::try_from(leader).expect("one of three");
    cluster.play("kill", leader);
    wait_for("the others lead", || {
        let status = serde_json::from_slice::<Value>(&shell.run("cluster status --output json").stdout);
        status.is_ok_and(|now| now["unavailable"]["count"] == 0 && now["controller_node_id"] != leader)
    });
    cluster.play("start", leader);
    shell.wait_until_healthy();
    for other in (1..=3).filter(|node| *node != leader) {
        let log = std::fs::read_to_string(cluster.data.join(format!("node-{other}.log"))).expect("its log");
        let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
        assert!(errors.is_empty(), "node {other}: {errors:#?}");
    }
}

#[test]
fn a_first_server_that_stands_still_does_not_keep_the_others_from_answering() {
    let cluster = Cluster::start();
    let shell = Shell::of(&cluster);
    shell.ok("topic create orders --partitions 3 --replication-factor 3");
    shell.wait_until_healthy();
    cluster.play("pause", 1);
    wait_for("the others lead", || {
        let status = serde_json::from_slice::<Value>(&shell.run("cluster status --output json").stdout);
        status.is_ok_and(|now| now["unavailable"]["count"] == 0 && now["controller_node_id"].is_u64())
    });
    shell.ok("topic create payments --partitions 6 --replication-factor 3");
    assert!(shell.ok("topic list").contains("payments"));
    cluster.play("resume", 1);
}
