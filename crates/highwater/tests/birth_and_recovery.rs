//! The birth of a cluster by command, and the way out when its majority is lost, with real processes as an operator runs them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_highwater");
/// What nothing here takes, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Nodes that are run by hand, each with its ports and its directory.
struct Machines {
    folder: tempfile::TempDir,
    ports: Vec<[u16; 3]>,
}

/// A running node, which dies with its test.
struct Running {
    process: Child,
}

impl Machines {
    fn new(nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // All are held until all are known, so that no two are the same.
        let held: Vec<TcpListener> =
            (0..nodes * 3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        let ports = held.chunks(3).map(|three| [port(&three[0]), port(&three[1]), port(&three[2])]).collect();
        Self { folder, ports }
    }

    fn grpc(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.ports[node - 1][0])
    }

    fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{node}"))
    }

    fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("node-{node}.log"))).unwrap_or_default()
    }

    /// `highwater serve` for a node, with its seeds.
    fn start(&self, node: usize, seeds: &[usize]) -> Running {
        let [grpc, peer, http] = self.ports[node - 1];
        let log = std::fs::File::create(self.folder.path().join(format!("node-{node}.log"))).expect("created");
        let seeds: Vec<String> = seeds.iter().map(|seed| self.grpc(*seed)).collect();
        let mut command = highwater();
        command
            .args(["serve", "--node-id", &node.to_string(), "--listen-grpc", &format!("127.0.0.1:{grpc}")])
            .args([
                "--listen-peer",
                &format!("127.0.0.1:{peer}"),
                "--listen-http",
                &format!("127.0.0.1:{http}"),
            ])
            .arg("--data-dir")
            .arg(self.data(node))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if !seeds.is_empty() {
            command.args(["--cluster-seeds", &seeds.join(",")]);
        }
        Running { process: command.spawn().expect("the binary runs") }
    }

    /// What /readyz says, once the node listens.
    fn readyz(&self, node: usize) -> String {
        let url = format!("http://127.0.0.1:{}/readyz", self.ports[node - 1][2]);
        let output = highwater().args(["health", "--url", &url]).output().expect("the binary runs");
        text(&output)
    }

    fn wait_until_listening(&self, node: usize) {
        wait_for("the node listens", || self.readyz(node).contains("cluster init"));
    }

    fn wait_until_ready(&self, node: usize) {
        wait_for("the node is ready", || self.readyz(node).trim() == "ready");
    }

    /// The cluster that a node says it belongs to.
    fn describe(&self, node: usize) -> serde_json::Value {
        let output = highwater()
            .args(["cluster", "describe", "--output", "json", "--server", &self.grpc(node)])
            .output()
            .expect("the binary runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }

    fn cluster_id(&self, node: usize) -> String {
        self.describe(node)["cluster_id"].as_str().expect("an id").to_owned()
    }

    fn run(&self, node: usize, args: &[&str]) -> Output {
        highwater().args(args).args(["--server", &self.grpc(node)]).output().expect("the binary runs")
    }
}

impl Running {
    /// As if the machine lost it.
    fn kill(mut self) {
        self.process.kill().expect("it is killed");
        self.process.wait().expect("it ends");
    }

    /// Waits until it ends by itself.
    fn ended(mut self) -> Option<i32> {
        let mut status = None;
        wait_for("the node ends", || {
            status = self.process.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it ended").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, with nothing of ours in its environment.
fn highwater() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HIGHWATER_")) {
        command.env_remove(name);
    }
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Three nodes that name each other as seeds and wait.
fn three_waiting(machines: &Machines) -> Vec<Running> {
    let nodes: Vec<Running> = (1..=3)
        .map(|node| {
            let seeds: Vec<usize> = (1..=3).filter(|seed| *seed != node).collect();
            machines.start(node, &seeds)
        })
        .collect();
    (1..=3).for_each(|node| machines.wait_until_listening(node));
    nodes
}

#[test]
fn nodes_without_a_cluster_wait_say_what_to_do_and_init_makes_them_one_however_often() {
    let machines = Machines::new(3);
    let _nodes = three_waiting(&machines);
    let refused = machines.run(2, &["topic", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("highwater cluster init --server"), "{}", text(&refused));

    let founded = machines.run(2, &["cluster", "init"]);
    assert!(founded.status.success(), "{}", text(&founded));
    assert!(text(&founded).contains("node 1 at "), "{}", text(&founded));
    (1..=3).for_each(|node| machines.wait_until_ready(node));
    let cluster = machines.cluster_id(1);
    assert!(text(&founded).contains(&cluster), "{}", text(&founded));
    for node in 2..=3 {
        assert_eq!(machines.cluster_id(node), cluster);
    }
    let again = machines.run(3, &["cluster", "init"]);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains(&format!("cluster {cluster} is initialized already")), "{}", text(&again));
}

#[test]
fn a_list_that_leaves_out_a_seed_or_names_a_node_that_is_not_there_founds_nothing() {
    let machines = Machines::new(4);
    let _nodes = three_waiting(&machines);
    let short = machines.run(1, &["cluster", "init", "--voters", &machines.grpc(1)]);
    assert_eq!(short.status.code(), Some(1));
    assert!(text(&short).contains("not among --voters"), "{}", text(&short));
    let list = [1, 2, 3, 4].map(|node| machines.grpc(node)).join(",");
    let absent = machines.run(1, &["cluster", "init", "--voters", &list]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent).contains(&machines.grpc(4)), "{}", text(&absent));
    assert!(text(&absent).contains("nothing was changed"), "{}", text(&absent));
    assert!(machines.readyz(1).contains("belongs to no cluster yet"), "{}", machines.readyz(1));
}

#[test]
fn inits_that_race_on_different_nodes_make_one_cluster() {
    let machines = Machines::new(3);
    let _nodes = three_waiting(&machines);
    let racing: Vec<Child> = [1, 2, 3, 3, 2, 1]
        .iter()
        .map(|node| {
            let mut command = highwater();
            command.args(["cluster", "init", "--server", &machines.grpc(*node)]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
        })
        .collect();
    for process in racing {
        let output = process.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", text(&output));
    }
    (1..=3).for_each(|node| machines.wait_until_ready(node));
    let cluster = machines.cluster_id(1);
    assert_eq!([2, 3].map(|node| machines.cluster_id(node)), [cluster.clone(), cluster]);
}

#[test]
fn nodes_of_two_clusters_are_not_made_one() {
    let machines = Machines::new(2);
    let _nodes = [machines.start(1, &[]), machines.start(2, &[])];
    for node in [1, 2] {
        machines.wait_until_listening(node);
        let founded = machines.run(node, &["cluster", "init"]);
        assert!(founded.status.success(), "{}", text(&founded));
        machines.wait_until_ready(node);
    }
    let before = [1, 2].map(|node| machines.cluster_id(node));
    let list = [1, 2].map(|node| machines.grpc(node)).join(",");
    let refused = machines.run(1, &["cluster", "init", "--voters", &list]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("different clusters"), "{}", text(&refused));
    assert_eq!([1, 2].map(|node| machines.cluster_id(node)), before);
}

fn recover(data: &Path, args: &[&str]) -> Output {
    highwater().arg("recover").arg("--data").arg(data).args(args).output().expect("the binary runs")
}

#[test]
fn after_the_majority_is_lost_the_cluster_goes_on_from_the_survivor_and_the_lost_are_refused() {
    let machines = Machines::new(3);
    let mut nodes = three_waiting(&machines);
    let founded = machines.run(1, &["cluster", "init"]);
    assert!(founded.status.success(), "{}", text(&founded));
    (1..=3).for_each(|node| machines.wait_until_ready(node));
    let before = machines.cluster_id(1);
    wait_for("three replicas can be placed", || {
        machines.run(1, &["topic", "create", "orders", "--replication-factor", "3"]).status.success()
            || text(&machines.run(1, &["topic", "list"])).contains("orders")
    });
    // Without the third a majority is the first two: whatever is acknowledged, the survivor-to-be has.
    nodes.remove(2).kill();
    let input = machines.folder.path().join("records");
    let records: Vec<String> = (0..200).map(|number| format!("record-{number}")).collect();
    std::fs::write(&input, records.join("\n") + "\n").expect("written");
    let produced = machines.run(1, &["produce", "orders", input.to_str().expect("UTF-8")]);
    assert!(produced.status.success(), "{}", text(&produced));

    let running = recover(&machines.data(1), &["--inspect"]);
    assert!(text(&running).contains("in use by process"), "{}", text(&running));
    for node in nodes.drain(..) {
        node.kill();
    }

    let inspected = recover(&machines.data(1), &["--inspect", "--output", "json"]);
    let inspected: serde_json::Value = serde_json::from_slice(&inspected.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&inspected)));
    assert_eq!(inspected["groups"][0]["group"], "metadata");
    assert_eq!(inspected["groups"][1]["voters"], serde_json::json!([1, 2, 3]));
    let unconfirmed = highwater()
        .args(["recover", "--unsafe", "--data"])
        .arg(machines.data(1))
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    assert_eq!(unconfirmed.status.code(), Some(2));
    assert!(text(&unconfirmed).contains("nothing was changed"), "{}", text(&unconfirmed));
    let recovered = recover(&machines.data(1), &["--unsafe", "--yes"]);
    assert!(recovered.status.success(), "{}", text(&recovered));
    assert!(text(&recovered).contains("Nodes given up: 2, 3"), "{}", text(&recovered));

    let _survivor = machines.start(1, &[]);
    machines.wait_until_ready(1);
    let described = machines.describe(1);
    assert_ne!(described["cluster_id"], before.as_str());
    assert_eq!(described["recoveries"][0]["cluster_id_before"], before.as_str());
    assert_eq!(described["recoveries"][0]["node_id"], 1);
    wait_for("everything that the survivor had is there", || {
        let consumed = machines.run(1, &["consume", "orders", "--from", "earliest", "--until-end"]);
        records.iter().all(|record| text(&consumed).lines().any(|line| line.ends_with(record.as_str())))
    });
    let produced = machines.run(1, &["produce", "orders", input.to_str().expect("UTF-8")]);
    assert!(produced.status.success(), "{}", text(&produced));

    let lost = [machines.start(2, &[1, 3]), machines.start(3, &[1, 2])];
    for (node, lost) in [2, 3].into_iter().zip(lost) {
        assert_eq!(lost.ended(), Some(77), "{}", machines.log(node));
        assert!(machines.log(node).contains("left behind"), "{}", machines.log(node));
    }
    std::fs::remove_dir_all(machines.data(2)).expect("emptied");
    let _again = machines.start(2, &[1]);
    machines.wait_until_ready(2);
    assert_eq!(machines.cluster_id(2), machines.cluster_id(1));
}
