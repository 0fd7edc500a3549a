//! Consumer groups as a user types them: what is shown of them, what waits for them, and their offsets.

#[path = "support/node.rs"]
mod node;
#[path = "support/waiting.rs"]
mod waiting;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use highwater_client::{Client, OffsetCommit, TopicPartition};
use highwater_types::{Offset, PartitionIndex};
use node::{Node, started, stderr};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use waiting::wait_for;

/// Commits for a group without members.
fn commit(node: &Node, group: &str, offsets: &[(&str, u32, i64)]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let admin = Client::connect([&node.address]).expect("an address").admin();
        let commits: Vec<_> = offsets
            .iter()
            .map(|(topic, partition, offset)| {
                let of = TopicPartition::new(*topic, PartitionIndex(*partition));
                OffsetCommit::new(of, Offset(*offset))
            })
            .collect();
        let outcomes = admin.commit_offsets(group, &commits).await.expect("answered");
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    });
}

fn json(node: &Node, args: &[&str]) -> Value {
    serde_json::from_str(&node.stdout(&[args, &["--output", "json"]].concat())).expect("JSON")
}

/// What is committed of a topic, by partition.
fn committed(node: &Node, group: &str) -> Vec<(u64, Option<i64>)> {
    let described = json(node, &["group", "describe", group]);
    let partitions = described["partitions"].as_array().expect("an array");
    let of = |partition: &Value| {
        (partition["partition"].as_u64().expect("a number"), partition["committed_offset"].as_i64())
    };
    partitions.iter().map(of).collect()
}

