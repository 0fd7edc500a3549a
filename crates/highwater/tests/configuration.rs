//! The settings of `highwater serve` as an operator gives them: file, environment, flags, and what is said when they
//! are wrong. Every process starts with an environment of its own.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_highwater");

/// A folder with a configuration file.
struct Configured {
    folder: tempfile::TempDir,
}

impl Configured {
    fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("node.toml"), file).expect("the file is written");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `highwater serve --config node.toml` in the folder, with nothing of ours in the environment.
    fn serve(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(BINARY);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("HIGHWATER_")) {
            command.env_remove(name);
        }
        command.current_dir(self.path()).args(["serve", "--config", "node.toml"]).args(args);
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        self.serve(args, variables).output().expect("the binary runs")
    }

    /// What `--check` shows of a setting: its value and where it came from.
    fn holds(&self, setting: &str, args: &[&str], variables: &[(&str, &str)]) -> (String, String) {
        let output = self.run(&[&["--check"], args].concat(), variables);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let table = String::from_utf8(output.stdout).expect("UTF-8");
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(setting));
        let cells: Vec<&str> = row.unwrap_or_else(|| panic!("{table}")).split_whitespace().collect();
        (cells[1].to_owned(), cells[2].to_owned())
    }

    /// What is said about settings that are wrong.
    fn refusal(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        let checked = self.run(&[&["--check"], args].concat(), variables);
        assert_eq!((checked.status.code(), checked.stdout.as_slice()), (Some(2), &b""[..]));
        // A start says the same, and leaves nothing behind.
        let started = self.run(args, variables);
        assert_eq!((started.status.code(), stderr(&started)), (Some(2), stderr(&checked)));
        assert!(!self.path().join("data").exists());
        stderr(&checked)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_pair(found: &(String, String), value: &str, origin: &str) -> bool {
    (found.0.as_str(), found.1.as_str()) == (value, origin)
}

/// A file with what must be given, and free ports.
const MINIMAL: &str = "\
node.id = 7
data.dir = \"data\"
[listen]
grpc = \"127.0.0.1:0\"
http = \"127.0.0.1:0\"
peer = \"127.0.0.1:0\"
";

#[test]
fn a_flag_goes_before_the_environment_that_before_the_file_and_this_before_the_default() {
    let configured = Configured::new(&format!("{MINIMAL}[limits]\nconnections = 20\n"));
    let default = Configured::new(MINIMAL).holds("limits.connections", &[], &[]);
    assert!(is_pair(&default, "10000", "default"), "{default:?}");
    let file = configured.holds("limits.connections", &[], &[]);
    assert!(is_pair(&file, "20", "node.toml:8:15"), "{file:?}");
    let variables = [("HIGHWATER_LIMITS_CONNECTIONS", "30")];
    let variable = configured.holds("limits.connections", &[], &variables);
    assert!(is_pair(&variable, "30", "HIGHWATER_LIMITS_CONNECTIONS"), "{variable:?}");
    let flag = configured.holds("limits.connections", &["--limits-connections", "40"], &variables);
    assert!(is_pair(&flag, "40", "--limits-connections"), "{flag:?}");
    let empty = configured.holds("limits.connections", &[], &[("HIGHWATER_LIMITS_CONNECTIONS", "")]);
    assert_eq!(empty, file);
}

#[test]
fn sizes_times_lists_and_switches_are_understood_from_every_source() {
    let configured = Configured::new(&format!(
        "{MINIMAL}[journal]\nbytes_max = 536870912\nfile_bytes = \"32 MiB\"\n[shutdown]\ndeadline = \"1500ms\"\n"
    ));
    let args = ["--cluster-seeds", "a:7401, b:7401", "--cluster-seeds=[::1]:7401", "--insecure"];
    let variables = [
        ("HIGHWATER_CLUSTER_FIRST_VOTERS", "7@localhost:7401,8@10.0.0.8:7401"),
        ("HIGHWATER_LOG", "warn,highwater_storage=debug"),
        ("HIGHWATER_MAINTENANCE_INTERVAL", "1m"),
    ];
    for (setting, value) in [
        ("journal.bytes_max", "512MiB"),
        ("journal.file_bytes", "32MiB"),
        ("shutdown.deadline", "1s500ms"),
        ("maintenance.interval", "1m"),
        ("cluster.seeds", "a:7401,b:7401,[::1]:7401"),
        ("cluster.first_voters", "7@localhost:7401,8@10.0.0.8:7401"),
        ("log.level", "warn,highwater_storage=debug"),
        ("insecure", "true"),
        ("node.rack", "none"),
    ] {
        let found = configured.holds(setting, &args, &variables);
        assert_eq!(found.0, value, "{setting}");
    }
    assert_eq!(configured.holds("insecure", &["--insecure=false"], &[]).0, "false");
}

#[test]
fn what_holds_is_shown_for_programs_too() {
    let configured = Configured::new(MINIMAL);
    let output = configured.run(&["--check", "--output", "json", "--node-rack", "r1"], &[]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = |name: &str| {
        let rows = rows.as_array().expect("an array").iter();
        rows.clone().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} is not shown")).clone()
    };
    assert_eq!(row("node.id")["place"], "node.toml:1:11");
    assert_eq!((&row("node.rack")["value"], &row("node.rack")["source"]), (&"r1".into(), &"flag".into()));
    assert_eq!(row("advertise.grpc")["value"], serde_json::Value::Null);
}

#[test]
fn a_mistyped_name_is_refused_wherever_it_stands_and_the_nearest_is_named() {
    let configured = Configured::new(&format!("{MINIMAL}htttp = \"127.0.0.1:0\"\n"));
    let expected = "error: node.toml:7:1: there is no setting listen.htttp; did you mean listen.http?\n";
    assert_eq!(configured.refusal(&[], &[]), expected);
    let configured = Configured::new(MINIMAL);
    let refusal = configured.refusal(&[], &[("HIGHWATER_NODE_RAKC", "a")]);
    assert!(refusal.contains("did you mean HIGHWATER_NODE_RACK?"), "{refusal}");
    let output = configured.run(&["--listen-htp", "127.0.0.1:0"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--listen-http"), "{}", stderr(&output));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let configured = Configured::new(
        "insecure = 1\n[data]\ndir = \"data\"\n[journal]\nfile_bytes = \"64M\"\n[shutdown]\ndeadline = 10\n\
         [listen]\ngrpc = \"localhost\"\n[cluster]\nseeds = [\"a:1\", \"b\"]\n",
    );
    let refusal = configured.refusal(&["--topic-partitions", "0"], &[("HIGHWATER_LOG", "wran")]);
    for expected in [
        "the settings have 8 problems:",
        "node.toml:1:12: insecure takes true or false, written as insecure = true; this is an integer",
        "node.toml:5:14: journal.file_bytes takes a size such as 64MiB, from 32MiB to 64MiB, not \"64M\"",
        "node.toml:7:12: shutdown.deadline takes a time with its unit such as 10s",
        "node.toml:9:8: listen.grpc takes an IP address and a port such as 127.0.0.1:7400",
        "node.toml:11:17: cluster.seeds takes a list of host:port, not \"b\"",
        "HIGHWATER_LOG: log.level takes off, error, warn",
        "--topic-partitions: topic.partitions takes a whole number from 1 to 10000, not \"0\"",
        "node.id must be given: write id = 1 below [node] of the file, or give --node-id or HIGHWATER_NODE_ID",
    ] {
        assert!(refusal.contains(expected), "{expected}\n{refusal}");
    }
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_refused_with_what_is_wrong() {
    let configured = Configured::new("[node]\nid = 1\n[data\ndir = \"data\"\n");
    let refusal = configured.refusal(&[], &[]);
    assert!(refusal.contains("node.toml:3:6: "), "{refusal}");
    assert!(!refusal.contains("must be given"), "{refusal}");
    std::fs::remove_file(configured.path().join("node.toml")).expect("it is removed");
    let refusal = configured.refusal(&[], &[]);
    assert!(refusal.contains("node.toml: cannot be read: No such file"), "{refusal}");
}

#[test]
fn a_listener_that_others_can_reach_is_refused_unless_it_is_meant_and_they_can_be_told() {
    let configured = Configured::new(MINIMAL);
    let open = ["--listen-grpc", "0.0.0.0:0", "--listen-peer", "[::]:0"];
    let refusal = configured.refusal(&open, &[]);
    for expected in [
        "the settings have 4 problems",
        "--listen-grpc: listen.grpc is 0.0.0.0:0: whoever reaches that address could read and write everything",
        "--listen-peer: listen.peer is [::]:0, which is every address of this machine",
        "say where they reach it with advertise.peer",
    ] {
        assert!(refusal.contains(expected), "{expected}\n{refusal}");
    }
    let refusal = configured.refusal(&[&open[..], &["--insecure", "--advertise-grpc", "h:7400"]].concat(), &[]);
    assert!(refusal.starts_with("error: --listen-peer: listen.peer is [::]:0, which is every"), "{refusal}");
    let meant = ["--insecure", "--advertise-grpc", "h:7400", "--advertise-peer", "h:7401"];
    let output = configured.run(&[&open[..], &meant, &["--check"]].concat(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let same = configured.refusal(&["--listen-grpc=127.0.0.1:9", "--listen-http=127.0.0.1:9"], &[]);
    assert!(same.contains("listen.http is 127.0.0.1:9, and so is listen.grpc"), "{same}");
}

/// A node that dies with its test.
struct Serving {
    process: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut process = spawned.expect("the binary runs");
        let stdout = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let stderr = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        Self { process, stdout, stderr }
    }

    /// What stands behind a word that begins a line of what it prints.
    fn said(&mut self, word: &str) -> String {
        let lines = self.stdout.by_ref().map_while(Result::ok);
        let mut said =
            lines.filter_map(|line| line.trim().strip_prefix(word).map(|rest| rest.trim().to_owned()));
        said.next().unwrap_or_else(|| panic!("the node does not say {word}"))
    }

    /// Sends SIGTERM, and returns the exit code and what was not yet read of its output.
    fn stop(&mut self) -> (Option<i32>, Vec<String>, Vec<String>) {
        let killed = Command::new("kill").arg(self.process.id().to_string()).status().expect("kill runs");
        assert!(killed.success());
        let stderr = self.stderr.by_ref().map_while(Result::ok).collect();
        let stdout = self.stdout.by_ref().map_while(Result::ok).collect();
        (self.process.wait().expect("the node ends").code(), stdout, stderr)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_node_serves_with_its_settings_says_that_it_is_insecure_and_stops_when_told() {
    let configured = Configured::new(MINIMAL);
    let args = ["--insecure", "--listen-http=0.0.0.0:0", "--node-id=9"];
    let args = [&args[..], &["--cluster-first-voters", "9@127.0.0.1:7400"]].concat();
    let mut node = Serving::start(configured.serve(&args, &[]));
    let (grpc, http) = (node.said("gRPC"), node.said("HTTP").replace("0.0.0.0", "127.0.0.1"));
    let described = Command::new(BINARY)
        .args(["cluster", "describe", "--output", "json", "--server", &grpc])
        .output()
        .expect("the binary runs");
    let described: serde_json::Value = serde_json::from_slice(&described.stdout).expect("JSON");
    assert_eq!(described["answering_node_id"], 9);

    let health = |url: &str| Command::new(BINARY).args(["health", "--url", url]).output().expect("it runs");
    assert_eq!(health(&http).status.code(), Some(0), "{http}: {}", stderr(&health(&http)));
    assert_eq!(health(&http.replace("readyz", "nowhere")).status.code(), Some(1));
    assert_eq!(health("https://127.0.0.1:1/readyz").status.code(), Some(2));

    let (code, _, said) = node.stop();
    let said = said.join("\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: insecure: ") && said.contains("HTTP on 0.0.0.0:0"), "{said}");
    assert!(said.contains("stopped"), "{said}");
    assert_eq!(health(&http).status.code(), Some(1));
}

#[test]
fn with_log_format_json_every_line_is_json() {
    let configured = Configured::new(MINIMAL);
    let args = ["--log-format=json", "--insecure", "--listen-http=0.0.0.0:0"];
    let args = [&args[..], &["--cluster-first-voters", "7@127.0.0.1:7400"]].concat();
    let mut node = Serving::start(configured.serve(&args, &[]));
    let message = |line: String| {
        let entry: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        entry["message"].as_str().unwrap_or_default().to_owned()
    };
    let mut messages = Vec::new();
    while !messages.iter().any(|message: &String| message.starts_with("insecure: ")) {
        let line = node.stderr.next().unwrap_or_else(|| panic!("the node ended after {messages:?}"));
        messages.push(message(line.expect("UTF-8")));
    }
    assert!(messages.iter().any(|message| message == "the node is running"), "{messages:?}");
    let (code, stdout, rest) = node.stop();
    let rest: Vec<String> = rest.into_iter().map(message).collect();
    assert!(rest.iter().any(|message| message == "stopped"), "{rest:?}");
    assert_eq!((code, stdout), (Some(0), Vec::new()));
}