/// A topic of two partitions with ten records each, a second apart and the last one a minute old.
fn with_records() -> (tempfile::TempDir, Node, i64) {
    let (folder, node) = started();
    node.stdout(&["topic", "create", "orders", "--partitions", "2"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let last = i64::try_from(now.as_millis()).expect("small") - 60_000;
    let record = |number: i64| {
        let (partition, place) = (number % 2, number / 2);
        let timestamp = last - (9 - place) * 1000;
        format!("{{\"partition\":{partition},\"value\":\"{place}\",\"timestamp\":{timestamp}}}\n")
    };
    let input: String = (0..20).map(record).collect();
    let output = node.feed(&["produce", "orders", "--format", "json"], input.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    (folder, node, last)
}

#[test]
fn a_group_shows_what_it_has_committed_and_for_how_long_the_rest_waits() {
    let (_folder, node, last) = with_records();
    let none = node.run(&["group", "list"]);
    assert!(none.status.success() && stderr(&none).contains("consume TOPIC --group NAME"), "{}", stderr(&none));
    commit(&node, "billing", &[("orders", 0, 4), ("orders", 1, 10)]);
    commit(&node, "audit", &[("orders", 1, 9)]);

    let table = node.stdout(&["group", "list"]);
    assert_eq!(
        table,
        "GROUP    STATE  MEMBERS  COORDINATOR\naudit    empty  0        1\nbilling  empty  0        1\n"
    );
    assert_eq!(json(&node, &["group", "list", "b"])[0]["group"], "billing");
    let described = json(&node, &["group", "describe", "billing"]);
    assert_eq!((&described["lag"], &described["partitions"][1]["time_lag_ms"]), (&6.into(), &0.into()));
    let waits = described["time_lag_ms"].as_i64().expect("a record waits");
    // The fifth record is five seconds older than the last one.
    assert!((65_000..600_000).contains(&waits), "{waits} since {last}");
    let table = node.stdout(&["group", "describe", "billing"]);
    assert!(
        table.contains("PARTITION  COMMITTED  END  LAG  TIME LAG\norders-0   4          10   6    1m "),
        "{table}"
    );

    let lags = json(&node, &["group", "lag"]);
    let of = |place: usize| (lags[place]["group"].as_str(), lags[place]["lag"].as_u64());
    assert_eq!([of(0), of(1)], [(Some("audit"), Some(1)), (Some("billing"), Some(6))]);
    assert_eq!(json(&node, &["group", "lag", "audit"])["partitions"][0]["lag"], 1);
}

#[test]
fn lag_is_shown_again_and_again_for_people_and_for_programs() {
    let (_folder, node, _) = with_records();
    commit(&node, "billing", &[("orders", 0, 4)]);
    let watch = |more: &[&str]| {
        let args = [&["group", "lag", "--watch", "--interval", "100ms"], more].concat();
        let mut process = node.command(&args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        (process, lines.map_while(Result::ok))
    };
    let (mut process, mut lines) = watch(&["--output", "json"]);
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line")).expect("JSON") };
    assert_eq!(next()["lag"], 6);
    commit(&node, "billing", &[("orders", 0, 7)]);
    while next()["lag"] != 3 {}
    process.kill().expect("it runs");
    process.wait().expect("it ended");

    let (mut process, lines) = watch(&["billing"]);
    let tables = lines.filter(|line| line.starts_with("orders-0   7          10   3"));
    assert_eq!(tables.take(2).count(), 2);
    process.kill().expect("it runs");
    process.wait().expect("it ended");
}

#[test]
fn a_reset_is_a_plan_until_it_is_executed() {
    let (_folder, node, last) = with_records();
    commit(&node, "billing", &[("orders", 0, 4), ("orders", 1, 10)]);
    let plan = node.stdout(&["group", "reset", "billing", "--to", "-3"]);
    let expected = "PARTITION  FROM  TO  DIFFERENCE\norders-0   4     1   -3\norders-1   10    7   -3\n\n\
                    would set 2 offsets of group billing; add --execute to do it\n";
    assert_eq!(plan, expected);
    assert_eq!(committed(&node, "billing"), [(0, Some(4)), (1, Some(10))]);

    let reset = |to: &str, more: &[&str]| {
        let args = ["group", "reset", "billing", "--to", to, "--execute"];
        json(&node, &[&args, more].concat());
        committed(&node, "billing")
            .into_iter()
            .map(|(_, offset)| offset.expect("committed"))
            .collect::<Vec<_>>()
    };
    assert_eq!(reset("earliest", &[]), [0, 0]);
    assert_eq!(reset("latest", &["--topic", "orders", "--partition", "1"]), [0, 10]);
    assert_eq!(reset("+4", &["--topic", "orders"]), [4, 10]);
    assert_eq!(reset("8", &[]), [8, 8]);
    assert_eq!(reset("-100", &[]), [0, 0]);
    assert_eq!(reset(&last.to_string(), &[]), [9, 9]);
    assert_eq!(reset("2001-01-01T00:00:00Z", &[]), [0, 0]);
    assert_eq!(reset("-1h", &["--topic", "orders", "--partition", "0"]), [0, 0]);
    assert_eq!(reset("-1s", &[]), [10, 10]);
    // A group begins with its first offset.
    node.stdout(&["group", "reset", "replay", "--to", "3", "--topic", "orders", "--execute"]);
    assert_eq!(committed(&node, "replay"), [(0, Some(3)), (1, Some(3))]);
}

#[test]
fn offsets_and_groups_are_forgotten() {
    let (_folder, node, _) = with_records();
    commit(&node, "billing", &[("orders", 0, 4), ("orders", 1, 10)]);
    let forget = ["group", "delete-offsets", "billing", "--topic", "orders"];
    let said = node.stdout(&[&forget[..], &["--partition", "1"]].concat());
    assert_eq!(said, "group billing has forgotten 1 offset of topic orders\n");
    assert_eq!(committed(&node, "billing"), [(0, Some(4))]);
    assert_eq!(json(&node, &forget)["partitions"], serde_json::json!([0]));
    assert_eq!(node.stdout(&["group", "delete", "billing"]), "deleted group billing\n");
    assert_eq!(node.stdout(&["group", "list", "--output", "json"]), "[]\n");
}

/// A consumer of a group, with what it prints and says in files.
struct Consumer {
    process: Child,
    printed: PathBuf,
    said: PathBuf,
}

impl Consumer {
    fn start(node: &Node, folder: &Path, name: &str, more: &[&str]) -> Self {
        let file = |kind: &str| folder.join(format!("{name}.{kind}"));
        let (printed, said) = (file("out"), file("err"));
        let create = |path: &Path| File::create(path).expect("a file");
        let process = node
            .command(&[&["consume", "orders", "--group", "billing"], more].concat())
            .stdout(create(&printed))
            .stderr(create(&said))
            .spawn()
            .expect("the binary runs");
        Self { process, printed, said }
    }

    fn printed(&self) -> Vec<String> {
        fs::read_to_string(&self.printed).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).expect("UTF-8")
    }

    fn wait_until_it_says(&self, what: &str) {
        wait_for(what, || self.said().contains(what));
    }

    /// What Ctrl-C does.
    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.process), Signal::INT).expect("it is there");
    }

    /// What it says in the end, after Ctrl-C.
    fn interrupted(mut self) -> String {
        self.interrupt();
        assert!(self.process.wait().expect("it ends").success(), "{}", self.said());
        self.said().lines().last().expect("it says something").to_owned()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn produce(node: &Node, numbers: std::ops::Range<u32>) {
    let record = |number: u32| format!("{{\"partition\":{},\"value\":\"{number}\"}}\n", number % 2);
    let output = node
        .feed(&["produce", "orders", "--format", "json"], numbers.map(record).collect::<String>().as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn two_consumers_share_a_topic_and_one_that_leaves_hands_over_at_once() {
    let (folder, node) = started();
    node.stdout(&["topic", "create", "orders", "--partitions", "2"]);
    produce(&node, 0..10);
    let first = Consumer::start(&node, folder.path(), "first", &[]);
    first.wait_until_it_says("got orders-0, orders-1 from the first record\n");
    wait_for("all of it is printed", || first.printed().len() == 10);
    let second = Consumer::start(&node, folder.path(), "second", &[]);
    second.wait_until_it_says("from offset 5\n");
    first.wait_until_it_says("gave up orders-");
    let described = json(&node, &["group", "describe", "billing"]);
    assert_eq!(
        (&described["state"], described["members"].as_array().map(Vec::len)),
        (&"stable".into(), Some(2))
    );

    let refused = node.run(&["group", "reset", "billing", "--to", "earliest", "--execute"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("group billing has 2 members")
            && stderr(&refused).contains("hint: end its consumers"),
        "{}",
        stderr(&refused)
    );
    let planned = node.run(&["group", "reset", "billing", "--to", "earliest"]);
    assert!(
        planned.status.success() && stderr(&planned).contains("refused while the group has 2 members"),
        "{}",
        stderr(&planned)
    );
    assert!(stderr(&node.run(&["group", "delete", "billing"])).contains("GROUP_NOT_EMPTY"));

    produce(&node, 10..20);
    wait_for("both print", || first.printed().len() == 15 && second.printed().len() == 5);
    let left = first.interrupted();
    assert!(left.starts_with("left group billing; committed orders-") && left.ends_with(" up to 10"), "{left}");
    produce(&node, 20..30);
    wait_for("the other one goes on", || second.printed().len() == 15);
    let left = second.interrupted();
    assert_eq!(left, "left group billing; committed orders-0 up to 15, orders-1 up to 15");

    assert_eq!(json(&node, &["group", "lag", "billing"])["lag"], 0);
    node.stdout(&["group", "reset", "billing", "--to", "-3", "--execute"]);
    let again = Consumer::start(&node, folder.path(), "again", &["--instance", "one"]);
    wait_for("the last ones come again", || again.printed().len() == 6);
    assert_eq!(
        again.printed().into_iter().collect::<BTreeSet<_>>(),
        (24..30).map(|number| number.to_string()).collect()
    );
    let left = again.interrupted();
    assert_eq!(left, "left group billing for a while; committed orders-0 up to 15, orders-1 up to 15");
    assert_eq!(json(&node, &["group", "describe", "billing"])["members"][0]["is_away"], true);
}

#[test]
fn a_group_goes_on_after_the_last_record_that_was_printed() {
    let (_folder, node) = started();
    node.stdout(&["topic", "create", "orders"]);
    assert!(node.feed(&["produce", "orders"], b"a\nb\nc\nd\ne\n").status.success());
    let consume = |more: &[&str]| node.stdout(&[&["consume", "orders", "--group", "billing"], more].concat());
    assert_eq!(consume(&["--count", "2"]), "a\nb\n");
    assert_eq!(consume(&["--count", "1"]), "c\n");
    assert_eq!(committed(&node, "billing"), [(0, Some(3))]);
    // What is committed counts, not --from.
    assert_eq!(consume(&["--from", "earliest", "--count", "2"]), "d\ne\n");
    let other = node.stdout(&["consume", "orders", "--group", "audit", "--from", "4", "--count", "1"]);
    assert_eq!(other, "e\n");
}

#[test]
fn what_a_killed_consumer_printed_and_did_not_commit_is_printed_again_by_another() {
    let (folder, node) = started();
    node.stdout(&["topic", "create", "orders", "--partitions", "2"]);
    // It never commits by itself.
    let mut killed = Consumer::start(&node, folder.path(), "killed", &["--commit-interval", "1h"]);
    killed.wait_until_it_says("got orders-0, orders-1");
    produce(&node, 0..10);
    wait_for("all of it is printed", || killed.printed().len() == 10);
    killed.process.kill().expect("it runs");
    let heir = Consumer::start(&node, folder.path(), "heir", &[]);
    wait_for("its session is over, and another prints them", || heir.printed().len() == 10);
    assert_eq!(heir.interrupted(), "left group billing; committed orders-0 up to 5, orders-1 up to 5");
}

#[test]
fn a_consumer_that_cannot_commit_any_more_says_so_when_it_ends() {
    let (folder, node) = started();
    node.stdout(&["topic", "create", "orders", "--partitions", "2"]);
    let mut consumer = Consumer::start(&node, folder.path(), "cut-off", &["--commit-interval", "1h"]);
    consumer.wait_until_it_says("got orders-0, orders-1");
    produce(&node, 0..10);
    wait_for("all of it is printed", || consumer.printed().len() == 10);
    drop(node);
    consumer.interrupt();
    assert_eq!(consumer.process.wait().expect("it ends").code(), Some(1));
    let said = consumer.said();
    assert!(said.contains("leaving group billing; press Ctrl-C again to stop at once"), "{said}");
    let last = said.lines().last().expect("it says something");
    assert!(
        last.starts_with("error: group billing may print again what was printed since the last commit"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_done_with_a_group_says_why() {
    let (_folder, node, _) = with_records();
    commit(&node, "billing", &[("orders", 0, 4)]);
    for (args, code, expected) in [
        (&["describe", "nope"][..], 1, "hint: `highwater group list`"),
        (&["delete", "nope"], 1, "UNKNOWN_GROUP"),
        (&["delete-offsets", "nope", "--topic", "orders"], 1, "UNKNOWN_GROUP"),
        (&["lag", "nope", "--watch"], 1, "UNKNOWN_GROUP"),
        (&["lag", "--interval", "1s"], 2, "--watch"),
        (&["reset", "nope", "--to", "earliest"], 1, "group nope has committed nothing"),
        (&["reset", "billing", "--to", "first"], 2, "records on or back"),
        (&["reset", "billing", "--to", "0", "--partition", "0"], 2, "--topic"),
        (&["reset", "billing", "--to", "0", "--topic", "nope"], 1, "topic create nope"),
        (&["reset", "billing", "--to", "0", "--topic", "orders", "--partition", "2"], 1, "no partition 2"),
        (&["consume", "nope", "--group", "billing"], 1, "topic create nope"),
        (&["consume", "orders", "--group", "billing", "--until-end"], 2, "cannot be used with"),
        (&["consume", "orders", "--group", "billing", "--partition", "1"], 2, "cannot be used with"),
        (&["consume", "orders", "--instance", "one"], 2, "--group"),
    ] {
        let args = match args {
            ["consume", ..] => args.to_vec(),
            args => [&["group"], args].concat(),
        };
        let output = node.run(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}
